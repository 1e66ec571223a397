//! The interface of a scenario to the machine on which it runs.

mod world;

use core::fmt;
use core::ptr::NonNull;

use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::{AddressSpace, Counter, Interrupts, VcpuId};
use xen_pac::hvm::CallbackVia;

pub(crate) use world::let_interrupts_in;
pub use world::{VCPUS, World};

/// The number of pages that a scenario may use.
pub const PAGES: usize = 16;

/// A domain with two vCPUs, on which a scenario runs.
///
/// A scenario starts on vCPU 0 with interrupts off, before the domain has mapped, bound or
/// registered anything.
///
/// # Safety
///
/// - [`page`](Self::page) must return readable and writable memory of the domain that
///   [`space`](Self::space) translates and nothing else uses. It must stay mapped, although a
///   scenario can map another page in its place.
/// - The backend, the address space, the counter and the interrupts must meet their traits'
///   obligations.
pub unsafe trait Machine: Sized + 'static {
    /// The way to the hypervisor.
    type Xen: Hypercall + Copy;
    /// Where pointers lie.
    type Space: AddressSpace;
    /// What the hypervisor's clock counts.
    type Counter: Counter;
    /// The calling vCPU's interrupts.
    type Interrupts: Interrupts;

    /// Returns the way to the hypervisor.
    fn xen(&self) -> Self::Xen;
    /// Where pointers lie.
    fn space(&self) -> Self::Space;
    /// What the hypervisor's clock counts.
    fn counter(&self) -> Self::Counter;
    /// Returns the calling vCPU's interrupts.
    fn interrupts(&self) -> Self::Interrupts;

    /// Returns the state that all vCPUs share. Each run has a new one.
    fn world(&self) -> &'static World;

    /// Returns a page of zeros for the scenario; `index` is below [`PAGES`].
    fn page(&self, index: usize) -> NonNull<u8>;

    /// Returns the callback that the scenario must set; `None` if the machine needs none, as on
    /// Arm. An upcall on a vCPU whose interrupts are on must call [`World::upcall`] on that vCPU,
    /// with interrupts off.
    fn callback(&self) -> Option<CallbackVia>;

    /// Prepares the calling vCPU for its own upcall vector, and returns the vector, for
    /// [`set_upcall_vector`](xen_hal::hvm::Hvm::set_upcall_vector). Returns `None` if there are no
    /// such vectors, as on Arm. Each upcall must call [`World::own_upcall`] as for
    /// [`callback`](Self::callback), and then signal the end of the interrupt to the local APIC.
    fn own_upcalls(&self) -> Option<u8>;

    /// Returns whether Xen's CPUID leaves announce per-vCPU upcall vectors.
    fn own_upcalls_are_announced(&self) -> bool;

    /// Returns the number of the calling vCPU.
    fn current(&self) -> VcpuId;

    /// Turns interrupts on for the calling vCPU.
    fn enable_interrupts(&self);

    /// Sleeps until `done` returns true. Calls it with interrupts off, first at the call and then
    /// after each interrupt. Interrupts are on afterwards.
    fn wait_until(&self, done: impl FnMut() -> bool);

    /// Lets other vCPUs run. Loops that wait for another vCPU without sleeping call this in each
    /// iteration.
    fn relax(&self);

    /// Starts a vCPU with interrupts off. After `main` returns, the vCPU stops.
    ///
    /// # Errors
    ///
    /// Xen's.
    fn start(&self, vcpu: VcpuId, main: fn(&Self)) -> Result<(), Errno>;

    /// Writes a line of the transcript.
    fn tell(&self, line: fmt::Arguments<'_>);
}
