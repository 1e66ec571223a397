//! A guest that is a TCP echo server, and then a client, and the other end of its network.

#[path = "support/dom0.rs"]
mod dom0;
#[path = "support/peer.rs"]
mod peer;

use std::process::ExitCode;

use peer::{ADDRESSES, Peer};
use xen_hal::net::{NetDevice, NetError};
use xen_hal::ring::YieldWait;
use xen_hal::xenstore::Store;

/// Two pages for rings, and sixteen for frames.
const PAGES: usize = 18;

fn main() -> ExitCode {
    let peer = Peer::default();
    let code = dom0::run([peer.network().into()], "", |guest, console| {
        let mut storage = [0; Store::STORAGE];
        // SAFETY: the ring has one owner, as long as the machine runs.
        let mut store =
            unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), &mut storage) }?;
        let (table, mut pages) = dom0::memory(guest, PAGES).map_err(NetError::from)?;
        let (tx, rx) = pages.split_at_mut(PAGES / 2);
        let mut net = NetDevice::connect(guest.xen(), &mut store, "device/vif/0", table, tx, rx)?;
        let now = || guest.now().as_millis() as i64;
        let wait = YieldWait::new(guest.xen());
        programs::tcp_echo(console, &mut net, ADDRESSES, now, wait)?;
        Ok(net.close(&mut store)?)
    });
    if code == ExitCode::SUCCESS { peer.check() } else { code }
}
