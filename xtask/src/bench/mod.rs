//! Measurements for `BENCHMARKS.md`, each side by side in one run: the generator and what it makes
//! against svd2rust, the HAL's hot paths against C.

mod hal;
mod linear;
mod multiply;
mod regen;
mod sim;
mod svd;
pub mod usage;

pub use hal::hal;
pub use linear::linear;
pub use multiply::multiply;
pub use regen::{check, regen};
pub use sim::sim;

use usage::Usage;

/// A row of a table: what was measured, processor time and time on the wall.
fn row(what: &str, usage: Usage) -> String {
    format!("| {what} | {:.3} s | {:.3} s |", usage.cpu.as_secs_f64(), usage.wall.as_secs_f64())
}

/// The first as a part of the second.
fn ratio(ours: Usage, theirs: Usage) -> f64 {
    ours.cpu.as_secs_f64() / theirs.cpu.as_secs_f64()
}
