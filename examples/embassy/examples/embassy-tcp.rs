//! A guest whose TCP server and client use `embassy-net`, on the simulator.

#[path = "../../../xen-hal/sim/examples/support/dom0.rs"]
mod dom0;
#[path = "../../../xen-hal/sim/examples/support/embassy_net.rs"]
mod embassy_net;
#[path = "../../../xen-hal/sim/examples/support/peer.rs"]
mod peer;

use std::process::ExitCode;

use peer::Peer;
use xen_hal::net::{NetDevice, NetError};
use xen_hal::xenstore::Store;

/// Two pages for rings, and sixteen for frames.
const PAGES: usize = 18;

fn main() -> ExitCode {
    let peer = Peer::default();
    let code = dom0::run([peer.network().into()], "", |guest, _| {
        let storage = Box::leak(Box::new([0; Store::STORAGE]));
        // SAFETY: the ring has one owner, as long as the machine runs.
        let mut store = unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), storage) }?;
        let (table, pages) = dom0::memory(guest, PAGES).map_err(NetError::from)?;
        let (tx, rx) = Box::leak(pages.into_boxed_slice()).split_at_mut(PAGES / 2);
        let net = NetDevice::connect(guest.xen(), &mut store, "device/vif/0", table, tx, rx)?;
        embassy_net::run(guest, net, |line| println!("{line}"))
    });
    if code == ExitCode::SUCCESS { peer.check() } else { code }
}
