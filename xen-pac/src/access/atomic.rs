//! Atomics whose accesses a checker carries out, in place of `core`'s: only with `--cfg orderings`.
//!
//! `xen-hal/orderings` is the checker. It runs this crate and xen-hal on a model of a processor
//! that reorders accesses, and weakens one ordering at a time.

use core::cell::UnsafeCell;
use core::fmt;
use core::panic::Location;
use std::sync::OnceLock;

pub use core::sync::atomic::Ordering;

/// What an access does.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Loads.
    Load,
    /// Stores this value.
    Store(u64),
    /// Stores what the function makes of the old value and the operand.
    Update(fn(u64, u64) -> u64, u64),
    /// Stores the second value if the first is there.
    Exchange(u64, u64),
    /// Orders other accesses.
    Fence,
}

/// An access of an atomic, or a fence.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The address of the atomic; 0 for a fence.
    pub place: usize,
    /// The number of its bytes.
    pub size: usize,
    /// What the access does.
    pub kind: Kind,
    /// The name of the method.
    pub name: &'static str,
    /// The ordering.
    pub order: Ordering,
    /// The ordering of an exchange that fails.
    pub failure: Ordering,
    /// Where the access is in the source.
    pub site: &'static Location<'static>,
}

static CHECKER: OnceLock<fn(Access) -> u64> = OnceLock::new();

/// Installs the function that carries out all accesses and returns the old values.
///
/// # Panics
/// If another function is installed.
pub fn set_checker(checker: fn(Access) -> u64) {
    let installed = *CHECKER.get_or_init(|| checker);
    assert!(core::ptr::fn_addr_eq(installed, checker), "expected one checker, found two");
}

fn check(access: Access) -> u64 {
    CHECKER.get().expect("expected a checker, found none: call `set_checker` first")(access)
}

/// Orders the accesses before and after it.
#[track_caller]
pub fn fence(order: Ordering) {
    let (kind, site) = (Kind::Fence, Location::caller());
    check(Access { place: 0, size: 0, kind, name: "fence", order, failure: order, site });
}

/// A value that an atomic holds.
pub trait Value: Copy + PartialOrd {
    /// Returns the value as an integer.
    fn to_bits(self) -> u64;
    /// Returns the value of an integer.
    fn from_bits(bits: u64) -> Self;
}

macro_rules! values {
    ($($word:ty, $unsigned:ty, $name:ident;)*) => {$(
        impl Value for $word {
            fn to_bits(self) -> u64 {
                self as $unsigned as u64
            }

            fn from_bits(bits: u64) -> Self {
                bits as Self
            }
        }

        /// An atomic integer.
        pub type $name = Atomic<$word>;
    )*};
}

values! {
    u8, u8, AtomicU8; u16, u16, AtomicU16; u32, u32, AtomicU32; u64, u64, AtomicU64;
    i8, u8, AtomicI8; i16, u16, AtomicI16; i32, u32, AtomicI32; i64, u64, AtomicI64;
    usize, usize, AtomicUsize; isize, usize, AtomicIsize;
}

impl Value for bool {
    fn to_bits(self) -> u64 {
        self.into()
    }

    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

impl<T> Value for *mut T {
    fn to_bits(self) -> u64 {
        self.expose_provenance() as u64
    }

    fn from_bits(bits: u64) -> Self {
        core::ptr::with_exposed_provenance_mut(bits as usize)
    }
}

/// An atomic boolean.
pub type AtomicBool = Atomic<bool>;

/// An atomic pointer.
pub type AtomicPtr<T> = Atomic<*mut T>;

/// An atomic, laid out as `core`'s is.
#[derive(Default)]
#[repr(transparent)]
pub struct Atomic<T>(UnsafeCell<T>);

// SAFETY: the checker carries out one access at a time, and an atomic gives no reference to its
// value.
unsafe impl<T> Sync for Atomic<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Atomic<T> {}

impl<T> fmt::Debug for Atomic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Atomic")
    }
}

#[expect(missing_docs, reason = "the methods of `core`'s atomics")]
impl<T: Value> Atomic<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    /// As for `core`'s atomics.
    pub unsafe fn from_ptr<'a>(place: *mut T) -> &'a Self {
        // SAFETY: the caller's contract.
        unsafe { place.cast::<Self>().as_ref() }.expect("the pointer is not null")
    }

    #[track_caller]
    fn check(&self, name: &'static str, kind: Kind, order: Ordering, failure: Ordering) -> T {
        let (place, size, site) =
            (self.0.get().expose_provenance(), size_of::<T>(), Location::caller());
        T::from_bits(check(Access { place, size, kind, name, order, failure, site }))
    }

    #[track_caller]
    pub fn load(&self, order: Ordering) -> T {
        self.check("load", Kind::Load, order, order)
    }

    #[track_caller]
    pub fn store(&self, value: T, order: Ordering) {
        self.check("store", Kind::Store(value.to_bits()), order, order);
    }

    #[track_caller]
    pub fn swap(&self, value: T, order: Ordering) -> T {
        self.check("swap", Kind::Update(|_, new| new, value.to_bits()), order, order)
    }

    #[track_caller]
    pub fn fetch_or(&self, value: T, order: Ordering) -> T {
        self.check("fetch_or", Kind::Update(|old, bits| old | bits, value.to_bits()), order, order)
    }

    #[track_caller]
    pub fn fetch_and(&self, value: T, order: Ordering) -> T {
        self.check("fetch_and", Kind::Update(|old, bits| old & bits, value.to_bits()), order, order)
    }

    #[track_caller]
    pub fn fetch_xor(&self, value: T, order: Ordering) -> T {
        self.check("fetch_xor", Kind::Update(|old, bits| old ^ bits, value.to_bits()), order, order)
    }

    #[track_caller]
    pub fn fetch_max(&self, value: T, order: Ordering) -> T {
        let larger = |old, new| if T::from_bits(old) < T::from_bits(new) { new } else { old };
        self.check("fetch_max", Kind::Update(larger, value.to_bits()), order, order)
    }

    #[track_caller]
    pub fn compare_exchange(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        let kind = Kind::Exchange(current.to_bits(), new.to_bits());
        let old = self.check("compare_exchange", kind, success, failure);
        if old == current { Ok(old) } else { Err(old) }
    }

    #[track_caller]
    pub fn compare_exchange_weak(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        self.compare_exchange(current, new, success, failure)
    }
}
