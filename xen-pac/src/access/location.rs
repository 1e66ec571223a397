//! Accesses memory that the other side changes.
//!
//! Every pointer to shared memory is dereferenced here or in [`word`](super::word); the register
//! handles are safe code over a [`Location`].

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::word::{AtomicWord, Word};

#[cfg(feature = "simulated")]
static BEFORE: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();

/// Installs `hook`, which is then called before each access of a register to shared memory, on the
/// accessing thread. Returns whether `hook` is the installed one.
///
/// A process has one hook, which cannot be replaced: installing the same hook again returns true,
/// and a different one returns false. A simulator can run the other side in the hook. Accesses
/// inside the hook call it again.
#[cfg(feature = "simulated")]
#[must_use]
pub fn before_each(hook: fn()) -> bool {
    core::ptr::fn_addr_eq(*BEFORE.get_or_init(|| hook), hook)
}

/// Calls the hook of `before_each`, for crates that access shared memory without registers. Without
/// the feature `simulated`, does nothing.
#[inline(always)]
pub fn before() {
    #[cfg(feature = "simulated")]
    if let Some(hook) = BEFORE.get() {
        hook();
    }
}

/// True if the other side is a thread of this process. Then shared memory must be accessed by
/// atomics only, with [`before`] before each access.
pub const IS_SIMULATED: bool = cfg!(any(miri, orderings, feature = "simulated"));

/// A `T` in memory that the other side may change at any moment.
///
/// Invariant: for all of `'a`, the pointer is aligned and valid for reads and writes of a `T`, and
/// the memory is accessed only as `from_ptr` of the block allows.
pub(crate) struct Location<'a, T> {
    place: NonNull<T>,
    memory: PhantomData<&'a ()>,
}

// SAFETY: every write through a location is atomic, and so is every read of what the guest writes.
// Any thread may make them. Volatile reads are of memory that no thread writes. A location owns
// nothing, and no `T` is moved or dropped.
unsafe impl<T> Send for Location<'_, T> {}
// SAFETY: a location is `Copy` and has no state, so sharing one is the same as sending a copy.
unsafe impl<T> Sync for Location<'_, T> {}

impl<T> Clone for Location<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Location<'_, T> {}

impl<T> fmt::Debug for Location<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl<T> Location<'_, T> {
    /// # Safety
    /// The invariant of [`Location`] must hold for `place` during `'a`.
    #[inline(always)]
    pub(crate) const unsafe fn new(place: *mut T) -> Self {
        // SAFETY: a pointer that is valid for reads and writes of a `T` is not null: shared memory
        // is never empty.
        let place = unsafe { NonNull::new_unchecked(place) };
        Self { place, memory: PhantomData }
    }

    #[inline(always)]
    pub(crate) const fn as_ptr(self) -> NonNull<T> {
        self.place
    }
}

impl<T: Word> Location<'_, T> {
    /// Reads, once, a word that no thread of this program writes. The read is volatile, or relaxed
    /// if the other side is a thread of this process.
    ///
    /// A relaxed read would also be correct. But LLVM does not fold the extension of a narrow one
    /// into the load, which costs an instruction.
    #[inline(always)]
    pub(crate) fn read(self) -> T {
        before();
        // SAFETY: the invariant of `Location`.
        #[cfg(any(miri, orderings, feature = "simulated"))]
        let value = unsafe { T::read_relaxed(self.place.as_ptr()) };
        // SAFETY: the invariant of `Location`; only the other side writes the word.
        #[cfg(not(any(miri, orderings, feature = "simulated")))]
        let value = unsafe { T::read_volatile(self.place.as_ptr()) };
        value
    }

    /// Reads a word that the guest writes: any thread may write it at the same time.
    #[inline(always)]
    pub(crate) fn read_back(self) -> T {
        before();
        // SAFETY: the invariant of `Location`; all writes of the word are atomics of its width.
        unsafe { T::read_relaxed(self.place.as_ptr()) }
    }

    /// Writes a word that the other side reads.
    #[inline(always)]
    pub(crate) fn write(self, value: T) {
        before();
        // SAFETY: the invariant of `Location`; all simultaneous accesses are atomics of its width.
        unsafe { T::write_relaxed(self.place.as_ptr(), value) };
    }
}

impl<'a, T: AtomicWord> Location<'a, T> {
    /// Returns the memory as an atomic of exactly its width.
    #[inline(always)]
    pub(crate) fn atomic(self) -> &'a T::Cell {
        before();
        // SAFETY: the invariant of `Location`; the register that holds the location makes no access
        // of another width.
        unsafe { T::cell(self.place.as_ptr()) }
    }
}

/// A value that a snapshot reads from shared memory: an integer, or an array element by element.
pub(crate) trait Load<T> {
    fn load(self) -> T;
}

/// The counterpart of [`Load`].
#[cfg(feature = "simulated")]
pub(crate) trait Store<T> {
    fn store(self, value: T);
}

impl<T: Word> Load<T> for Location<'_, T> {
    #[inline(always)]
    fn load(self) -> T {
        self.read()
    }
}

impl<T: Word, const N: usize> Load<[T; N]> for Location<'_, [T; N]> {
    #[inline]
    fn load(self) -> [T; N] {
        let mut values = [T::default(); N];
        self.elements().zip(&mut values).for_each(|(element, value)| *value = element.read());
        values
    }
}

#[cfg(feature = "simulated")]
impl<T: Word> Store<T> for Location<'_, T> {
    #[inline(always)]
    fn store(self, value: T) {
        self.write(value);
    }
}

#[cfg(feature = "simulated")]
impl<T: Word, const N: usize> Store<[T; N]> for Location<'_, [T; N]> {
    #[inline]
    fn store(self, values: [T; N]) {
        self.elements().zip(values).for_each(|(element, value)| element.write(value));
    }
}

impl<'a, T, const N: usize> Location<'a, [T; N]> {
    /// Returns the array with its length as a value instead of a part of the type.
    #[inline(always)]
    pub(crate) const fn as_run(self) -> Run<'a, T> {
        Run { first: Location { place: self.place.cast(), memory: PhantomData }, len: N }
    }

    #[inline]
    fn elements(self) -> impl Iterator<Item = Location<'a, T>> {
        (0..N).filter_map(move |index| self.as_run().get(index))
    }
}

/// Neighbouring places of one type.
///
/// Invariant: from `first` on, `len` places satisfy the invariant of [`Location`] and belong to one
/// allocation.
pub(crate) struct Run<'a, T> {
    first: Location<'a, T>,
    len: usize,
}

impl<T> Clone for Run<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Run<'_, T> {}

impl<'a, T> Run<'a, T> {
    #[inline(always)]
    pub(crate) const fn len(self) -> usize {
        self.len
    }

    /// Returns the place at `index`; `None` at the end or beyond.
    #[inline(always)]
    pub(crate) fn get(self, index: usize) -> Option<Location<'a, T>> {
        if index >= self.len {
            return None;
        }
        // SAFETY: the index is within the run, so the offset stays within its allocation.
        let place = unsafe { self.first.place.add(index) };
        Some(Location { place, memory: PhantomData })
    }
}
