//! The shared page of a domain, and a handler that notes what comes.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use xen_hal::event::{Port, TwoLevel};
use xen_hal::memory::WidthLatch;
use xen_pac::base::{Domid, XenUlong};
use xen_pac::hvm::{CallbackVia, HvmParam, XenHvmParam, command};
use xen_pac::shared_info::{SharedInfo, VcpuInfo};
use xen_sim::{Guest, Profile};

use super::{OK, Table, is_arm};

/// The vector of the domain's upcalls.
pub(crate) const VECTOR: u8 = 0xf3;
/// The interrupt by which Arm tells of events.
const ARM_INTERRUPT: u8 = 31;

/// Chooses the domain's vector.
pub(crate) fn set_callback(t: &Table) {
    let via = CallbackVia::vector(VECTOR).expect("a vector for devices").encode();
    t.is(
        "callback",
        t.give(command::SetParam, &mut XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, via)),
        OK,
    );
}

/// Maps the shared page in place of a page of the domain's, and says nothing of how events are
/// announced.
pub(crate) fn map_shared(t: &Table, page: usize) -> SharedInfo<'static> {
    // SAFETY: the simulator has one layout.
    let latch = unsafe { WidthLatch::assume(t.xen()) };
    // SAFETY: the page is used for this alone, and not after the machine has run.
    unsafe { latch.map_shared_info(&t.space(), t.page(page).cast()) }
        .expect("the shared page can be mapped")
}

/// Maps the shared page in place of page 0, and has events announced by the domain's vector.
pub(crate) fn attach(t: &Table) -> SharedInfo<'static> {
    set_callback(t);
    map_shared(t, 0)
}

/// The same on any architecture, and by which interrupt events come: on Arm there is no choice.
pub(crate) fn attach_on(profile: Profile, t: &Table) -> (SharedInfo<'static>, u8) {
    if is_arm(profile) { (map_shared(t, 0), ARM_INTERRUPT) } else { (attach(t), VECTOR) }
}

pub(crate) fn bitmaps(shared: SharedInfo<'_>) -> TwoLevel<'_> {
    TwoLevel::new(shared)
}

pub(crate) fn is_pending(shared: SharedInfo<'_>, port: u32) -> bool {
    bitmaps(shared).is_pending(Port(port))
}

pub(crate) fn is_masked(shared: SharedInfo<'_>, port: u32) -> bool {
    bitmaps(shared).is_masked(Port(port))
}

pub(crate) fn block(shared: SharedInfo<'_>, vcpu: usize) -> VcpuInfo<'_> {
    shared.vcpu_info(vcpu).expect("the vCPU has its block in the shared page")
}

/// The upcall's mark and the selector of a block.
pub(crate) fn marks(info: VcpuInfo<'_>) -> (bool, XenUlong) {
    (
        info.evtchn_upcall_pending().load(Ordering::SeqCst) != 0,
        info.evtchn_pending_sel().load(Ordering::SeqCst),
    )
}

/// What the words of a selector lead to, taken as a kernel takes it: the selector first, then each
/// port before it is handled.
pub(crate) fn take(shared: SharedInfo<'_>, info: VcpuInfo<'_>) -> Vec<u32> {
    info.evtchn_upcall_pending().swap(0, Ordering::SeqCst);
    let selected = info.evtchn_pending_sel().swap(0, Ordering::SeqCst);
    let mut ports = Vec::new();
    for word in (0..XenUlong::BITS as usize).filter(|word| selected >> word & 1 == 1) {
        let (Some(pending), Some(mask)) = (shared.evtchn_pending(word), shared.evtchn_mask(word))
        else {
            continue;
        };
        let active = pending.load(Ordering::SeqCst) & !mask.load(Ordering::SeqCst);
        for bit in (0..XenUlong::BITS).filter(|bit| active >> bit & 1 == 1) {
            pending.fetch_and(!(1 << bit), Ordering::SeqCst);
            ports.push(word as u32 * XenUlong::BITS + bit);
        }
    }
    ports
}

/// What handlers noted.
#[derive(Clone, Default)]
pub(crate) struct Notes {
    upcalls: Arc<AtomicUsize>,
    ports: Arc<Mutex<Vec<u32>>>,
}

impl Notes {
    pub(crate) fn upcalls(&self) -> usize {
        self.upcalls.load(Ordering::SeqCst)
    }

    pub(crate) fn ports(&self) -> Vec<u32> {
        self.ports.lock().expect("no handler panicked").clone()
    }

    /// Has each upcall at a vector counted, and its ports taken and noted.
    pub(crate) fn note(&self, guest: Guest, vector: u8, shared: SharedInfo<'static>) {
        let notes = self.clone();
        guest.on_interrupt(vector, move || {
            notes.upcalls.fetch_add(1, Ordering::SeqCst);
            let taken = take(shared, block(shared, guest.vcpu().0 as usize));
            notes.ports.lock().expect("no handler panicked").extend(taken);
        });
    }
}

/// The bytes of a page of the domain's, to be shared by pointers that outlive the borrow of the
/// table.
pub(crate) fn byte(page: NonNull<u8>, offset: usize) -> u8 {
    let place = page.as_ptr().wrapping_add(offset);
    // SAFETY: the offset is within a page that is mapped, as the tests see to.
    unsafe { place.read_volatile() }
}

/// Writes such a byte.
pub(crate) fn set_byte(page: NonNull<u8>, offset: usize, value: u8) {
    let place = page.as_ptr().wrapping_add(offset);
    // SAFETY: as for reading, and the page is the test's own.
    unsafe { place.write_volatile(value) };
}
