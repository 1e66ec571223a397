//! What a guest finds in other domains, as library code: xenstore, a console, and the backends of
//! block devices.

#[cfg(target_arch = "x86_64")]
mod block;
mod connection;
// A control domain takes its events by a callback vector, which Arm does not have.
#[cfg(target_arch = "x86_64")]
mod device;
#[cfg(target_arch = "x86_64")]
mod dom0;
#[cfg(target_arch = "x86_64")]
mod host;
mod store;

#[cfg(target_arch = "x86_64")]
pub use block::Disk;
pub use connection::{ConsoleConnection, StoreConnection};
#[cfg(target_arch = "x86_64")]
pub use device::Device;
#[cfg(target_arch = "x86_64")]
pub use dom0::{Dom0, Operator};
#[cfg(target_arch = "x86_64")]
pub use host::BackendFault;
pub use store::StoreServer;
