//! What the benchmarks measure.

mod multiply;

pub use multiply::multiply;
