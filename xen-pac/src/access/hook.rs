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

/// Calls the hook: for crates that access shared memory in another way than by registers.
#[inline(always)]
pub fn before() {
    if let Some(hook) = BEFORE.get() {
        hook();
    }
}
