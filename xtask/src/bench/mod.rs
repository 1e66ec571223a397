//! Measurements for `BENCHMARKS.md`. Each run measures both sides: the generator and its output
//! against svd2rust, and the HAL's hot paths against C.

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

/// Returns a row of a table: the name, the processor time and the wall-clock time.
fn row(what: &str, usage: Usage) -> String {
    format!("| {what} | {:.3} s | {:.3} s |", usage.cpu.as_secs_f64(), usage.wall.as_secs_f64())
}

/// Returns the ratio of the processor times.
fn ratio(ours: Usage, theirs: Usage) -> f64 {
    ours.cpu.as_secs_f64() / theirs.cpu.as_secs_f64()
}
