//! The version protocol: several fields that are only meaningful together, under a counter that is
//! odd while they change.

use core::hint;
use core::sync::atomic::{Ordering, fence};

use super::location::Location;

/// Runs `read` until no update fell into its run, and gives what the last run gave.
///
/// Reading the counter is an acquire, so nothing of `read` happens before it; the fence keeps all
/// of `read` before the second look at the counter. An odd counter means that an update is under
/// way: the run would be wasted, so it is waited for.
#[inline]
pub(crate) fn consistent<V>(counter: Location<'_, u32>, mut read: impl FnMut() -> V) -> V {
    loop {
        let before = counter.atomic().load(Ordering::Acquire);
        if before & 1 == 0 {
            let value = read();
            fence(Ordering::Acquire);
            if counter.atomic().load(Ordering::Relaxed) == before {
                return value;
            }
        }
        hint::spin_loop();
    }
}

/// The other side's half: makes the counter odd, writes, and makes it even again. One writer at a
/// time.
#[cfg(feature = "simulated")]
#[inline]
pub(crate) fn update(counter: Location<'_, u32>, write: impl FnOnce()) {
    let counter = counter.atomic();
    let under_way = counter.load(Ordering::Relaxed) | 1;
    counter.store(under_way, Ordering::Relaxed);
    fence(Ordering::Release);
    write();
    counter.store(under_way.wrapping_add(1), Ordering::Release);
}
