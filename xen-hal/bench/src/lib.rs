//! The hot paths of `xen-hal` as functions of their own, each beside its twin in C.
//!
//! A twin follows the same algorithm, written from the rules of the ABI, and is compiled by the C
//! compiler at `-O2`. The tests feed both sides with the same random input and compare all they
//! answer and leave in memory; the benchmarks count the instructions that each side executes.

pub mod calls;
pub mod clock;
pub mod event;
pub mod fixture;
pub mod grant;
pub mod hypercall;
pub mod ring;
#[cfg(feature = "counts")]
pub mod task;
