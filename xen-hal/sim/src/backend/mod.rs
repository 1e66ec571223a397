//! What a guest finds in other domains: xenstore and a console, as library code.

mod connection;
// A control domain takes its events by a callback vector, which Arm does not have.
#[cfg(target_arch = "x86_64")]
mod dom0;
mod store;

pub use connection::{ConsoleConnection, StoreConnection};
#[cfg(target_arch = "x86_64")]
pub use dom0::{Dom0, Operator};
pub use store::StoreServer;
