//! Brings the generated folder up to date: everything is known before anything is written.
//!
//! [`Plan::new`] compares the generated texts with what is on the disk, [`apply()`] carries the
//! plan out, and [`diff`] shows it.

mod api;
mod apply;
mod plan;
#[cfg(test)]
mod tests;

pub use api::summary;
pub use apply::{Lock, apply};
pub use plan::{Change, Generated, MARK, OutputError, Plan, diff};
