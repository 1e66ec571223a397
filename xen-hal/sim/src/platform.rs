//! Implements the HAL's traits. The types are zero-sized: each refers to the vCPU on whose stack it
//! is used.

use core::ptr::NonNull;

use xen_hal::grant::MapTarget;
use xen_hal::hypercall::Hypercall;
use xen_hal::memory::{Extent, Memory};
use xen_hal::platform::{AddressSpace, Counter, Frame, Interrupts};

use crate::state::State;
use crate::vcpu;

/// The hypercall backend of the simulated Xen.
///
/// A hypercall panics on a thread that has no simulated vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hypervisor;

/// The memory of the calling vCPU's domain.
///
/// [`Guest::page`](crate::Guest::page) returns the domain's pages. The program's variables are not
/// in the domain's memory: each is at a frame that no page of the domain has. Grant copies, such as
/// [`copy_from_grant`](xen_hal::grant::Grants::copy_from_grant), can read and write variables. The
/// guest cannot grant, unmap or release their frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainSpace;

/// The time stamp counter, or Arm's virtual counter, of the calling vCPU. It counts the machine's
/// time, which advances a little with each reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtualCounter;

/// The interrupt flag of the calling vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterruptFlag;

// SAFETY: the simulator carries out each call as Xen does for the calling vCPU, before it returns.
// It reads and writes memory only at addresses that it was given.
unsafe impl Hypercall for Hypervisor {
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
        vcpu::hypercall(number, [a, b, c, d, e])
    }

    fn restores(&self) -> u32 {
        vcpu::try_current().map_or(0, |current| current.state().domain(current.me).restores)
    }

    /// Does nothing, because the simulated Xen counts restores itself.
    fn count_restore(&self) {}
}

// SAFETY: guest frame n is mapped at page n of the domain's range and nowhere else. Other memory is
// at a frame that stands for its address.
unsafe impl AddressSpace for DomainSpace {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        Some(vcpu::current().frame_of(pointer.as_ptr().expose_provenance()))
    }
}

// SAFETY: the simulator calls no handler on a vCPU whose flag is clear, except that of an NMI,
// which no flag masks on a real processor either. `halt` turns interrupts on and starts to sleep as
// one step.
unsafe impl Interrupts for InterruptFlag {
    fn disable(&self) -> bool {
        vcpu::current().disable_interrupts()
    }

    unsafe fn enable(&self) {
        vcpu::current().enable_interrupts_in_shadow();
    }

    unsafe fn wait(&self) {
        vcpu::current().halt();
    }

    fn pause(&self) {
        vcpu::current().relax();
    }
}

impl Counter for VirtualCounter {
    fn read(&self) -> u64 {
        vcpu::current().in_xen(State::read_counter).unwrap_or_default()
    }
}

/// Gives a page of the domain back to Xen, and takes its frame as a place to map a grant at.
///
/// # Safety
///
/// Nothing else uses the page, and the target is not used after the machine has run.
pub(crate) unsafe fn map_target(page: NonNull<u8>) -> Option<MapTarget<'static>> {
    let frame = DomainSpace.frame_of(page)?;
    // SAFETY: the caller's obligation. If Xen keeps the page, the grant is mapped over it.
    let _ = unsafe { Memory::new(Hypervisor).decrease_reservation([frame], Extent::PAGE) };
    // SAFETY: the caller's obligation.
    unsafe { MapTarget::new(&DomainSpace, page.cast()) }.ok()
}
