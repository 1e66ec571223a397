//! What tests pass and get: the profile of a machine, a domain's configuration, faults, failures.

mod failure;
mod faults;
mod profile;

pub use failure::{Failure, FailureKind};
pub(crate) use failure::{Place, SEED_VARIABLE, replay};
pub(crate) use faults::Faults;
pub use faults::{Fault, FaultRates};
pub use profile::{Arch, Profile, Role};

/// What a domain is created with: one vCPU and 64 pages by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainConfig {
    pub(crate) vcpus: usize,
    pub(crate) pages: usize,
    pub(crate) role: Option<Role>,
    pub(crate) maps: usize,
    pub(crate) daemon: bool,
    pub(crate) served: bool,
}

impl DomainConfig {
    /// The most vCPUs a domain can have: as many as Xen gives a PVH guest.
    pub const MAX_VCPUS: usize = 128;
    /// The most pages a domain can have.
    pub const MAX_PAGES: usize = 1024;
    /// The most grants a domain can have mapped at a time: Xen's default.
    pub const MAX_MAPS: usize = 1024 * 256;

    /// One vCPU, 64 pages, and the role that the machine's profile names.
    #[must_use]
    pub const fn new() -> Self {
        Self { vcpus: 1, pages: 64, role: None, maps: Self::MAX_MAPS, daemon: false, served: false }
    }

    /// A control domain that serves others: for [`Dom0::program`](crate::backend::Dom0::program).
    /// It ends when no other domain is left.
    #[must_use]
    pub const fn dom0() -> Self {
        Self { pages: 512, role: Some(Role::Control), daemon: true, ..Self::new() }
    }

    /// A guest that has xenstore and a console, which domain 0 serves. Without a domain 0 its rings
    /// have a peer that never answers.
    #[must_use]
    pub const fn domu() -> Self {
        Self { role: Some(Role::Guest), served: true, ..Self::new() }
    }

    /// Sets the number of vCPUs, clamped to 1..=[`MAX_VCPUS`](Self::MAX_VCPUS). Only the first one
    /// runs when the machine starts.
    #[must_use]
    pub fn vcpus(self, vcpus: usize) -> Self {
        Self { vcpus: vcpus.clamp(1, Self::MAX_VCPUS), ..self }
    }

    /// Sets the number of pages, clamped to 1..=[`MAX_PAGES`](Self::MAX_PAGES).
    #[must_use]
    pub fn pages(self, pages: usize) -> Self {
        Self { pages: pages.clamp(1, Self::MAX_PAGES), ..self }
    }

    /// Sets how many grants the domain can have mapped at a time, at most
    /// [`MAX_MAPS`](Self::MAX_MAPS).
    #[must_use]
    pub fn maps(self, maps: usize) -> Self {
        Self { maps: maps.min(Self::MAX_MAPS), ..self }
    }

    /// Sets the role, in place of the profile's.
    #[must_use]
    pub const fn role(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }
}

impl Default for DomainConfig {
    fn default() -> Self {
        Self::new()
    }
}
