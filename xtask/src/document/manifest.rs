//! The manifest: which releases, architectures and files there are.

use super::{ArchSet, Place, ReleaseRange};

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
    /// What it is.
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
    /// The release for which the PAC is rendered.
    #[must_use]
    pub fn newest(&self) -> ReleaseId {
        ReleaseId(self.releases.len().saturating_sub(1))
    }

    /// Every release.
    #[must_use]
    pub fn all_releases(&self) -> ReleaseRange {
        ReleaseRange { since: ReleaseId(0), until: self.newest() }
    }

    /// Every architecture.
    #[must_use]
    pub fn all_archs(&self) -> ArchSet {
        (0..self.architectures.len()).map(ArchId).collect()
    }

    /// The release at `id`.
    #[must_use]
    pub fn release(&self, id: ReleaseId) -> Release {
        self.releases[id.0]
    }

    /// The architecture at `id`.
    #[must_use]
    pub fn arch(&self, id: ArchId) -> &Architecture {
        &self.architectures[id.0]
    }

    /// The architecture of that name.
    #[must_use]
    pub fn find_arch(&self, name: &str) -> Option<ArchId> {
        self.architectures.iter().position(|arch| arch.name == name).map(ArchId)
    }

    /// The place of a release in the list.
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
