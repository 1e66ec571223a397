//! The other end of a guest's network: a client of the guest's echo server, and an echo server for
//! the guest's client.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use programs::{Addresses, CLIENT_LINE, CLIENT_LINES, CLIENT_PORT, SERVER_PORT};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use xen_sim::backend::Network;

pub(crate) const ADDRESSES: Addresses = Addresses { own: [10, 0, 0, 2], peer: [10, 0, 0, 1] };
/// The number of bytes that the client sends: more than fit into a window.
const BYTES: usize = 20 * 1024;

/// What the peer has received. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Peer(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    /// The echo of what the client has sent.
    echo: Vec<u8>,
    /// What the guest's client has sent.
    lines: Vec<u8>,
}

impl Peer {
    /// Creates the network whose other end this is.
    pub(crate) fn network(&self) -> Network {
        let mut ends = Ends::new(self.clone());
        Network::new(move |frame, to_guest| ends.poll(frame, to_guest))
    }

    /// Compares what was received with what was sent.
    pub(crate) fn check(&self) -> ExitCode {
        let received = self.received();
        if received.echo != sent() {
            eprintln!("error: expected {BYTES} bytes back, found {}", received.echo.len());
            return ExitCode::FAILURE;
        }
        if received.lines != CLIENT_LINE.repeat(CLIENT_LINES) {
            eprintln!("error: expected the guest's lines, found {} bytes", received.lines.len());
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sent() -> Vec<u8> {
    (0..BYTES).map(|index| (index * 7 / 3) as u8).collect()
}

struct Ends {
    interface: Interface,
    sockets: SocketSet<'static>,
    client: SocketHandle,
    server: SocketHandle,
    link: Link,
    millis: i64,
    begun: usize,
    peer: Peer,
}

impl Ends {
    fn new(peer: Peer) -> Self {
        let mut link = Link::default();
        let hardware = EthernetAddress([2, 0, 0, 0, 0, 1]).into();
        let mut interface = Interface::new(Config::new(hardware), &mut link, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // A new interface has none, and room for some.
            let _ = addresses.push(IpCidr::new(ip(ADDRESSES.peer), 24));
        });
        let mut sockets = SocketSet::new(Vec::new());
        let mut add = || {
            let buffer = || SocketBuffer::new(vec![0; 4096]);
            let mut socket = Socket::new(buffer(), buffer());
            // This end runs only when a frame arrives, so it leaves nothing for later.
            socket.set_ack_delay(None);
            socket.set_nagle_enabled(false);
            sockets.add(socket)
        };
        let (client, server) = (add(), add());
        // The port is not 0, and the socket is closed.
        let _ = sockets.get_mut::<Socket<'_>>(server).listen(CLIENT_PORT);
        Self { interface, sockets, client, server, link, millis: 0, begun: 0, peer }
    }

    fn poll(&mut self, frame: &[u8], to_guest: &mut VecDeque<Vec<u8>>) {
        self.millis += 1;
        let now = Instant::from_millis(self.millis);
        if frame.is_empty() {
            let socket = self.sockets.get_mut::<Socket<'_>>(self.client);
            let server = (ip(ADDRESSES.own), SERVER_PORT);
            // The socket is closed, and the addresses are valid.
            let _ = socket.connect(self.interface.context(), server, 49152);
        } else {
            self.link.incoming.push_back(frame.to_vec());
        }
        for _ in 0..2 {
            self.interface.poll(now, &mut self.link, &mut self.sockets);
            self.send();
            self.echo();
        }
        self.interface.poll(now, &mut self.link, &mut self.sockets);
        to_guest.append(&mut self.link.outgoing);
    }

    /// The client's step.
    fn send(&mut self) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.client);
        let mut bytes = [0; 4096];
        let count = socket.recv_slice(&mut bytes).unwrap_or(0);
        let mut received = self.peer.received();
        received.echo.extend_from_slice(&bytes[..count]);
        if received.echo.len() == BYTES {
            socket.close();
        }
        if socket.may_send() {
            self.begun += socket.send_slice(&sent()[self.begun..]).unwrap_or(0);
        }
    }

    /// The server's step.
    fn echo(&mut self) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.server);
        let room = socket.send_capacity() - socket.send_queue();
        let mut bytes = vec![0; room];
        let count = socket.recv_slice(&mut bytes).unwrap_or(0);
        // There is room.
        let _ = socket.send_slice(&bytes[..count]);
        self.peer.received().lines.extend_from_slice(&bytes[..count]);
        if socket.state() == State::CloseWait && count == 0 {
            socket.close();
        }
    }
}

fn ip([a, b, c, d]: [u8; 4]) -> IpAddress {
    IpAddress::v4(a, b, c, d)
}

/// The device: frames in memory.
#[derive(Default)]
struct Link {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

struct Incoming(Vec<u8>);

struct Outgoing<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Link {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        Some((Incoming(self.incoming.pop_front()?), Outgoing(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}
