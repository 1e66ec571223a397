//! Measurements of the generator and of what it makes, for `BENCHMARKS.md`: each against svd2rust, side by side in one run.

mod check;
mod multiply;
mod regen;
mod rival;
mod svd;
mod usage;

pub use check::check;
pub use multiply::multiply;
pub use regen::regen;

use usage::Usage;

/// A row of a table: what was measured, processor time and time on the wall.
fn row(what: &str, usage: Usage) -> String {
    format!("| {what} | {:.3} s | {:.3} s |", usage.cpu.as_secs_f64(), usage.wall.as_secs_f64())
}

/// The first as a part of the second.
fn ratio(ours: Usage, theirs: Usage) -> f64 {
    ours.cpu.as_secs_f64() / theirs.cpu.as_secs_f64()
}
