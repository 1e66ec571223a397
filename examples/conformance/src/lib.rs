//! Scenarios: each records a guest's operations and Xen's answers, line by line.
//!
//! A scenario is one source that runs on any [`Machine`]: a guest on the real hypervisor, or a
//! simulator. It writes a [`Transcript`]. The transcripts in `transcripts/` were recorded on the
//! real hypervisor, and only `cargo xtask guest --record` writes them. A simulator must give the
//! same, line for line.
//!
//! For a value that differs between runs, such as an address or a time, the line has a
//! [token](transcript::Token) that names only its kind. No text is rewritten.
//!
//! - `list.rs`: the list of scenarios, plain data
//! - `machine.rs`: the interface of a scenario to its machine
//! - `world.rs`: the state that all vCPUs of a scenario share, and the upcall handler
//! - `transcript/`: lines made of tokens
//! - `scenario/`: the scenarios, a file each
//! - `random/`: random programs, which run on both sides and are compared
#![no_std]

mod failure;
pub mod list;
mod machine;
pub mod random;
mod scenario;
pub mod transcript;

pub use failure::Failure;
pub use machine::{Machine, PAGES, VCPUS, World};
pub use scenario::run;
#[cfg(not(target_arch = "x86"))]
pub use scenario::time_offset;
pub use transcript::Transcript;
