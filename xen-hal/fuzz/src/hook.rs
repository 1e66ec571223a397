//! The other side at work in the middle of what the HAL does: something that is called before each
//! access to shared memory.

use std::cell::RefCell;
use std::rc::Rc;

use xen_pac::access::before_each;

thread_local! {
    static OTHER: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Runs `work`, with `other` called before each access that a register of `xen_pac` makes
/// meanwhile; its own are not among them.
pub(crate) fn meanwhile<T>(other: Rc<dyn Fn()>, work: impl FnOnce() -> T) -> T {
    assert!(before_each(step), "nothing else in this process wants to be called before accesses");
    OTHER.set(Some(other));
    let result = work();
    OTHER.set(None);
    result
}

/// Calls the other side.
pub(crate) fn step() {
    // Taken out for as long as it runs, so that what it does itself calls nobody.
    if let Some(other) = OTHER.take() {
        other();
        OTHER.set(Some(other));
    }
}
