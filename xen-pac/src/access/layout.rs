//! What generated code calls to prove a layout: the size of a type, and where each of its fields
//! lies.

#![allow(
    unused_macros,
    unused_imports,
    reason = "which of them are needed is the description's choice"
)]

/// The proof on the target; it does not compile if a field has moved:
/// `layout!(SchedPoll, "sched_poll": 16 { ports: 0, nr_ports: 4, timeout: 8 })`.
macro_rules! layout {
    ($type:path, $label:literal: $size:literal { $($field:ident: $offset:literal),* }) => {
        const _: () = {
            $crate::access::hold(size_of::<$type>() == $size, concat!("`", $label, "` should have ", $size, " bytes"));
            $($crate::access::hold(
                core::mem::offset_of!($type, $field) == $offset,
                concat!("`", $label, ".", stringify!($field), "` should be at byte ", $offset),
            );)*
        };
    };
}

/// The proof on any host: a twin of an architecture's struct, which rustc lays out by that
/// architecture's rules, and a test of it. `packed` is the greatest alignment there is:
/// `twin!(packed 4, struct SchedPoll, sched_poll: 16 { ports: u32 = 0, nr_ports: u32 = 4, timeout: u64 = 8 })`.
#[cfg(test)]
macro_rules! twin {
    (packed $most:literal, $($twin:tt)*) => {
        $crate::access::twin!(@ #[repr(C, packed($most))] $($twin)*);
    };
    (natural, $($twin:tt)*) => {
        $crate::access::twin!(@ #[repr(C)] $($twin)*);
    };
    (@ #[$repr:meta] struct $name:ident, $test:ident: $size:literal { $($field:ident: $type:ty = $offset:literal),* }) => {
        #[$repr]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }
        $crate::access::twin!(@test $name, $test: $size { $($field = $offset),* });
    };
    (@ #[$repr:meta] union $name:ident, $test:ident: $size:literal { $($field:ident: $type:ty = $offset:literal),* }) => {
        #[$repr]
        pub(crate) union $name { $(pub(crate) $field: core::mem::ManuallyDrop<$type>),* }
        $crate::access::twin!(@test $name, $test: $size { $($field = $offset),* });
    };
    (@test $name:ident, $test:ident: $size:literal { $($field:ident = $offset:literal),* }) => {
        #[test]
        fn $test() {
            assert_eq!(size_of::<$name>(), $size, stringify!($test));
            $(assert_eq!(core::mem::offset_of!($name, $field), $offset, concat!(stringify!($test), ".", stringify!($field)));)*
        }
    };
}

/// Asserts at compile time. A call is cheaper to compile than `assert!` is, and there are very
/// many.
pub(crate) const fn hold(holds: bool, otherwise: &str) {
    assert!(holds, "{}", otherwise);
}

pub(crate) use layout;
#[cfg(test)]
pub(crate) use twin;
