//! Register handles for memory that the other side changes, errors, and the types of hypercall
//! arguments.
//!
//! | a field's `access` | handle | operations |
//! |---|---|---|
//! | `bits` | [`Bits`] | atomic read-modify-writes; no plain write |
//! | `plain`, written by Xen | [`ReadOnly`] | volatile reads |
//! | `plain`, written by the guest | [`ReadWrite`] | relaxed atomic reads and writes |
//! | `index` | [`OwnIndex`], [`PeerIndex`] | release store of the guest's index, acquire load of the peer's |
//! | `buffer` | [`Buffer`] | bytes copied in or out |
//! | `versioned`, `counter` | none: a `snapshot` of the block | consistent reads |
//!
//! A handle is `Copy` and as small as a pointer. The caller of `from_ptr` guarantees that the
//! memory stays mapped for the handle's lifetime.
//!
//! # Soundness
//! No reference to shared memory exists, except to an atomic for the length of one operation: a
//! reference would let the compiler assume that the memory does not change. Every access has the
//! width of its field, so atomics of different widths never overlap. Values that the other side
//! wrote are read as integers: enumerations are newtypes that keep unknown values.
//!
//! Memory that the guest writes is accessed with relaxed atomics, so the guest's threads may race.
//! Memory that only the other side writes is read with volatile accesses, because the other side is
//! not a thread of this program. Under Miri, with `--cfg orderings`, and with the feature
//! `simulated`, it is a thread, and these reads are relaxed atomics as well.
//!
//! All unsafe code of the crate is in the files `word`, `location`, `block`, `data` and `atomic` of
//! this folder, and in `command`.
//!
//! Atomics are `core`'s, through the name `atomic` of this module. With `--cfg orderings`, they are
//! those of the file `atomic`, for the checker `xen-hal/orderings`.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the description decides which handles, helpers and macros are used"
)]

#[cfg(orderings)]
pub mod atomic;
mod block;
mod data;
mod error;
mod location;
mod register;
mod ring;
mod word;

#[cfg(not(orderings))]
use core::sync::atomic;

pub use self::data::{Data, Handle};
pub use self::error::{DecodeError, FieldError, OutOfBounds, RingError};
#[cfg(feature = "simulated")]
pub use self::location::before_each;
pub use self::location::{IS_SIMULATED, before};
pub use self::register::{Bits, ReadOnly, ReadWrite};
pub use self::ring::{Buffer, EventRing, OwnIndex, PeerIndex, RingIndex};
pub use self::word::{AtomicWord, Word};

// For generated code.
#[cfg(test)]
pub(crate) use self::data::twin;
#[cfg(feature = "simulated")]
pub(crate) use self::{block::store, block::update, location::Store};
pub(crate) use self::{
    block::{
        Block, consistent, element, field, load, location, nested, nested_element, union_member,
    },
    data::{
        Part, argument, data, hold, layout, named, raw, reaches_beyond, write_debug, write_name,
    },
    error::in_range,
    location::{Load, Location},
};
