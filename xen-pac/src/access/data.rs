//! Types that can be passed to a hypercall, and compile-time assertions of their layout.

use core::fmt;
use core::ptr;

/// A type that the hypervisor may read and overwrite byte by byte.
///
/// Generated argument structs, raw structs, enumerations and unions are `Data`, and so are
/// integers, arrays and [`Handle`]s.
///
/// zerocopy's `FromBytes + IntoBytes` cannot replace this trait: they exclude raw pointers, need a
/// compiler flag for unions, and have no counterpart of `REACHES_BEYOND`.
///
/// # Safety
/// Every pattern of `size_of::<Self>()` initialised bytes must be a value of the type, and no byte
/// of it may be padding. `REACHES_BEYOND` must be true if any part of it makes the hypervisor read
/// or write elsewhere.
pub unsafe trait Data: Copy {
    /// True if a hypercall with such an argument accesses memory beyond it, because it holds a
    /// [`Handle`] or ends in an array of unspecified length.
    const REACHES_BEYOND: bool;

    /// The value whose bytes are all zero.
    // SAFETY: every pattern of bytes is a value, so zeroes are.
    const ZEROED: Self = unsafe { core::mem::zeroed() };
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        // SAFETY: an integer has no padding, and all its patterns are values.
        unsafe impl Data for $integer {
            const REACHES_BEYOND: bool = false;
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

// SAFETY: there are no bytes.
unsafe impl Data for () {
    const REACHES_BEYOND: bool = false;
}
// SAFETY: an array has no padding between its elements, and each element is data. Length 0 stands
// for an array without a fixed length.
unsafe impl<T: Data, const N: usize> Data for [T; N] {
    const REACHES_BEYOND: bool = N == 0 || T::REACHES_BEYOND;
}
// SAFETY: a handle is one raw pointer, which may hold any address, and nothing of `T` is accessed.
unsafe impl<T> Data for Handle<T> {
    const REACHES_BEYOND: bool = true;
}

/// A pointer to guest memory inside a hypercall argument. C's headers call it a guest handle.
///
/// Creating one is safe. The call that passes it is unsafe, because Xen then reads or writes what
/// it points to.
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
    /// The null pointer. For many calls, it means that no result is requested.
    pub const NULL: Self = Self(ptr::null_mut());

    /// Creates a handle from a pointer.
    #[inline]
    #[must_use]
    pub const fn from_ptr(ptr: *mut T) -> Self {
        Self(ptr)
    }

    /// Creates a handle from a pointer to memory that the hypervisor only reads.
    #[inline]
    #[must_use]
    pub const fn from_const(ptr: *const T) -> Self {
        Self(ptr.cast_mut())
    }

    /// Returns the pointer.
    #[inline]
    #[must_use]
    pub const fn as_ptr(self) -> *mut T {
        self.0
    }

    /// True if the pointer is null.
    #[inline]
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

/// A field of a type that claims to be [`Data`]: the field's type is data itself.
pub(crate) struct Part {
    size: usize,
    reaches_beyond: bool,
}

impl Part {
    pub(crate) const fn of<T: Data>() -> Self {
        Self { size: size_of::<T>(), reaches_beyond: T::REACHES_BEYOND }
    }
}

/// Asserts at compile time that the parts leave no padding: together they fill a type of `size`
/// bytes, or, of a union, the largest one does. Returns whether one of them reaches beyond itself.
pub(crate) const fn reaches_beyond(parts: &[Part], union: bool, size: usize, name: &str) -> bool {
    let (mut at, mut filled, mut beyond) = (0, 0, false);
    while at < parts.len() {
        let Part { size, reaches_beyond } = parts[at];
        filled = if !union {
            filled + size
        } else if size > filled {
            size
        } else {
            filled
        };
        beyond |= reaches_beyond;
        at += 1;
    }
    assert!(filled == size, "{}", name);
    beyond
}

/// Implements [`Data`] for a struct, a newtype or a union of which all fields are listed with their
/// types. Every build, on every target, proves that each type is data and that there is no padding.
///
/// The crate's own tests prove that the listed types are those of the fields. A proof in every
/// build would need a function body for each type, and a tenth of the build's time.
macro_rules! data {
    ($name:ident { $($(#[$attribute:meta])* $field:ident : $type:ty),* $(,)? }) => {
        #[cfg(test)]
        const _: () = {
            #[allow(dead_code)]
            const fn all_fields_are_listed(value: $name) {
                let $name { $($(#[$attribute])* $field,)* } = value;
                $($(#[$attribute])* { let _: $type = $field; })*
            }
        };
        $crate::access::data!(@ $name, false, [$($(#[$attribute])* $type),*]);
    };
    ($name:ident($type:ty)) => {
        #[cfg(test)]
        const _: () = {
            #[allow(dead_code)]
            const fn all_fields_are_listed(value: $name) {
                let $name(_content) = value;
                let _: $type = _content;
            }
        };
        $crate::access::data!(@ $name, false, [$type]);
    };
    (union $name:ident { $($(#[$attribute:meta])* $member:ident : $type:ty),* $(,)? }) => {
        #[cfg(test)]
        const _: () = {
            #[allow(dead_code, clippy::too_many_arguments)]
            const fn all_members_are_there($($(#[$attribute])* $member: $type),*) {
                $($(#[$attribute])* { let _ = $name { $member }; })*
            }
        };
        $crate::access::data!(@ $name, true, [$($(#[$attribute])* $type),*]);
    };
    (@ $name:ident, $union:literal, [$($(#[$attribute:meta])* $type:ty),*]) => {
        // SAFETY: the constant shows that the type consists of data and has no padding.
        unsafe impl $crate::access::Data for $name {
            const REACHES_BEYOND: bool = $crate::access::reaches_beyond(
                &[$($(#[$attribute])* $crate::access::Part::of::<$type>()),*],
                $union,
                size_of::<$name>(),
                concat!("`", stringify!($name), "` has padding that is not a field"),
            );
        }
        // An associated constant is evaluated where it is used.
        const _: bool = <$name as $crate::access::Data>::REACHES_BEYOND;
    };
}

/// Makes a raw struct [`Data`], with a `ZEROED` that needs no trait in scope.
macro_rules! raw {
    ($name:ident $fields:tt) => {
        $crate::access::data!($name $fields);
        impl $name {
            /// All bytes zero.
            pub const ZEROED: Self = <Self as $crate::access::Data>::ZEROED;
        }
    };
}

/// Makes an argument [`Data`]. `Default` is all zeroes. A union's `Debug` shows every member, since
/// the union does not say which one is meant.
macro_rules! argument {
    (union $name:ident { $($(#[$attribute:meta])* $member:ident : $type:ty),* $(,)? }) => {
        $crate::access::data!(union $name { $($(#[$attribute])* $member : $type),* });
        $crate::access::argument!(@default $name);
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let mut out = out.debug_struct(stringify!($name));
                $($(#[$attribute])* {
                    out.field(stringify!($member), &$crate::access::union_member!(self, $member));
                })*
                out.finish()
            }
        }
    };
    ($name:ident $fields:tt) => {
        $crate::access::data!($name $fields);
        $crate::access::argument!(@default $name);
    };
    (@default $name:ident) => {
        impl $name {
            /// All bytes zero.
            pub const ZEROED: Self = <Self as $crate::access::Data>::ZEROED;
        }
        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self::ZEROED
            }
        }
    };
}

/// Makes an enumeration [`Data`] and shows a value by its name, or else by its number.
macro_rules! named {
    ($name:ident($type:ty)) => {
        $crate::access::data!($name($type));
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $crate::access::write_debug(out, stringify!($name), self.name(), &self.0)
            }
        }
        impl ::core::fmt::Display for $name {
            fn fmt(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $crate::access::write_name(out, self.name(), &self.0)
            }
        }
    };
}

/// Writes a newtype as code would: by its value's name, or else by its number.
pub(crate) fn write_debug(
    out: &mut fmt::Formatter<'_>,
    newtype: &str,
    name: Option<&str>,
    number: &dyn fmt::Display,
) -> fmt::Result {
    match name {
        Some(name) => write!(out, "{newtype}::{name}"),
        None => write!(out, "{newtype}({number})"),
    }
}

/// Writes a value's name, or else its number.
pub(crate) fn write_name(
    out: &mut fmt::Formatter<'_>,
    name: Option<&str>,
    number: &dyn fmt::Display,
) -> fmt::Result {
    match name {
        Some(name) => out.pad(name),
        None => number.fmt(out),
    }
}

/// Proves a layout on the target; it does not compile if a field has moved:
/// `layout!(SchedPoll, "sched_poll": 16 { ports: 0, nr_ports: 4, timeout: 8 })`.
macro_rules! layout {
    ($type:path, $label:literal: $size:literal { $($field:ident: $offset:literal),* $(,)? }) => {
        const _: () = {
            $crate::access::hold(
                size_of::<$type>() == $size,
                concat!("`", $label, "` should have ", $size, " bytes"),
            );
            $($crate::access::hold(
                ::core::mem::offset_of!($type, $field) == $offset,
                concat!("`", $label, ".", stringify!($field), "` should be at byte ", $offset),
            );)*
        };
    };
}

/// Proves a layout on any host: a twin of an architecture's struct, which rustc lays out by that
/// architecture's rules, and its test. `packed` is the greatest alignment on the architecture:
/// `twin!(packed 4, struct SchedPoll: 16 { ports: u32 = 0, timeout: u64 = 8 })`.
#[cfg(test)]
macro_rules! twin {
    (packed $most:literal, $($twin:tt)*) => {
        $crate::access::twin!(@ #[repr(C, packed($most))] $($twin)*);
    };
    (natural, $($twin:tt)*) => {
        $crate::access::twin!(@ #[repr(C)] $($twin)*);
    };
    (
        @ #[$repr:meta] struct $name:ident: $size:literal
        { $($field:ident: $type:ty = $offset:literal),* $(,)? }
    ) => {
        #[$repr]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }
        $crate::access::twin!(@test $name: $size { $($field = $offset),* });
    };
    (
        @ #[$repr:meta] union $name:ident: $size:literal
        { $($field:ident: $type:ty = $offset:literal),* $(,)? }
    ) => {
        #[$repr]
        pub(crate) union $name { $(pub(crate) $field: ::core::mem::ManuallyDrop<$type>),* }
        $crate::access::twin!(@test $name: $size { $($field = $offset),* });
    };
    (@test $name:ident: $size:literal { $($field:ident = $offset:literal),* }) => {
        #[test]
        #[allow(non_snake_case, reason = "the test has the name of the struct")]
        fn $name() {
            assert_eq!(size_of::<$name>(), $size);
            $(assert_eq!(::core::mem::offset_of!($name, $field), $offset, stringify!($field));)*
        }
    };
}

/// Asserts at compile time. A call compiles faster than `assert!` does, and there are very many.
pub(crate) const fn hold(holds: bool, otherwise: &str) {
    assert!(holds, "{}", otherwise);
}

#[cfg(test)]
pub(crate) use twin;
pub(crate) use {argument, data, layout, named, raw};
