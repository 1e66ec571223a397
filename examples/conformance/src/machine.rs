//! What a scenario needs of whatever it runs on.

use core::fmt;
use core::ptr::NonNull;

use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::{AddressSpace, Counter, Interrupts, VcpuId};
use xen_pac::hvm::CallbackVia;

use crate::World;

/// How many pages of its own a scenario may use.
pub const PAGES: usize = 16;

/// A domain with two vCPUs, seen from inside.
///
/// A scenario starts on vCPU 0 with interrupts off, as the first thing that the domain does:
/// nothing has been mapped, bound or registered.
///
/// # Safety
///
/// - [`page`](Self::page) returns memory of the domain's that is readable and writable, that
///   [`space`](Self::space) knows, and that nothing else uses. It is there for ever, although a
///   scenario may have Xen put another page in its place.
/// - The seams keep the promises of their traits.
pub unsafe trait Machine: Sized + 'static {
    /// The way to the hypervisor.
    type Xen: Hypercall + Copy;
    /// Where pointers lie.
    type Space: AddressSpace;
    /// What the hypervisor's clock counts.
    type Counter: Counter;
    /// The calling vCPU's interrupts.
    type Interrupts: Interrupts;

    /// The way to the hypervisor.
    fn xen(&self) -> Self::Xen;
    /// Where pointers lie.
    fn space(&self) -> Self::Space;
    /// What the hypervisor's clock counts.
    fn counter(&self) -> Self::Counter;
    /// The calling vCPU's interrupts.
    fn interrupts(&self) -> Self::Interrupts;

    /// What the vCPUs share. The same for all of them, and fresh for each run.
    fn world(&self) -> &'static World;

    /// A page of zeros for the scenario to use; `index` is below [`PAGES`].
    fn page(&self, index: usize) -> NonNull<u8>;

    /// How Xen is to announce events: at a vector, or not at all where nothing need be said. An
    /// announcement on a vCPU whose interrupts are on leads to [`World::upcall`], called on that
    /// vCPU with interrupts off.
    fn callback(&self) -> Option<CallbackVia>;

    /// Makes the calling vCPU ready for upcalls of its own, and says at which vector: Xen may be
    /// [asked](xen_hal::hvm::Hvm::set_upcall_vector) for them. Each leads to [`World::own_upcall`],
    /// called as for [`callback`](Self::callback), and the local APIC is told its end. `None` where
    /// there are none, as on Arm.
    fn own_upcalls(&self) -> Option<u8>;

    /// Whether Xen says, by the processor's identification, that it has upcalls of that kind.
    fn own_upcalls_are_announced(&self) -> bool;

    /// The number of the calling vCPU.
    fn current(&self) -> VcpuId;

    /// Lets interrupts in on the calling vCPU.
    fn enable_interrupts(&self);

    /// Sleeps until `done`, which is asked with interrupts off at first and after each interrupt.
    /// Interrupts are on afterwards.
    fn wait_until(&self, done: impl FnMut() -> bool);

    /// Passes a moment in a loop that waits for another vCPU without sleeping.
    fn relax(&self);

    /// Starts a vCPU, with interrupts off. When `main` is over it does nothing more.
    ///
    /// # Errors
    ///
    /// Xen's.
    fn start(&self, vcpu: VcpuId, main: fn(&Self)) -> Result<(), Errno>;

    /// Takes a line of the transcript.
    fn tell(&self, line: fmt::Arguments<'_>);
}
