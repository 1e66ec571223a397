//! A small Xen for the laptop: the seams of this crate, answered by a simulation, so that a port is
//! tested where there is no hypervisor. Feature `sim`; std, Linux.
//!
//! A [`Machine`] has a [`Profile`] (which Xen, and in which role), a seed, and domains. A domain's
//! first vCPU runs a closure, which is given a [`Guest`]: from it come the way into Xen and the
//! other seams, which are handed to the HAL as the real ones would be.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use xen_hal::Xen;
//! use xen_hal::event::{AllPorts, ScanCursor, TwoLevel};
//! use xen_hal::platform::VcpuId;
//! use xen_sim::{Guest, Machine, Profile, Setup};
//! use xen_pac::hvm::CallbackVia;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut machine = Machine::new(Profile::DOM0, 1)?;
//!     machine.domain(Setup::new(), kernel)?;
//!     let report = machine.run()?;
//!     println!("{} hypercalls", report.hypercalls);
//!     Ok(())
//! }
//!
//! fn kernel(guest: Guest) -> Result<(), Box<dyn std::error::Error>> {
//!     let xen = Xen::new(guest.xen());
//!     let latch = xen.hvm().set_callback_via(CallbackVia::vector(0xf3)?)?;
//!     // SAFETY: nothing else uses the page, and it is there as long as this program runs.
//!     let shared = unsafe { xen.memory().map_shared_info(&guest.space(), guest.page(0).cast(), latch) }?;
//!
//!     let (cursor, seen) = (ScanCursor::new(), Arc::new(AtomicU32::new(0)));
//!     let counts = Arc::clone(&seen);
//!     guest.on_interrupt(0xf3, move || {
//!         let vcpu = shared.vcpu_info(0).expect("vCPU 0 has its block in the shared page");
//!         let _ = TwoLevel::new(shared).dispatch(vcpu, &AllPorts, &cursor, |_| {
//!             counts.fetch_add(1, Ordering::SeqCst);
//!             std::ops::ControlFlow::Continue(())
//!         });
//!     });
//!     guest.enable_interrupts();
//!     let channel = xen.events().bind_ipi(VcpuId(0))?;
//!     channel.send()?;
//!     assert_eq!(seen.load(Ordering::SeqCst), 1);
//!     Ok(())
//! }
//! ```
//!
//! # What is simulated
//! Everything that the HAL has: versions and features; parameters, callbacks and upcall vectors;
//! event channels in the two-level form; timers and the clock; memory, with pages that truly are
//! one page where they are shared; grants of both versions; vCPUs, run times, waiting and
//! watchdogs; the console. Each bad request is answered as Xen answers it, with the checks in Xen's
//! order. That is no belief of the simulator's author: the repository's scenarios tell on it, line
//! for line, what they told on the real hypervisor.
//!
//! Not simulated: the FIFO form of event channels, which is refused with `ENOSYS`; devices; other
//! hypercalls, which are refused with `ENOSYS` too; and the processor itself: programs are compiled
//! for the laptop, with its layout of memory, whatever architecture the profile answers for.
//!
//! # How it runs
//! Each vCPU is a thread, and one of them at a time has the baton. It is passed on at hypercalls,
//! and at accesses to shared memory, to whom the seed says: so that a run is the same each time,
//! and another seed gives another interleaving. Interrupts come on the vCPU's own thread, where its
//! flag lets them in. Time goes on by what the programs do, and jumps to the next timer when all of
//! them sleep. A loop that waits without sleeping needs [`Guest::relax`].
//!
//! When nothing can go on any more, [`Machine::run`] says who waits for what: a lost wakeup is
//! found, not waited for. A program that panics, an interrupt without a handler, a request that
//! makes Xen destroy the domain: each ends the machine with a [`Failure`] that names the seed.
//!
//! [`for_each_seed`] runs a test with many seeds, and one of them again. The [`guide`] leads from
//! an empty package to a seed that fails, and is replayed.
//!
//! # What goes wrong on purpose
//! [`Adversity`] has vCPUs preempted in the middle of an operation, upcalls that come for nothing
//! or late, and clocks that are set while they are read; [`Guest::fail`] makes hypercalls fail; a
//! [`Snapshot`] tells whether a failed operation left something behind.
//!
//! - `machine`, `setup`, `profile`, `guest`, `seams`: what a test sees
//! - `state`: what Xen knows; `xen/`: what it answers, a file for each hypercall; `upcall`, `time`,
//!   `lifecycle`: what happens by itself
//! - `baton`, `current`: who runs
//! - `adversity`, `hostile`: what goes wrong, and a peer that wishes no good; `seeds`: many runs of
//!   one test; `failure`, `snapshot`: what came of it
//! - `boundary`: all unsafe code

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "xen-sim needs Linux on a 64-bit machine: it maps pages of an anonymous file by the size of Xen's pages"
);

mod adversity;
pub mod backend;
mod baton;
mod boundary;
mod current;
mod failure;
mod guest;
pub mod guide;
mod hostile;
mod lifecycle;
mod machine;
mod profile;
mod seams;
mod seeds;
mod setup;
mod snapshot;
mod state;
mod time;
mod upcall;
mod xen;

pub use adversity::{Adversity, Fault};
pub use failure::{Failure, What};
pub use guest::Guest;
pub use hostile::hostile;
pub use machine::{Ending, Machine, Report};
pub use profile::{Arch, Profile, Role};
pub use seams::{Hypervisor, Interrupts, Space, TimeCounter};
pub use seeds::for_each_seed;
pub use setup::Setup;
pub use snapshot::Snapshot;
