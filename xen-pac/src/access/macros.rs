//! What generated code calls to reach a field of a block: the `unsafe` of projecting a pointer,
//! with its reason, in one place.
//!
//! Only expressions of a [`Block`](super::block::Block) may be handed in: it is the block's
//! invariant that makes these macros sound.

#![allow(
    unused_macros,
    unused_imports,
    reason = "which of them are needed is the description's choice"
)]

/// The place of a field, which may lie in nested raw structs: `location!(self.ptr, arch.cr2)`.
macro_rules! location {
    ($block:expr, $($field:ident).+) => {{
        let block = $block.as_ptr().as_ptr();
        // SAFETY: a block points at a whole raw struct, so the field lies within the same memory.
        // `&raw` makes a pointer and never a reference.
        let place = unsafe { &raw mut (*block).$($field).+ };
        // SAFETY: what the block's creator promised of the whole holds for a part.
        unsafe { $crate::access::Location::new(place) }
    }};
}

/// The register of a field: `field!(self.ptr, Bits, evtchn_pending_sel)`.
macro_rules! field {
    ($block:expr, $register:ident, $field:ident) => {
        $crate::access::$register::new($crate::access::location!($block, $field))
    };
}

/// The register of an array's element, `None` beyond its end:
/// `element!(self.ptr, Bits, evtchn_pending, index)`.
macro_rules! element {
    ($block:expr, $register:ident, $field:ident, $index:expr) => {
        $crate::access::location!($block, $field)
            .as_run()
            .get($index)
            .map($crate::access::$register::new)
    };
}

/// The handle of a block within this one: `nested!(self.ptr, VcpuTimeInfo, time)`.
macro_rules! nested {
    ($block:expr, $handle:path, $field:ident) => {{
        use $handle as Handle;
        let inner = $crate::access::location!($block, $field).as_ptr();
        // SAFETY: what the outer block's creator promised of the whole holds for a part, and for
        // the same lifetime, which the function's type fixes.
        unsafe { Handle::from_ptr(inner) }
    }};
}

/// The handle of a block in an array of them, `None` beyond its end:
/// `nested_element!(self.ptr, VcpuInfo, vcpu_info, index)`.
macro_rules! nested_element {
    ($block:expr, $handle:path, $field:ident, $index:expr) => {{
        use $handle as Handle;
        $crate::access::location!($block, $field).as_run().get($index).map(|inner| {
            // SAFETY: what the outer block's creator promised of the whole holds for a part, and
            // for the same lifetime, which the function's type fixes.
            unsafe { Handle::from_ptr(inner.as_ptr()) }
        })
    }};
}

/// A consistent reading of fields under a counter, and of what a closure reads in the same window:
/// `versioned!(self.ptr, version, read, Snapshot { system_time: system_time, cr2: arch.cr2 })`.
macro_rules! versioned {
    ($block:expr, $($counter:ident).+, $read:ident, $snapshot:ident { $($(#[$attribute:meta])* $member:ident : $($field:ident).+),* $(,)? }) => {
        $crate::access::consistent($crate::access::location!($block, $($counter).+), || {
            (
                $snapshot { $($(#[$attribute])* $member: $crate::access::Load::load($crate::access::location!($block, $($field).+)),)* },
                $read(),
            )
        })
    };
}

/// The other side's half of [`versioned!`]: writes the fields of a snapshot under the counter.
#[cfg(feature = "simulated")]
macro_rules! publish {
    ($block:expr, $($counter:ident).+, $value:expr, $snapshot:ident { $($(#[$attribute:meta])* $member:ident : $($field:ident).+),* $(,)? }) => {{
        let value: &$snapshot = $value;
        $crate::access::update($crate::access::location!($block, $($counter).+), || {
            $($(#[$attribute])* { $crate::access::Store::store($crate::access::location!($block, $($field).+), value.$member); })*
        })
    }};
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
pub(crate) use publish;
pub(crate) use {element, field, location, nested, nested_element, union_member, versioned};
