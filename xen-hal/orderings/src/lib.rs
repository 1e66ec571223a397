//! Checks each memory ordering of xen-hal and xen-pac on a model of a weakly ordered processor.
//!
//! The [scenarios] run their own source against [Xen's half](xen). [explore](explore::explore) runs
//! a scenario in every execution that the [machine] permits, within bounds, and can make one access
//! weaker. `README.md` says how to run it, and `table.md` what was found.
#![cfg(orderings)]

pub mod explore;
pub mod machine;
pub mod scenarios;
pub mod sites;
pub mod xen;

#[cfg(test)]
mod litmus;
#[cfg(test)]
mod tests;
