//! Simulates the services of other domains: xenstore, consoles, block devices and network
//! interfaces.

mod block;
mod connection;
mod device;
mod dom0;
mod host;
mod network;
mod store;

pub use block::Disk;
pub use connection::{ConsoleConnection, StoreConnection};
pub use device::Device;
pub use dom0::{Dom0, Operator};
pub use host::BackendFault;
pub use network::Network;
pub use store::StoreServer;
