//! A TCP echo server.

use smoltcp::iface::{Config, Interface, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use xen_hal::console::Console;
use xen_hal::hypercall::Hypercall;
use xen_hal::net::NetDevice;
use xen_hal::ring::Wait;

use crate::Error;

/// The port of the service `echo`.
const PORT: u16 = 7;
/// Bits of the network's part of an address.
const PREFIX: u8 = 24;

/// Sends what arrives on port 7 of `address` back, until `connections` were served. It answers
/// pings too. `millis` is the time since any moment.
///
/// # Errors
///
/// The console's and the interface's; [`Error::Idle`] if `wait` gives up.
pub fn tcp_echo<H: Hypercall + Copy, A, W: Wait>(
    console: &mut Console<'_, H, W>,
    net: &mut NetDevice<'_, '_, H, A>,
    address: [u8; 4],
    connections: u32,
    mut millis: impl FnMut() -> i64,
    mut wait: impl Wait,
) -> Result<(), Error> {
    let hardware = EthernetAddress(net.mac()).into();
    let now = Instant::from_millis(millis());
    let mut interface = Interface::new(Config::new(hardware), net, now);
    let [a, b, c, d] = address;
    interface.update_ip_addrs(|addresses| {
        // A new interface has none, and room for some.
        let _ = addresses.push(IpCidr::new(IpAddress::v4(a, b, c, d), PREFIX));
    });
    let (mut receive, mut send) = ([0; 2048], [0; 2048]);
    let mut storage = [SocketStorage::EMPTY];
    let mut sockets = SocketSet::new(&mut storage[..]);
    let socket = Socket::new(SocketBuffer::new(&mut receive[..]), SocketBuffer::new(&mut send[..]));
    let handle = sockets.add(socket);
    writeln!(console, "echo on {a}.{b}.{c}.{d}, port {PORT}")?;

    let (mut served, mut echoed, mut attempt, mut connected) = (0, 0, 0, false);
    while served < connections {
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        if !socket.is_open() {
            if connected {
                served += 1;
                writeln!(console, "echoed {echoed} bytes")?;
            }
            (connected, echoed) = (false, 0);
            // The port is not 0, and the socket is closed.
            let _ = socket.listen(PORT);
        }
        interface.poll(Instant::from_millis(millis()), net, &mut sockets);
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        connected |= socket.is_active();
        let count = echo(socket);
        echoed += count;
        if count == 0 {
            // A backend that broke the protocol delivers nothing any more.
            net.can_send()?;
            if wait.wait(net.port(), attempt).is_break() {
                return Err(Error::Idle);
            }
            attempt += 1;
        } else {
            attempt = 0;
        }
    }
    Ok(console.flush()?)
}

/// Sends back what was received, as far as there is room, and closes what the peer has closed.
/// Returns the number of bytes.
fn echo(socket: &mut Socket<'_>) -> usize {
    let room = socket.send_capacity() - socket.send_queue();
    let mut bytes = [0; 512];
    let count = room.min(bytes.len());
    let received = socket.recv_slice(&mut bytes[..count]).unwrap_or(0);
    // There is room.
    let _ = socket.send_slice(&bytes[..received]);
    if socket.state() == State::CloseWait && received == 0 {
        socket.close();
    }
    received
}
