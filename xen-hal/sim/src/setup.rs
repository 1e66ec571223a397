//! What a domain is made with.

use super::profile::Role;

/// What a domain is made with: one vCPU and 64 pages, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub(super) vcpus: usize,
    pub(super) pages: usize,
    pub(super) role: Option<Role>,
    pub(super) maps: usize,
}

impl Setup {
    /// How many vCPUs a domain may have: what Xen gives a PVH guest.
    pub const MAX_VCPUS: usize = 128;
    /// How many pages a domain may have.
    pub const MAX_PAGES: usize = 1024;
    /// How many grants of others a domain may have mapped at a time: what Xen allows unless it is
    /// told otherwise.
    pub const MAX_MAPS: usize = 1024 * 256;

    /// One vCPU, 64 pages, and the role that the machine's profile names.
    #[must_use]
    pub const fn new() -> Self {
        Self { vcpus: 1, pages: 64, role: None, maps: Self::MAX_MAPS }
    }

    /// With so many vCPUs, of which the first runs when the machine starts; from 1 to
    /// [`MAX_VCPUS`](Self::MAX_VCPUS), to which other numbers are brought.
    #[must_use]
    pub fn vcpus(self, vcpus: usize) -> Self {
        Self { vcpus: vcpus.clamp(1, Self::MAX_VCPUS), ..self }
    }

    /// With so many pages of memory, up to [`MAX_PAGES`](Self::MAX_PAGES).
    #[must_use]
    pub fn pages(self, pages: usize) -> Self {
        Self { pages: pages.clamp(1, Self::MAX_PAGES), ..self }
    }

    /// With so many grants of others mapped at a time, at most, up to [`MAX_MAPS`](Self::MAX_MAPS).
    #[must_use]
    pub fn maps(self, maps: usize) -> Self {
        Self { maps: maps.min(Self::MAX_MAPS), ..self }
    }

    /// With a role other than the profile's.
    #[must_use]
    pub const fn role(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}
