//! The values that tests pass and receive: profiles, domain configurations, faults, failures.

mod failure;
mod faults;
mod profile;

pub use failure::{Failure, FailureKind};
pub(crate) use failure::{Place, SEED_VARIABLE, replay};
pub(crate) use faults::Faults;
pub use faults::{Fault, FaultRates};
pub use profile::{Arch, Profile, Role};

/// The configuration of a domain: by default, one vCPU and 64 pages.
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
    /// The maximum number of vCPUs, as for a PVH guest on Xen.
    pub const MAX_VCPUS: usize = 128;
    /// The maximum number of pages.
    pub const MAX_PAGES: usize = 1024;
    /// The maximum number of grants that a domain can map at a time: Xen's default.
    pub const MAX_MAPS: usize = 1024 * 256;

    /// Creates a configuration with one vCPU, 64 pages, and the role of the machine's profile.
    #[must_use]
    pub const fn new() -> Self {
        Self { vcpus: 1, pages: 64, role: None, maps: Self::MAX_MAPS, daemon: false, served: false }
    }

    /// Creates the configuration of a control domain that serves others, for
    /// [`Dom0::program`](crate::backend::Dom0::program). The domain ends when no other domain is
    /// left.
    #[must_use]
    pub const fn dom0() -> Self {
        Self { pages: 512, role: Some(Role::Control), daemon: true, ..Self::new() }
    }

    /// Creates the configuration of a guest with xenstore and a console, which domain 0 serves.
    /// Without a domain 0, nothing serves the rings.
    #[must_use]
    pub const fn domu() -> Self {
        Self { role: Some(Role::Guest), served: true, ..Self::new() }
    }

    /// Sets the number of vCPUs, clamped to 1..=[`MAX_VCPUS`](Self::MAX_VCPUS). When the machine
    /// starts, only the first one runs.
    #[must_use]
    pub fn vcpus(self, vcpus: usize) -> Self {
        Self { vcpus: vcpus.clamp(1, Self::MAX_VCPUS), ..self }
    }

    /// Sets the number of pages, clamped to 1..=[`MAX_PAGES`](Self::MAX_PAGES).
    #[must_use]
    pub fn pages(self, pages: usize) -> Self {
        Self { pages: pages.clamp(1, Self::MAX_PAGES), ..self }
    }

    /// Sets the number of grants that the domain can map at a time, at most
    /// [`MAX_MAPS`](Self::MAX_MAPS).
    #[must_use]
    pub fn maps(self, maps: usize) -> Self {
        Self { maps: maps.min(Self::MAX_MAPS), ..self }
    }

    /// Lets the machine end the domain when no other one is left, as a domain that serves others.
    #[must_use]
    pub const fn background(self) -> Self {
        Self { daemon: true, ..self }
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
