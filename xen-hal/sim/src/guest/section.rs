//! Implements the crate `critical-section` for simulated vCPUs, and for the process's other
//! threads.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use critical_section::{Impl, RawRestoreState, set_impl};
use xen_hal::platform::ReentrantLock;

use super::{DomainLocal, Guest};
use crate::platform::InterruptFlag;

/// The lock of each domain's critical sections.
static LOCK: DomainLocal<ReentrantLock> = DomainLocal::new(ReentrantLock::new);

/// The lock of threads on which no vCPU runs.
static OTHERS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread holds `OTHERS`.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// The state of a section that releases no lock.
const NOTHING: RawRestoreState = 0x80;
/// The state of a section that releases `OTHERS`.
const OTHER: RawRestoreState = 0x81;

struct Section;

set_impl!(Section);

// SAFETY: the sections of a domain exclude each other by the domain's lock, on all vCPUs. A vCPU
// whose program has ended unwinds, and no other vCPU of the machine runs meanwhile. Other threads
// belong to no domain, and exclude each other by `OTHERS`.
unsafe impl Impl for Section {
    unsafe fn acquire() -> RawRestoreState {
        if let Some(guest) = Guest::here() {
            if thread::panicking() {
                return NOTHING;
            }
            Guest::preemption_point();
            return LOCK.get().acquire(&InterruptFlag, &guest);
        }
        if HOLDS.replace(true) {
            return NOTHING;
        }
        while OTHERS.swap(true, Ordering::Acquire) {
            thread::yield_now();
        }
        OTHER
    }

    unsafe fn release(state: RawRestoreState) {
        match state {
            NOTHING => {}
            OTHER => {
                OTHERS.store(false, Ordering::Release);
                HOLDS.set(false);
            }
            state => {
                // SAFETY: the caller's obligations are the same.
                unsafe { LOCK.get().release(&InterruptFlag, state) };
                Guest::preemption_point();
            }
        }
    }
}
