//! The function that a simulator has called before each access.

use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use crate::shared_info::{SharedInfo, raw};

std::thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn each_access_calls_it() {
    let hook: fn() = || CALLS.set(CALLS.get() + 1);
    assert!(crate::access::before_each(hook) && crate::access::before_each(hook));
    assert!(!crate::access::before_each(|| panic!("the first hook stays")));
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
