//! Implements block handles: the pointer, the projection to fields, and the version protocol.
//!
//! The macros contain the `unsafe` code that projects a pointer. They are sound because they accept
//! only expressions of type [`Block`].

use core::fmt;
use core::hint;
use core::ptr::NonNull;

use super::atomic::{Ordering, fence};
use super::location::Location;

/// The content of a generated handle: a pointer to its raw struct, and its lifetime.
///
/// Only a handle's `from_ptr` creates one. It is an `unsafe fn`, whose caller guarantees the
/// invariant of [`Location`].
pub(crate) struct Block<'a, L>(Location<'a, L>);

impl<L> Clone for Block<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Block<'_, L> {}

impl<L> fmt::Debug for Block<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<L> Block<'_, L> {
    /// Only a handle's `from_ptr` may call this. The caller of `from_ptr` guarantees that the
    /// memory is mapped, aligned, and accessed only by handles and the other side.
    #[inline(always)]
    pub(crate) const fn new(ptr: NonNull<L>) -> Self {
        // SAFETY: this is called from `from_ptr` alone, whose contract is the invariant.
        Self(unsafe { Location::new(ptr.as_ptr()) })
    }

    #[inline(always)]
    pub(crate) const fn as_ptr(self) -> NonNull<L> {
        self.0.as_ptr()
    }
}

/// Returns the location of a field, which can be in nested raw structs: `location!(self.ptr,
/// arch.cr2)`.
macro_rules! location {
    ($block:expr, $($field:ident).+) => {{
        let block = $block.as_ptr().as_ptr();
        // SAFETY: a block points at a whole raw struct, so the field lies within the same memory.
        // `&raw` makes a pointer and never a reference.
        let place = unsafe { &raw mut (*block).$($field).+ };
        // SAFETY: the invariant of the block holds for each of its parts.
        unsafe { $crate::access::Location::new(place) }
    }};
}

/// Returns the register of a field: `field!(self.ptr, Bits, evtchn_pending_sel)`.
macro_rules! field {
    ($block:expr, $register:ident, $field:ident) => {
        $crate::access::$register::new($crate::access::location!($block, $field))
    };
}

/// Returns the register of an array's element; `None` beyond its end: `element!(self.ptr, Bits,
/// evtchn_pending, index)`.
macro_rules! element {
    ($block:expr, $register:ident, $field:ident, $index:expr) => {
        $crate::access::location!($block, $field)
            .as_run()
            .get($index)
            .map($crate::access::$register::new)
    };
}

/// Returns the handle of a block within this one: `nested!(self.ptr, VcpuTimeInfo, time)`.
macro_rules! nested {
    ($block:expr, $handle:path, $field:ident) => {{
        use $handle as Handle;
        let inner = $crate::access::location!($block, $field).as_ptr();
        // SAFETY: the contract of the outer `from_ptr` holds for each part of the block, and for
        // the same lifetime, which the function's type fixes.
        unsafe { Handle::from_ptr(inner) }
    }};
}

/// Returns the handle of a block in an array; `None` beyond its end: `nested_element!(self.ptr,
/// VcpuInfo, vcpu_info, index)`.
macro_rules! nested_element {
    ($block:expr, $handle:path, $field:ident, $index:expr) => {{
        use $handle as Handle;
        $crate::access::location!($block, $field).as_run().get($index).map(|inner| {
            // SAFETY: the contract of the outer `from_ptr` holds for each part of the block, and
            // for the same lifetime, which the function's type fixes.
            unsafe { Handle::from_ptr(inner.as_ptr()) }
        })
    }};
}

/// Reads a field, an array element by element: `load!(self.ptr, arch.cr2)`.
macro_rules! load {
    ($block:expr, $($field:ident).+) => {
        $crate::access::Load::load($crate::access::location!($block, $($field).+))
    };
}

/// Writes a field as the other side does: `store!(self.ptr, arch.cr2, value.cr2)`.
#[cfg(feature = "simulated")]
macro_rules! store {
    ($block:expr, $($field:ident).+, $value:expr) => {
        $crate::access::Store::store($crate::access::location!($block, $($field).+), $value)
    };
}

/// Reads one member of a union: `union_member!(self, interdomain)`.
macro_rules! union_member {
    ($union:expr, $member:ident) => {{
        // SAFETY: the union is `Data`, which its `data!` proves: all its bytes are initialised, and
        // any bytes are a value of each member.
        unsafe { $union.$member }
    }};
}

#[cfg(feature = "simulated")]
pub(crate) use store;
pub(crate) use {element, field, load, location, nested, nested_element, union_member};

/// Runs `read` until no update of the block overlaps it, and returns its last result.
///
/// The counter is odd while the other side updates the block; this waits until it is even. The
/// first load of the counter is an acquire, so `read` follows it. The fence orders `read` before
/// the second load.
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

/// Writes as the other side: makes the counter odd, writes, and makes it even again. Only one
/// writer at a time may call this.
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
