//! What a guest finds in other domains: xenstore, a console, a disk and a network, as library code.

mod connection;
mod store;

pub use connection::{ConsoleConnection, StoreConnection};
pub use store::StoreServer;
