//! How memory that the other side changes is touched: register handles, errors, and what hypercall
//! arguments are made of.
//!
//! | a field's `access` | handle | what it offers |
//! |---|---|---|
//! | `bits` | [`Bits`] | atomic read-modify-writes, and no plain write |
//! | `plain`, written by Xen | [`ReadOnly`] | volatile reads |
//! | `plain`, written by us | [`ReadWrite`] | volatile reads and writes |
//! | `index` | [`OwnIndex`], [`PeerIndex`] | release store of ours, acquire load of theirs |
//! | `buffer` | [`Buffer`] | bytes copied in or out |
//! | `versioned`, `counter` | none: a `snapshot` of the block | a reading that no update tore |
//!
//! A handle is `Copy`, and as small as a pointer. It borrows nothing: the lifetime is that for
//! which `from_ptr`'s caller promised that the memory stays.
//!
//! # Why it is sound
//! No reference to shared memory is formed, except to an atomic for the length of one operation: a
//! reference would let the compiler assume that the memory stays as it is. Every access has the
//! width of its field, so no two atomics of different widths meet. What the other side wrote is
//! only ever an integer: enumerations are newtypes that keep unknown values.
//!
//! Plain words are volatile, because the other side is no thread of this program. Under Miri, and
//! with the feature `simulated`, it is one; then they are relaxed atomics of the same width, since
//! a volatile access that races is undefined between threads.
//!
//! All unsafe code of the crate is in this folder, in the files `word`, `location`, `block`, `data`
//! and `macros`; everything else is safe code over them.

#![allow(
    dead_code,
    reason = "which of the handles and helpers are needed is the description's choice"
)]

mod bits;
mod block;
mod buffer;
mod data;
mod error;
mod handle;
#[cfg(feature = "simulated")]
mod hook;
#[cfg(not(feature = "simulated"))]
mod hook {
    /// Does nothing: without the feature `simulated`, no hook exists.
    #[inline(always)]
    pub const fn before() {}
}
mod index;
mod layout;
mod location;
mod macros;
mod plain;
mod snapshot;
mod word;

pub use self::bits::Bits;
pub use self::buffer::Buffer;
pub use self::data::Data;
pub use self::error::{DecodeError, FieldError, OutOfBounds};
pub use self::handle::Handle;
pub use self::index::{OwnIndex, PeerIndex};
pub use self::plain::{ReadOnly, ReadWrite};
pub use self::word::{AtomicWord, Word};

// What generated code calls.
pub use self::hook::before;
#[cfg(feature = "simulated")]
pub use self::hook::before_each;
#[cfg(test)]
pub(crate) use self::layout::twin;
#[allow(unused_imports, reason = "which of them are needed is the description's choice")]
pub(crate) use self::{
    block::Block,
    data::{argument, data, named, raw, said, size_of_data, write_debug, write_name},
    error::in_range,
    layout::{hold, layout},
    location::{Load, Location},
    macros::{element, field, location, nested, nested_element, union_member, versioned},
    snapshot::consistent,
};
#[cfg(feature = "simulated")]
#[allow(unused_imports, reason = "which of them are needed is the description's choice")]
pub(crate) use self::{location::Store, macros::publish, snapshot::update};
