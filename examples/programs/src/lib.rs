//! Example programs that use devices through `xen-hal`. They run on the simulator (`cargo run -p
//! xen-sim --example echo`) and as guests of real Xen (`cargo xtask guest echo --route domu`).
//!
//! Each program is a function of the devices that it uses. Its caller opens the devices.
#![no_std]

mod browser;
mod echo;
#[cfg(feature = "embassy")]
mod embassy;
mod files;
mod peers;
mod probe;
mod restore;
mod tcp;

pub use browser::browse;
pub use echo::echo;
#[cfg(feature = "embassy")]
pub use embassy::embassy_tcp;
pub use files::files;
pub use peers::{Arrivals, OFFERED, Peer, accept, offer};
pub use probe::{DISTURB, DISTURBED, probe};
pub use restore::{Deliveries, DevicePages, Services, restore};
pub use tcp::{Addresses, CLIENT_LINE, CLIENT_LINES, CLIENT_PORT, SERVER_PORT, tcp_echo};

use xen_hal::blk::BlockError;
use xen_hal::console::ConsoleError;
use xen_hal::net::NetError;
use xen_hal::xenbus::XenbusError;
use xen_hal::xenstore::StoreError;

/// Why a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Xen refused a hypercall.
    #[error(transparent)]
    Xen(#[from] xen_hal::Error),
    /// The console failed.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A device failed.
    #[error(transparent)]
    Xenbus(#[from] XenbusError),
    /// A block device failed.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A network interface failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// No data arrived at a server in time.
    #[error("no data arrived from the network in time")]
    Idle,
    /// The peer of a connection sent back something else than it received.
    #[error("expected from the network what was sent, found something else")]
    Echo,
    /// A TCP connection failed.
    #[error("the TCP connection failed")]
    Tcp,
    /// The file system on a block device cannot be used.
    #[error("the file system: {0}")]
    Files(&'static str),
}
