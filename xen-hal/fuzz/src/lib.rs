//! What `xen-hal` reads that somebody else wrote, as targets for coverage-guided fuzzing.
//!
//! A target is a function of bytes, in a module of its own, that panics when the HAL does what it
//! must not. The binaries in `fuzz_targets` give them to libFuzzer.

pub mod answers;
pub mod bytes;
pub mod clock;
pub mod dispatch;
mod hook;
mod input;
mod pages;
pub mod revoke;
#[cfg(test)]
mod tests;
