//! In which releases and on which architectures something exists.

use super::{ArchId, ReleaseId};

/// A set of architectures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArchSet(u32);

impl ArchSet {
    /// Whether `arch` is in the set.
    #[must_use]
    pub fn contains(self, arch: ArchId) -> bool {
        self.0 & (1 << arch.0) != 0
    }

    /// What both sets hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the set holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The architectures of the set, in the manifest's order.
    pub fn iter(self) -> impl Iterator<Item = ArchId> {
        (0..32).map(ArchId).filter(move |arch| self.contains(*arch))
    }
}

impl FromIterator<ArchId> for ArchSet {
    fn from_iter<I: IntoIterator<Item = ArchId>>(archs: I) -> Self {
        Self(archs.into_iter().fold(0, |set, arch| set | 1 << arch.0))
    }
}

/// Releases from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseRange {
    /// The first.
    pub since: ReleaseId,
    /// The last.
    pub until: ReleaseId,
}

impl ReleaseRange {
    /// Whether `release` is in the range.
    #[must_use]
    pub fn contains(self, release: ReleaseId) -> bool {
        self.since <= release && release <= self.until
    }

    /// What both ranges hold; a range whose `since` is after its `until` holds nothing.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { since: self.since.max(other.since), until: self.until.min(other.until) }
    }

    /// Whether the range holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.since > self.until
    }
}

/// Where an item exists. What was left out of the YAML is filled in: all releases, all
/// architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Availability {
    /// The releases whose headers offer it.
    pub releases: ReleaseRange,
    /// The first release whose hypervisor does it, where the YAML says so.
    pub honoured_since: Option<ReleaseId>,
    /// The architectures that have it.
    pub archs: ArchSet,
}

impl Availability {
    /// Whether the item exists there.
    #[must_use]
    pub fn contains(self, release: ReleaseId, arch: ArchId) -> bool {
        self.releases.contains(release) && self.archs.contains(arch)
    }

    /// Whether there is a release and an architecture in which both exist.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        !self.releases.and(other.releases).is_empty() && !self.archs.and(other.archs).is_empty()
    }
}
