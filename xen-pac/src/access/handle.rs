//! Pointers inside the arguments of hypercalls.

use core::fmt;
use core::ptr;

/// A pointer to guest memory that is handed to the hypervisor inside an argument.
///
/// It is what C's headers call a guest handle. Making one is harmless; the call that passes it is
/// unsafe, because Xen then reads or writes what it points to.
///
/// ```
/// use xen_pac::access::Handle;
///
/// let mut frames = [0_u64; 4];
/// let handle = Handle::from_ptr(frames.as_mut_ptr());
/// assert_eq!(handle.as_ptr(), frames.as_mut_ptr());
/// assert!(Handle::<u64>::NULL.is_null());
/// ```
#[repr(transparent)]
pub struct Handle<T>(*mut T);

impl<T> Handle<T> {
    /// The handle that points nowhere; many calls take it for "no answer wanted".
    pub const NULL: Self = Self(ptr::null_mut());

    /// A handle to what `ptr` points to.
    #[must_use]
    pub const fn from_ptr(ptr: *mut T) -> Self {
        Self(ptr)
    }

    /// A handle to something that the hypervisor only reads.
    #[must_use]
    pub const fn from_const(ptr: *const T) -> Self {
        Self(ptr.cast_mut())
    }

    /// The pointer.
    #[must_use]
    pub const fn as_ptr(self) -> *mut T {
        self.0
    }

    /// Whether it points nowhere.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> Default for Handle<T> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl<T> Eq for Handle<T> {}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
