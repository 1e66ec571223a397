//! The numbers of the hypercalls.

use crate::access;

/// The number of a hypercall.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Hypercall(pub u32);

impl Hypercall {
    /// Version, features and identity of the hypervisor.
    pub const XEN_VERSION: Self = Self(17);
}

access::data!(Hypercall(u32));
