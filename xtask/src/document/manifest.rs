//! The manifest (which releases, architectures and files there are), and sets of releases and
//! architectures.

use crate::yaml::Place;

/// A Xen release such as 4.17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    /// The number before the point.
    pub major: u16,
    /// The number after the point.
    pub minor: u16,
}

/// An index into [`Manifest::releases`]; the order is that of the releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseId(pub usize);

/// An index into [`Manifest::architectures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArchId(pub usize);

/// What an architecture's C compiler does with sizes and alignments.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// Rust's `target_arch`.
    pub name: String,
    /// The documentation.
    pub doc: String,
    /// Bytes of a pointer and of C's unsigned long.
    pub pointer_bytes: u32,
    /// Alignment in bytes of a 64-bit integer.
    pub align_u64: u32,
    /// Bytes of the widest atomic read-modify-write.
    pub max_atomic_bytes: u32,
    /// Where the manifest describes it.
    pub place: Place,
}

/// The manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Oldest first.
    pub releases: Vec<Release>,
    /// In the manifest's order.
    pub architectures: Vec<Architecture>,
    /// Subject files, in the manifest's order, without the ending.
    pub files: Vec<String>,
}

impl Manifest {
    /// Returns the release for which the PAC is rendered.
    #[must_use]
    pub fn newest(&self) -> ReleaseId {
        ReleaseId(self.releases.len().saturating_sub(1))
    }

    /// Returns every release.
    #[must_use]
    pub fn all_releases(&self) -> ReleaseRange {
        ReleaseRange { since: ReleaseId(0), until: self.newest() }
    }

    /// Returns every architecture.
    #[must_use]
    pub fn all_archs(&self) -> ArchSet {
        (0..self.architectures.len()).map(ArchId).collect()
    }

    /// Returns the release at `id`.
    #[must_use]
    pub fn release(&self, id: ReleaseId) -> Release {
        self.releases[id.0]
    }

    /// Returns the architecture at `id`.
    #[must_use]
    pub fn arch(&self, id: ArchId) -> &Architecture {
        &self.architectures[id.0]
    }

    /// Returns the architecture of that name.
    #[must_use]
    pub fn find_arch(&self, name: &str) -> Option<ArchId> {
        self.architectures.iter().position(|arch| arch.name == name).map(ArchId)
    }

    /// Returns the place of a release in the list.
    #[must_use]
    pub fn find_release(&self, release: Release) -> Option<ReleaseId> {
        self.releases.iter().position(|known| *known == release).map(ReleaseId)
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

impl std::str::FromStr for Release {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        Ok(Self { major: major.parse().map_err(drop)?, minor: minor.parse().map_err(drop)? })
    }
}

/// A set of architectures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArchSet(u32);

impl ArchSet {
    /// Returns whether `arch` is in the set.
    #[must_use]
    pub fn contains(self, arch: ArchId) -> bool {
        self.0 & (1 << arch.0) != 0
    }

    /// What both sets hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds the architectures of another set.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns whether the set holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the architectures of the set, in the manifest's order.
    pub fn iter(self) -> impl Iterator<Item = ArchId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let arch = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            Some(ArchId(arch as usize))
        })
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
    /// Returns whether `release` is in the range.
    #[must_use]
    pub fn contains(self, release: ReleaseId) -> bool {
        self.since <= release && release <= self.until
    }

    /// What both ranges hold; a range whose `since` is after its `until` holds nothing.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { since: self.since.max(other.since), until: self.until.min(other.until) }
    }

    /// Returns whether the range holds nothing.
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
    /// Returns whether the item exists there.
    #[must_use]
    pub fn contains(self, release: ReleaseId, arch: ArchId) -> bool {
        self.releases.contains(release) && self.archs.contains(arch)
    }

    /// Returns whether there is a release and an architecture in which both exist.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        !self.releases.and(other.releases).is_empty() && !self.archs.and(other.archs).is_empty()
    }
}
