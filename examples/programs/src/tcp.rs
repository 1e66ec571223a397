//! TCP echo, as a server and as a client.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use xen_hal::console::Console;
use xen_hal::hypercall::Hypercall;
use xen_hal::net::NetDevice;
use xen_hal::ring::Wait;

use crate::Error;

/// The port of the service `echo`, on which the server listens.
pub const SERVER_PORT: u16 = 7;
/// The port to which the client connects.
pub const CLIENT_PORT: u16 = 8;
/// Bits of the network's part of an address.
pub(crate) const PREFIX: u8 = 24;
/// The line that the client sends, and how often.
pub const CLIENT_LINE: &[u8] = b"a guest was here\n";
/// See [`CLIENT_LINE`].
pub const CLIENT_LINES: usize = 1200;
/// The client's port.
const LOCAL_PORT: u16 = 49152;

/// The addresses of the guest, and of the other end of its network.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The guest's.
    pub own: [u8; 4],
    /// The other end's.
    pub peer: [u8; 4],
}

/// Sends what arrives in one connection to port 7 back, then connects to port 8 of the peer, sends
/// lines, and expects them back. It answers pings too. `millis` is the time since any moment.
///
/// # Errors
///
/// The console's and the interface's; [`Error::Idle`] if `wait` gives up; [`Error::Tcp`] if the
/// peer refuses the connection or closes it early; [`Error::Echo`].
pub fn tcp_echo<H: Hypercall + Copy, A, W: Wait>(
    console: &mut Console<'_, H, W>,
    net: &mut NetDevice<'_, '_, H, A>,
    addresses: Addresses,
    mut millis: impl FnMut() -> i64,
    mut wait: impl Wait,
) -> Result<(), Error> {
    let hardware = EthernetAddress(net.mac()).into();
    let now = Instant::from_millis(millis());
    let mut interface = Interface::new(Config::new(hardware), net, now);
    let ip = |[a, b, c, d]: [u8; 4]| IpAddress::v4(a, b, c, d);
    interface.update_ip_addrs(|all| {
        // A new interface has none, and room for some.
        let _ = all.push(IpCidr::new(ip(addresses.own), PREFIX));
    });
    let (mut receive, mut send) = ([0; 2048], [0; 2048]);
    let mut storage = [SocketStorage::EMPTY];
    let mut sockets = SocketSet::new(&mut storage[..]);
    let socket = Socket::new(SocketBuffer::new(&mut receive[..]), SocketBuffer::new(&mut send[..]));
    let handle = sockets.add(socket);
    let mut link = Link { interface, sockets, handle };

    // The port is not 0, and the socket is closed.
    let _ = link.socket().listen(SERVER_PORT);
    writeln!(console, "echo on {}, port {SERVER_PORT}", ip(addresses.own))?;
    let (mut echoed, mut connected) = (0, false);
    link.run(net, &mut millis, &mut wait, |socket| {
        connected |= socket.is_active();
        let count = echo(socket);
        echoed += count;
        if connected && !socket.is_open() { Ok(Progress::Done) } else { Ok(Progress::from(count)) }
    })?;
    writeln!(console, "echoed {echoed} bytes")?;

    let Link { interface, sockets, .. } = &mut link;
    let peer = (ip(addresses.peer), CLIENT_PORT);
    // The addresses are valid, and the socket is closed.
    let _ = sockets.get_mut::<Socket<'_>>(handle).connect(interface.context(), peer, LOCAL_PORT);
    let (mut sent, mut received) = (0, 0);
    link.run(net, &mut millis, &mut wait, |socket| {
        let count = exchange(socket, &mut sent, &mut received)?;
        if !socket.is_open() { Ok(Progress::Done) } else { Ok(Progress::from(count)) }
    })?;
    if received < CLIENT_LINES * CLIENT_LINE.len() {
        return Err(Error::Tcp);
    }
    writeln!(console, "sent {sent} bytes to {}, port {CLIENT_PORT}, and got them back", peer.0)?;
    Ok(console.flush()?)
}

/// The interface, and its only socket.
struct Link<'s> {
    interface: Interface,
    sockets: SocketSet<'s>,
    handle: SocketHandle,
}

/// What a step of a connection did.
enum Progress {
    Nothing,
    Some,
    Done,
}

impl From<usize> for Progress {
    fn from(count: usize) -> Self {
        if count > 0 { Self::Some } else { Self::Nothing }
    }
}

impl<'s> Link<'s> {
    fn socket(&mut self) -> &mut Socket<'s> {
        self.sockets.get_mut(self.handle)
    }

    /// Calls `step` after each round of the interface, until it is done.
    fn run<H: Hypercall + Copy, A>(
        &mut self,
        net: &mut NetDevice<'_, '_, H, A>,
        mut millis: impl FnMut() -> i64,
        wait: &mut impl Wait,
        mut step: impl FnMut(&mut Socket<'_>) -> Result<Progress, Error>,
    ) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            self.interface.poll(Instant::from_millis(millis()), net, &mut self.sockets);
            match step(self.socket())? {
                Progress::Done => return Ok(()),
                Progress::Some => attempt = 0,
                Progress::Nothing => {
                    // A backend that broke the protocol delivers nothing any more.
                    net.can_send()?;
                    if wait.wait(net.port(), attempt).is_break() {
                        return Err(Error::Idle);
                    }
                    attempt += 1;
                }
            }
        }
    }
}

/// Returns the bytes that the client sends from an offset in its lines to the end of a line.
pub(crate) fn line_from(offset: usize) -> &'static [u8] {
    &CLIENT_LINE[offset % CLIENT_LINE.len()..]
}

/// Sends the client's lines as far as there is room, compares what comes back, and closes at the
/// end. Returns the number of bytes.
fn exchange(
    socket: &mut Socket<'_>,
    sent: &mut usize,
    received: &mut usize,
) -> Result<usize, Error> {
    const TOTAL: usize = CLIENT_LINE.len() * CLIENT_LINES;
    let before = *sent + *received;
    while *sent < TOTAL && socket.can_send() {
        *sent += socket.send_slice(line_from(*sent)).unwrap_or(0);
    }
    let mut bytes = [0; CLIENT_LINE.len()];
    while socket.can_recv() {
        let expected = line_from(*received);
        let count = socket.recv_slice(&mut bytes[..expected.len()]).unwrap_or(0);
        if bytes[..count] != expected[..count] {
            return Err(Error::Echo);
        }
        *received += count;
    }
    if *received == TOTAL || socket.state() == State::CloseWait {
        socket.close();
    }
    Ok(*sent + *received - before)
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
