//! A simulated Xen for testing guest code in an ordinary process. Needs std, and Linux.
//!
//! A [`Machine`] has a [`Profile`] (Xen's release and architecture, and the role of domains), a
//! seed, and domains. A domain's first vCPU runs a closure with a [`Guest`] as its argument. The
//! closure passes the guest's hypercall backend, address space, counter and interrupt flag to the
//! HAL in place of the native ones.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use xen_hal::Xen;
//! use xen_hal::event::{Dispatcher, Drain};
//! use xen_hal::platform::VcpuId;
//! use xen_pac::hvm::CallbackVia;
//! use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut machine = Machine::new(Profile::DOM0, 1)?.fault_rates(FaultRates::storm());
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
//!     guest.wait_until(|| seen.load(Ordering::SeqCst) == 1);
//!     Ok(())
//! }
//! ```
//!
//! # What is simulated
//!
//! Everything that the HAL uses: versions and features; HVM parameters, callbacks and upcall
//! vectors; event channels in the two-level form; timers and clocks; memory, where a page that two
//! domains share is one page; grants of both versions; vCPUs, run times, waiting and watchdogs;
//! Xen's console. An invalid request gets the error that real Xen returns, with Xen's order of
//! checks. The repository's scenarios print the same transcripts here as on real Xen.
//!
//! [`backend`] simulates the other domains: xenstore, consoles, block devices and network
//! interfaces.
//!
//! Not simulated: the FIFO form of event channels, other hypercalls (they return `ENOSYS`), and the
//! processor. Programs are compiled for the host and use its memory layout, whatever the profile's
//! architecture.
//!
//! # How it runs
//!
//! All vCPUs of a machine run on one thread, each on its own stack, and one at a time. At
//! hypercalls and at accesses to shared memory, the seed chooses the next vCPU. So a run can be
//! repeated, and a different seed gives a different interleaving. A vCPU takes interrupts on its
//! own stack while its interrupt flag is set. Each operation advances the time; when all vCPUs
//! sleep, the time jumps to the next timer. A loop that waits without sleeping must call
//! [`Guest::relax`].
//!
//! If no vCPU can continue, [`Machine::run`] returns what each vCPU waits for: a lost wakeup is an
//! error, not a hang. A panic, an interrupt without a handler, or an operation for which Xen
//! destroys the domain stops the machine with a [`Failure`] that contains the seed.
//!
//! [`for_each_seed`] runs a test with many seeds, or repeats one; [`storm`] runs one program with
//! every fault. The [`guide`] leads from an empty package to a failing seed and its replay.
//!
//! # Fault injection
//!
//! [`FaultRates`] sets the rates of preemption, of spurious and late upcalls, and of clock updates
//! during a reading. [`Guest::fail`] makes hypercalls fail. The difference of two [`Snapshot`]s
//! shows what a failed operation left behind. [`hostile_peer`] returns the program of a domain that
//! attacks another.
//!
//! # Ports
//!
//! A port's statics are [`DomainLocal`]s here, and its code finds the vCPU that runs it by
//! [`Guest::here`]. Where a race over the port's own memory is possible, it can call
//! [`Guest::preemption_point`]. The feature `critical-section` implements the crate of that name
//! for simulated vCPUs, with such a point at each section.
//!
//! # Modules
//!
//! Each module uses only those before it:
//!
//! - `config`: values that tests pass and receive: profiles, domains, faults, failures
//! - `raw_memory`: the machine's memory
//! - `state`: Xen's state, and its changes without a hypercall
//! - `xen`: the hypercalls
//! - `scheduler`: chooses the vCPU that runs, and switches stacks
//! - `vcpu`: the running vCPU
//! - `platform`: the HAL's traits
//! - `guest`: the interface of programs
//! - `backend`: the control domain: toolstack, xenstore, consoles, block and network backends
//! - `machine`: the interface of tests

#![allow(deprecated, reason = "each release is simulated, whatever the oldest one of the program")]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "xen-sim needs 64-bit Linux: it maps the pages of a memfd by the size of Xen's pages"
);

pub mod backend;
mod config;
mod guest;
mod machine;
mod platform;
mod raw_memory;
mod scheduler;
mod state;
mod vcpu;
mod xen;

#[doc = include_str!("../docs/testing-with-the-simulator.md")]
pub mod guide {}

pub use config::{Arch, DomainConfig, Failure, FailureKind, Fault, FaultRates, Profile, Role};
pub use guest::{Deadline, DomainLocal, Guest, ProgramResult, Snapshot, hostile_peer};
#[cfg(target_arch = "x86_64")]
pub use machine::storm_with_dom0;
pub use machine::{Machine, Report, for_each_seed, runs_all_seeds, storm};
pub use platform::{DomainSpace, Hypervisor, InterruptFlag, VirtualCounter};
