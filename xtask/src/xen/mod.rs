//! Starting self-built guests on the real hypervisor, under an emulator.
//!
//! [`find`] looks for what that takes, [`build`] builds the guest's program, [`unpack`] makes the hypervisor's image one that the emulator can load, [`boot`] runs
//! both and streams the console, and [`verdict`] says how it went. [`program`] lists what can be started.

pub mod boot;
pub mod build;
pub mod console;
pub mod find;
pub mod program;
pub mod stage;
pub mod unpack;
pub mod verdict;
