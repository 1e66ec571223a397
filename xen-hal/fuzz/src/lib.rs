//! Targets for coverage-guided fuzzing: what `xen-hal` reads that another side wrote.
//!
//! A target is a function of bytes, in its own module, that panics if the HAL misbehaves. The
//! binaries in `fuzz_targets` pass them to libFuzzer.

pub mod answers;
pub mod bytes;
pub mod clock;
pub mod devices;
pub mod dispatch;
pub mod drivers;
mod fake;
mod input;
mod peer;
pub mod revoke;
#[cfg(test)]
mod tests;
