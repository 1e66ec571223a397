//! Scenarios: what a guest does and what Xen answers, written down line by line.
//!
//! A scenario is one source that runs on any [`Machine`]: a guest on the real hypervisor, or a
//! simulator. It writes a [`Transcript`]. The transcripts in `transcripts/` were recorded on the
//! real hypervisor, and only `cargo xtask guest --record` writes them. A simulator must give the
//! same, line for line.
//!
//! What differs from run to run, as addresses and times do, is a [token](transcript::Token) that
//! names its kind and not its value. No text is rewritten.
//!
//! - `list.rs`: which scenarios there are; plain data
//! - `machine.rs`: what a scenario needs of whatever it runs on
//! - `world.rs`: what all vCPUs of a scenario share, and what happens on an upcall
//! - `transcript/`: lines made of tokens
//! - `scenario/`: the scenarios, a file each
#![no_std]

mod failure;
pub mod list;
mod machine;
mod scenario;
pub mod transcript;

pub use failure::Failure;
pub use machine::{Machine, PAGES, VCPUS, World};
pub use scenario::run;
pub use transcript::Transcript;
