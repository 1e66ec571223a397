//! A guest that is a TCP echo server, and a client at the other end of its network.

#[path = "support/dom0.rs"]
mod dom0;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use xen_hal::net::{NetDevice, NetError};
use xen_hal::ring::YieldWait;
use xen_hal::xenstore::Store;
use xen_sim::backend::Network;

const SERVER: [u8; 4] = [192, 0, 2, 1];
const CLIENT: [u8; 4] = [192, 0, 2, 2];
/// The number of bytes that the client sends: more than fit into a window.
const BYTES: usize = 20_000;
/// Two pages for rings, and sixteen for frames.
const PAGES: usize = 18;

fn main() -> ExitCode {
    let received = Arc::new(Mutex::new(Vec::new()));
    let mut client = Client::new(Arc::clone(&received));
    let network = Network::new(move |frame, to_guest| client.poll(frame, to_guest));
    let code = dom0::run([network.into()], "", |guest, console| {
        let mut storage = [0; Store::STORAGE];
        // SAFETY: the ring has one owner, as long as the machine runs.
        let mut store =
            unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), &mut storage) }?;
        let (table, mut pages) = dom0::memory(guest, PAGES).map_err(NetError::from)?;
        let (tx, rx) = pages.split_at_mut(PAGES / 2);
        let mut net = NetDevice::connect(guest.xen(), &mut store, "device/vif/0", table, tx, rx)?;
        let now = || guest.now().as_millis() as i64;
        let wait = YieldWait::new(guest.xen());
        programs::tcp_echo(console, &mut net, SERVER, 1, now, wait)?;
        Ok(net.close(&mut store)?)
    });
    let received = received.lock().map(|bytes| bytes.clone()).unwrap_or_default();
    if code == ExitCode::SUCCESS && received != sent() {
        eprintln!("error: expected the {BYTES} bytes that were sent, found {}", received.len());
        return ExitCode::FAILURE;
    }
    code
}

fn sent() -> Vec<u8> {
    (0..BYTES).map(|index| (index * 7 / 3) as u8).collect()
}

/// A TCP client that sends bytes, and collects the echoed ones.
struct Client {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    link: Link,
    millis: i64,
    begun: usize,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Client {
    fn new(received: Arc<Mutex<Vec<u8>>>) -> Self {
        let mut link = Link::default();
        let hardware = EthernetAddress([2, 0, 0, 0, 0, 1]).into();
        let mut interface = Interface::new(Config::new(hardware), &mut link, Instant::ZERO);
        let [a, b, c, d] = CLIENT;
        interface.update_ip_addrs(|addresses| {
            // A new interface has none, and room for some.
            let _ = addresses.push(IpCidr::new(IpAddress::v4(a, b, c, d), 24));
        });
        let buffer = || SocketBuffer::new(vec![0; 4096]);
        let mut socket = Socket::new(buffer(), buffer());
        // The client runs only when a frame arrives, so it leaves nothing for later.
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, link, millis: 0, begun: 0, received }
    }

    fn poll(&mut self, frame: &[u8], to_guest: &mut VecDeque<Vec<u8>>) {
        self.millis += 1;
        let now = Instant::from_millis(self.millis);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if frame.is_empty() {
            let [a, b, c, d] = SERVER;
            let server = (IpAddress::v4(a, b, c, d), 7);
            // The socket is closed, and the addresses are valid.
            let _ = socket.connect(self.interface.context(), server, 49152);
        } else {
            self.link.incoming.push_back(frame.to_vec());
        }
        for _ in 0..2 {
            self.interface.poll(now, &mut self.link, &mut self.sockets);
            let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
            let mut bytes = [0; 4096];
            let count = socket.recv_slice(&mut bytes).unwrap_or(0);
            if let Ok(mut received) = self.received.lock() {
                received.extend_from_slice(&bytes[..count]);
                if received.len() == BYTES {
                    socket.close();
                }
            }
            if socket.may_send() {
                self.begun += socket.send_slice(&sent()[self.begun..]).unwrap_or(0);
            }
        }
        self.interface.poll(now, &mut self.link, &mut self.sockets);
        to_guest.append(&mut self.link.outgoing);
    }
}

/// The client's device: frames in memory.
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
