//! Brings the generated folder up to date: everything is known before anything is written.
//!
//! [`Plan::new`] compares the generated texts with what is on the disk, [`apply()`] carries the
//! plan out, and [`diff`] shows it.

mod apply;
mod diff;
mod error;
mod lock;
mod plan;
#[cfg(test)]
mod tests;

pub use apply::apply;
pub use diff::diff;
pub use error::OutputError;
pub use lock::Lock;
pub use plan::{Change, Generated, MARK, Plan};
