//! Types that are nothing but their bytes: what is handed to a hypercall, and what may come back
//! from it.

use core::fmt;

use super::Handle;

/// A type that the hypervisor may read and overwrite byte by byte.
///
/// Generated argument structs, raw structs, enumerations and unions are `Data`, and so are
/// integers, arrays and [`Handle`]s.
///
/// # Safety
/// Every pattern of `size_of::<Self>()` initialised bytes must be a value of the type, and no byte
/// of it may be padding. `REACHES_BEYOND` must be true if any part of it makes the hypervisor look
/// or write elsewhere.
pub unsafe trait Data: Copy {
    /// Whether a hypercall with it touches memory beyond it: it holds a [`Handle`], or ends in an
    /// array of no fixed length.
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
// SAFETY: an array has no padding between its elements, and each element is data. One of length 0
// is how an array without a fixed length is written.
unsafe impl<T: Data, const N: usize> Data for [T; N] {
    const REACHES_BEYOND: bool = N == 0 || T::REACHES_BEYOND;
}
// SAFETY: a handle is one raw pointer, which may hold any address, and the type it points to is
// never looked at.
unsafe impl<T> Data for Handle<T> {
    const REACHES_BEYOND: bool = true;
}

/// Implements [`Data`] for a struct, a newtype or a union, and lets the compiler prove that it may:
/// all fields are listed with their types, all of them are data, and together they fill the type.
///
/// That the listed types are the fields' own is shown in the crate's tests only, since a body for
/// each type costs every build a tenth of its time; that the listed types are data and fill the
/// type is shown in every build, on every target.
macro_rules! data {
    ($name:ident { $($(#[$attribute:meta])* $field:ident : $type:ty),* $(,)? }) => {
        const _: () = {
            #[cfg(test)]
            #[allow(dead_code)]
            const fn all_fields_are_listed(value: $name) {
                let $name { $($(#[$attribute])* $field,)* } = value;
                $($(#[$attribute])* { let _: $type = $field; })*
            }
            #[allow(unused_mut)]
            let mut size = 0;
            $($(#[$attribute])* { size += $crate::access::size_of_data::<$type>(); })*
            $crate::access::hold(size == size_of::<$name>(), concat!("`", stringify!($name), "` has padding that is not a field"));
        };
        // SAFETY: the constant above shows that the type consists of data and nothing else.
        unsafe impl $crate::access::Data for $name {
            const REACHES_BEYOND: bool = {
                #[allow(unused_mut)]
                let mut beyond = false;
                $($(#[$attribute])* { beyond |= <$type as $crate::access::Data>::REACHES_BEYOND; })*
                beyond
            };
        }
    };
    ($name:ident($type:ty)) => {
        const _: () = {
            #[cfg(test)]
            #[allow(dead_code)]
            const fn all_fields_are_listed(value: $name) {
                let $name(_content) = value;
                let _: $type = _content;
            }
            $crate::access::hold($crate::access::size_of_data::<$type>() == size_of::<$name>(), concat!("`", stringify!($name), "` is larger than its number"));
        };
        // SAFETY: the constant above shows that the type consists of data and nothing else.
        unsafe impl $crate::access::Data for $name {
            const REACHES_BEYOND: bool = <$type as $crate::access::Data>::REACHES_BEYOND;
        }
    };
    (union $name:ident { $($(#[$attribute:meta])* $member:ident : $type:ty),* $(,)? }) => {
        const _: () = {
            #[cfg(test)]
            #[allow(dead_code, clippy::too_many_arguments)]
            const fn all_members_are_there($($(#[$attribute])* $member: $type),*) {
                $($(#[$attribute])* { let _ = $name { $member }; })*
            }
            let mut largest = 0;
            $($(#[$attribute])* {
                let size = $crate::access::size_of_data::<$type>();
                if size > largest {
                    largest = size;
                }
            })*
            $crate::access::hold(largest == size_of::<$name>(), concat!("no member fills the union `", stringify!($name), "`"));
        };
        // SAFETY: the constant above shows that the members are data; one of them covers all bytes,
        // so that none is padding.
        unsafe impl $crate::access::Data for $name {
            const REACHES_BEYOND: bool = {
                #[allow(unused_mut)]
                let mut beyond = false;
                $($(#[$attribute])* { beyond |= <$type as $crate::access::Data>::REACHES_BEYOND; })*
                beyond
            };
        }
    };
}

/// What every raw struct has: it is [`Data`], and its `ZEROED` needs no trait in scope.
#[allow(unused_macros, reason = "which blocks there are is the description's choice")]
macro_rules! raw {
    ($name:ident $fields:tt) => {
        $crate::access::data!($name $fields);
        impl $name {
            /// All bytes zero.
            pub const ZEROED: Self = <Self as $crate::access::Data>::ZEROED;
        }
    };
}

/// What every argument has: it is [`Data`]; `Default` is all zeroes, and a union's `Debug` shows no
/// member, since it does not know which one is meant.
#[allow(unused_macros, reason = "which arguments there are is the description's choice")]
macro_rules! argument {
    (union $name:ident $members:tt) => {
        $crate::access::data!(union $name $members);
        $crate::access::argument!(@default $name);
        impl core::fmt::Debug for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                out.debug_struct(stringify!($name)).finish_non_exhaustive()
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
        impl Default for $name {
            fn default() -> Self {
                Self::ZEROED
            }
        }
    };
}

/// The body of an argument's `new`: what is said, and zeroes otherwise.
#[allow(unused_macros, reason = "which arguments there are is the description's choice")]
macro_rules! said {
    ($($(#[$attribute:meta])* $field:ident),* $(,)?) => {{
        let mut made = Self::ZEROED;
        $($(#[$attribute])* { made.$field = $field; })*
        made
    }};
}

/// What every enumeration has that has a `name`: it is [`Data`], and shows its name, or else its
/// number.
#[allow(unused_macros, reason = "which enumerations there are is the description's choice")]
macro_rules! named {
    ($name:ident($type:ty)) => {
        $crate::access::data!($name($type));
        impl core::fmt::Debug for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::access::write_debug(out, stringify!($name), self.name(), &self.0)
            }
        }
        impl core::fmt::Display for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::access::write_name(out, self.name(), &self.0)
            }
        }
    };
}

pub(crate) use {argument, data, named, raw, said};

/// A newtype as code would write it: by its value's name, or else by its number.
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

/// A value's name, or else its number.
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

/// The size of a type that is data; the bound is what it is for.
pub(crate) const fn size_of_data<T: Data>() -> usize {
    size_of::<T>()
}
