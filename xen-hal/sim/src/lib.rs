//! A simulated Xen for testing guest code in an ordinary process. Needs std, and Linux.
//!
//! A [`Machine`] has a [`Profile`] (which Xen, and in which role), a seed, and domains. A domain's
//! first vCPU runs a closure, which gets a [`Guest`]: its hypercall backend, address space, counter
//! and interrupt flag are passed to the HAL in place of the native ones.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use xen_hal::Xen;
//! use xen_hal::event::{Dispatcher, Drain};
//! use xen_hal::platform::VcpuId;
//! use xen_pac::hvm::CallbackVia;
//! use xen_sim::{DomainConfig, Guest, Machine, Profile};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut machine = Machine::new(Profile::DOM0, 1)?;
//!     machine.domain(DomainConfig::new(), kernel)?;
//!     let report = machine.run()?;
//!     println!("{} hypercalls", report.hypercalls);
//!     Ok(())
//! }
//!
//! fn kernel(guest: Guest) -> Result<(), Box<dyn std::error::Error>> {
//!     let xen = Xen::new(guest.xen());
//!     let latch = xen.hvm().set_callback_via(CallbackVia::vector(0xf3)?)?;
//!     let page = guest.page(0).cast();
//!     // SAFETY: nothing else uses the page, and it exists as long as this program runs.
//!     let shared = unsafe { latch.map_shared_info(&guest.space(), page) }?;
//!
//!     let (events, seen) = (Arc::new(Dispatcher::<1>::new()), Arc::new(AtomicU32::new(0)));
//!     events.attach(shared);
//!     let (dispatcher, counts) = (Arc::clone(&events), Arc::clone(&seen));
//!     guest.on_interrupt(0xf3, move || {
//!         let _: Drain = dispatcher.dispatch(VcpuId(0), |_| {
//!             counts.fetch_add(1, Ordering::SeqCst);
//!         });
//!     });
//!     guest.enable_interrupts();
//!     let channel = events.listen(xen.events().bind_ipi(VcpuId(0))?, VcpuId(0))?;
//!     channel.send()?;
//!     assert_eq!(seen.load(Ordering::SeqCst), 1);
//!     Ok(())
//! }
//! ```
//!
//! # What is simulated
//!
//! Everything that the HAL uses: versions and features; HVM parameters, callbacks and upcall
//! vectors; event channels in the two-level form; timers and clocks; memory, where a page that two
//! domains share is one page; grants of both versions; vCPUs, run times, waiting and watchdogs;
//! Xen's console. An invalid request gets the answer of real Xen, and of two errors the one that
//! Xen finds first. The repository's scenarios print the same transcripts here as on real Xen.
//!
//! [`backend`] simulates the other domains: xenstore, consoles, block devices and network
//! interfaces.
//!
//! Not simulated: the FIFO form of event channels, other hypercalls (these are refused with
//! `ENOSYS`), and the processor itself. Programs are compiled for the host and use its memory
//! layout, whatever architecture the profile answers for.
//!
//! # How it runs
//!
//! All vCPUs of a machine run on one thread, each on its own stack, and one at a time. At
//! hypercalls and at accesses to shared memory the seed chooses which vCPU goes on. So a run can be
//! repeated, and another seed gives another interleaving. Interrupts are taken on the vCPU's own
//! stack while its interrupt flag is set. Time advances with what the programs do, and jumps to the
//! next timer when all vCPUs sleep. A loop that waits without sleeping must call [`Guest::relax`].
//!
//! If no vCPU can go on, [`Machine::run`] returns which vCPU waits for what: a lost wakeup is an
//! error, not a hang. A panic, an interrupt without a handler, or a request for which Xen destroys
//! the domain ends the machine with a [`Failure`] that contains the seed.
//!
//! [`for_each_seed`] runs a test with many seeds, or one of them again. The [`guide`] leads from an
//! empty package to a failing seed and its replay.
//!
//! # Fault injection
//!
//! [`FaultRates`] sets how often vCPUs are preempted, upcalls come without an event or late, and
//! clocks are updated while they are read. [`Guest::fail`] makes hypercalls fail. Two [`Snapshot`]s
//! show what a failed operation left behind. [`hostile_peer`] returns the program of a domain that
//! attacks another.
//!
//! # Modules
//!
//! Each module uses only those before it:
//!
//! - `config`: values that tests pass and get: profiles, domains, faults, failures
//! - `memory`: the machine's memory
//! - `state`: Xen's state, and its changes without a hypercall
//! - `xen`: from the state and a hypercall's arguments to the answer
//! - `scheduler`: which vCPU runs, and the switch between stacks
//! - `vcpu`: the vCPU that runs
//! - `platform`: the HAL's traits
//! - `guest`: what programs use
//! - `backend`: the control domain: toolstack, xenstore, consoles, block and network backends
//! - `machine`: what tests use

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "xen-sim needs 64-bit Linux: it maps the pages of a memfd by the size of Xen's pages"
);

pub mod backend;
mod config;
mod guest;
mod machine;
mod memory;
mod platform;
mod scheduler;
mod state;
mod vcpu;
mod xen;

#[doc = include_str!("../docs/testing-with-the-simulator.md")]
pub mod guide {}

pub use config::{Arch, DomainConfig, Failure, FailureKind, Fault, FaultRates, Profile, Role};
pub use guest::{Guest, ProgramResult, Snapshot, hostile_peer};
pub use machine::{Machine, Report, for_each_seed};
pub use platform::{DomainSpace, Hypervisor, InterruptFlag, VirtualCounter};
