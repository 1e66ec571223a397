//! Shows the page that a domain shares with Xen, and a vCPU's block that is registered elsewhere:
//! where they can be, where not, and what moves with them.

use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::event::TwoLevel;
use xen_hal::hypercall::{Commands, Errno};
use xen_hal::platform::{Interrupts, VcpuId};
use xen_pac::base::{Domid, XenUlong};
use xen_pac::memory::{MapSpace, XenAddToPhysmap, command as memory};
use xen_pac::shared_info::VcpuInfo;
use xen_pac::vcpu::{VcpuRegisterVcpuInfo, command as vcpu};

use super::common::{self, FIRST, errno, frame};
use crate::failure::{Required, require};
use crate::transcript::Time;
use crate::{Failure, Machine, Transcript, line};

/// The page of the machine's where the shared page is at first.
const AT_FIRST: usize = 0;
/// The page where it moves.
const LATER: usize = 1;
/// The page for a vCPU's block.
const BLOCK: usize = 2;
/// Where the block lies in its page.
const OFFSET: u32 = 0x140;
/// A guest frame at which nothing can be.
const NO_FRAME: u64 = 1 << 40;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    mapped(machine, t)?;
    refused(machine, t)?;
    registered(machine, t)
}

fn mapped<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let shared = machine.world().attach(machine)?;
    let info = machine.world().block(FIRST)?;
    require(info.time().snapshot().system_time > 0, "the clock runs on x86")?;
    line!(t, "system time:", Time, "wallclock:", Time, "beyond 2106:", shared.wallclock().sec_hi);
    line!(t, "upcall pending:", info.evtchn_upcall_pending().load(Ordering::SeqCst));
    let (last, beyond) = (shared.vcpu_info(31).is_some(), shared.vcpu_info(32).is_some());
    line!(t, "vCPU 31 has a block:", last, "and vCPU 32:", beyond);
    let pending = shared.evtchn_pending(0).map(|word| word.load(Ordering::SeqCst));
    line!(t, "first port pending:", pending);
    Ok(())
}

/// What is asked of `add_to_physmap`, by numbers.
fn add<M: Machine>(
    machine: &M,
    domain: Domid,
    space: MapSpace,
    index: u64,
    at: u64,
) -> Result<(), Errno> {
    // On a 32-bit machine a frame beyond all memory is the last one.
    #[allow(clippy::useless_conversion, reason = "the word has 32 bits on x86")]
    let word = |value: u64| value.try_into().unwrap_or(XenUlong::MAX);
    let mut request = XenAddToPhysmap::new(domain, 0, space, word(index), word(at));
    // SAFETY: each of these is refused, or replaces a page that nothing is kept in.
    unsafe { machine.xen().call_unchecked(memory::AddToPhysmap, &mut request) }
}

pub(super) fn refused<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let at = frame(machine, LATER)?.0;
    line!(t, "for domain 77:", add(machine, Domid(77), MapSpace::SHARED_INFO, 0, at));
    line!(t, "its second page:", add(machine, Domid::SELF, MapSpace::SHARED_INFO, 1, at));
    line!(t, "of an unknown kind:", add(machine, Domid::SELF, MapSpace(9), 0, at));
    let answer = add(machine, Domid::SELF, MapSpace::GMFN_FOREIGN, 0, at);
    line!(t, "of a kind that takes another command:", answer);
    let answer = add(machine, Domid::SELF, MapSpace::SHARED_INFO, 0, u64::MAX);
    line!(t, "at a frame that cannot be:", answer);
    // Every number of 32 bits is a frame that can be. The page returns to its place.
    if answer.is_ok() {
        add(machine, Domid::SELF, MapSpace::SHARED_INFO, 0, frame(machine, AT_FIRST)?.0)?;
    }
    line!(t, "grant table page 4096:", add(machine, Domid::SELF, MapSpace::GRANT_TABLE, 4096, at));
    let answer = add(machine, Domid::SELF, MapSpace::GMFN, NO_FRAME, at);
    line!(t, "own page that is no memory:", answer);
    Ok(())
}

/// Asks for a vCPU's block to be elsewhere.
fn register<M: Machine>(machine: &M, id: u32, frame: u64, offset: u32) -> Result<(), Errno> {
    let mut argument = VcpuRegisterVcpuInfo::new(frame, offset);
    // SAFETY: each of these is refused, or gives Xen the page that is kept for it.
    unsafe { machine.xen().call_unchecked(vcpu::RegisterVcpuInfo, (VcpuId(id), &mut argument)) }
}

pub(super) fn registered<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, events) = (machine.world(), Xen::new(machine.xen()).events());
    let (at, block) = (frame(machine, LATER)?, frame(machine, BLOCK)?.0);
    let missing = common::beyond_last(machine.xen())?.0;
    let answer = register(machine, missing, block, OFFSET);
    line!(t, "register_vcpu_info of a missing vCPU:", answer);
    line!(t, "across the page's end:", register(machine, 0, block, 4096 - 32));
    line!(t, "beyond the page:", register(machine, 0, block, 4096));
    // Not aligned for guests of 32 bits either, which the simulator runs with 64.
    let answer = register(machine, 0, block, OFFSET + 2);
    line!(t, "not aligned:", answer);
    line!(t, "where there is no memory:", register(machine, 0, NO_FRAME, OFFSET));

    machine.enable_interrupts();
    let ipi = events.bind_ipi(FIRST)?;
    let before = world.upcalls(FIRST);
    machine.interrupts().without(|| {
        register(machine, 0, block, OFFSET)?;
        // SAFETY: the offset is within the page.
        let block = unsafe { machine.page(BLOCK).add(OFFSET as usize) };
        // SAFETY: Xen keeps the block there from now on, for ever.
        let info = unsafe { VcpuInfo::from_ptr(block.cast()) };
        line!(t, "registered: upcall pending", info.evtchn_upcall_pending().load(Ordering::SeqCst));
        let full = info.evtchn_pending_sel().load(Ordering::SeqCst) == XenUlong::MAX;
        line!(t, "the selector is full:", full);
        world.moved(FIRST, info);
        Ok::<_, Failure>(())
    })?;
    line!(t, "upcalls without an event:", world.upcalls(FIRST) - before);
    ipi.send()?;
    line!(t, "handled through the new block:", world.arrived(ipi.port()));
    line!(t, "registered again:", register(machine, 0, block, OFFSET));
    line!(t, "and elsewhere:", register(machine, 0, block, 2 * OFFSET));

    // SAFETY: nothing is kept in the page, and the shared page is not used through the old one from
    // here on.
    let moved = unsafe {
        Xen::new(machine.xen()).memory().add_to_physmap(
            xen_hal::memory::MapSpace::SharedInfo,
            0,
            at,
        )
    };
    line!(t, "the shared page moved:", moved.map_err(errno));
    let back = add(machine, Domid::SELF, MapSpace::SHARED_INFO, 0, frame(machine, AT_FIRST)?.0);
    line!(t, "and back:", back);
    let shared = world.shared().required("the shared page is mapped")?;
    line!(t, "masks are as they were:", !TwoLevel::new(shared).is_masked(ipi.port()));
    ipi.send()?;
    line!(t, "handled:", world.arrived(ipi.port()));
    Ok(())
}
