//! What a simulator wants called before each access to shared memory.

use std::sync::OnceLock;

static BEFORE: OnceLock<fn()> = OnceLock::new();

/// Has `hook` called before each access to shared memory that a register makes, on whatever thread makes it. There is one hook for the process, and the first one stays: a
/// simulator that is used again gives the same.
///
/// A simulator can run the other side there, in the middle of a program that has no idea. Accesses that the hook itself makes call it again.
pub fn before_each(hook: fn()) {
    BEFORE.get_or_init(|| hook);
}

#[inline(always)]
pub(crate) fn before() {
    if let Some(hook) = BEFORE.get() {
        hook();
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::ptr::NonNull;
    use core::sync::atomic::Ordering;

    use crate::shared_info::{SharedInfo, raw};

    std::thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }

    #[test]
    fn each_access_calls_it() {
        super::before_each(|| CALLS.set(CALLS.get() + 1));
        let page = std::boxed::Box::leak(std::boxed::Box::new(raw::SharedInfo::ZEROED));
        // SAFETY: the page is leaked, and used by this handle alone.
        let shared = unsafe { SharedInfo::from_ptr(NonNull::from(page)) };
        let vcpu = shared.vcpu_info(0).unwrap();
        let during = |work: &dyn Fn()| {
            let before = CALLS.get();
            work();
            CALLS.get() - before
        };
        assert_eq!(during(&|| _ = vcpu.evtchn_upcall_pending().swap(0, Ordering::AcqRel)), 1);
        // The counter, five fields, and the counter again.
        assert_eq!(during(&|| _ = vcpu.time().snapshot()), 7);
    }
}
