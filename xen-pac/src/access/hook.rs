//! What a simulator wants called before each access to shared memory.

use core::ptr;
use std::sync::OnceLock;

static BEFORE: OnceLock<fn()> = OnceLock::new();

/// Has `hook` called before each access to shared memory that a register makes, on whatever thread
/// makes it. Says whether that is so: there is one hook for the process, and the first one stays. A
/// simulator that is used again gives the same; a second simulator beside it is told that its
/// accesses would pass unseen.
///
/// A simulator can run the other side there, in the middle of a program that has no idea. Accesses
/// that the hook itself makes call it again.
#[must_use]
pub fn before_each(hook: fn()) -> bool {
    ptr::fn_addr_eq(*BEFORE.get_or_init(|| hook), hook)
}

/// Calls the hook: for crates that access shared memory in another way than by registers.
#[inline(always)]
pub fn before() {
    if let Some(hook) = BEFORE.get() {
        hook();
    }
}
