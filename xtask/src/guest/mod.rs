//! Building guests and booting them on the real hypervisor, in an emulator.
//!
//! [`platform`] lists what a guest can run on, [`program`] what can be booted there. [`build`]
//! makes the guest's image, [`packages`] brings the hypervisors and tools that Debian does not
//! install, [`emulator`] makes the command line of a boot, and [`boot`] runs it and streams the
//! console. [`session`] does all of that for programs and platforms, and [`jobs`] for several
//! platforms at the same time. [`verdict`] judges the end, [`transcript`] compares what a scenario
//! printed with what was recorded, and [`tally`] counts runs. [`random`] compares random programs
//! with the simulator.

pub mod boot;
pub mod build;
pub mod console;
pub mod domu;
pub mod emulator;
pub mod jobs;
pub mod packages;
pub mod platform;
pub mod program;
pub mod random;
pub mod session;
pub mod tally;
pub mod transcript;
pub mod verdict;
