//! Starting self-built guests on the real hypervisor, under an emulator.
//!
//! [`find`] looks for what that takes, [`build`] builds the guest's program, [`unpack`] makes the
//! hypervisor's image one that the emulator can load, [`boot`] runs both and streams the console,
//! and [`verdict`] says how it went. [`program`] lists what can be started. A scenario also tells a
//! [`transcript`], which has to be the one that was recorded; [`route`] says on what. [`tally`]
//! counts runs.

pub mod boot;
pub mod build;
pub mod console;
pub mod find;
pub mod program;
pub mod route;
pub mod stage;
pub mod tally;
pub mod transcript;
pub mod unpack;
pub mod verdict;
