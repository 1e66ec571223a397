//! What a guest finds in other domains: xenstore, a console, a disk and a network, as library code.

mod connection;
mod dom0;
mod store;

pub use connection::{ConsoleConnection, StoreConnection};
pub use dom0::{Dom0, Operator};
pub use store::StoreServer;
