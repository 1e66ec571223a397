//! The pointer inside a block's handle.

use core::fmt;
use core::ptr::NonNull;

use super::location::Location;

/// What the generated handle of a block holds: where its raw struct lies, and for how long.
///
/// A block is made by the `from_ptr` of its handle only, an `unsafe fn` whose caller promises what
/// a [`Location`] needs.
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
    /// To be called in a block's `from_ptr` and nowhere else: its caller has promised that the
    /// memory is there, aligned, and accessed by nobody in another way.
    #[inline(always)]
    pub(crate) const fn new(ptr: NonNull<L>) -> Self {
        // SAFETY: the promise of whoever called `from_ptr`, from which alone this is called.
        Self(unsafe { Location::new(ptr.as_ptr()) })
    }

    #[inline(always)]
    pub(crate) const fn as_ptr(self) -> NonNull<L> {
        self.0.as_ptr()
    }
}
