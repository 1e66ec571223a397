//! The releases and architectures that the manifest and the facts both have.

use crate::document::{ArchId, Availability, Head, Manifest, ReleaseId};
use crate::headers::facts::{Cell, Grid};
use crate::yaml::Place;

/// A release and an architecture, in the manifest's numbers and in those of the facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    /// The manifest's release.
    pub(super) release: ReleaseId,
    /// The manifest's architecture.
    pub(super) arch: ArchId,
    /// The facts' cell.
    pub(super) cell: Cell,
}

impl Here {
    /// Returns whether the headers must have the item's C name here.
    #[must_use]
    pub(super) fn names(self, head: &Head) -> bool {
        self.is_named(head) && head.availability.archs.contains(self.arch)
    }

    /// Returns the same of some architecture.
    #[must_use]
    pub(super) fn is_named(self, head: &Head) -> bool {
        head.availability.releases.contains(self.release)
            && head.named_since.is_none_or(|since| since <= self.release)
    }

    /// Returns the text by which the item, or its name, does not exist here. Where that is not
    /// written, the item is shown instead.
    #[must_use]
    pub(super) fn blame(self, head: &Head) -> Place {
        let Availability { releases, archs, .. } = head.availability;
        let key = match () {
            () if self.release < releases.since => "since",
            () if self.release > releases.until => "until",
            () if !archs.contains(self.arch) => "arch",
            () => "named_since",
        };
        head.place.key(key)
    }
}

/// Where to compare.
#[derive(Debug)]
pub(super) struct Cells {
    all: Vec<Here>,
    unmeasured: Vec<String>,
    unlisted: Vec<String>,
}

impl Cells {
    /// Pairs the manifest with the facts.
    #[must_use]
    pub(super) fn new(manifest: &Manifest, grid: &Grid) -> Self {
        let is_listed = |cell: &Cell| {
            let (release, arch) = grid.split(*cell);
            manifest.find_release(grid.releases[release].0).is_some()
                && manifest.find_arch(&grid.archs[arch]).is_some()
        };
        let unlisted = grid.cells().filter(|cell| !is_listed(cell)).map(|cell| grid.name(cell));
        let unlisted = unlisted.collect();
        let mut cells = Self { all: Vec::new(), unmeasured: Vec::new(), unlisted };
        for (release, known) in manifest.releases.iter().enumerate() {
            for (arch, known_arch) in manifest.architectures.iter().enumerate() {
                match grid.find(*known, &known_arch.name) {
                    Some(cell) => cells.all.push(Here {
                        release: ReleaseId(release),
                        arch: ArchId(arch),
                        cell,
                    }),
                    None => cells.unmeasured.push(format!("Xen {known} on {}", known_arch.name)),
                }
            }
        }
        cells
    }

    /// Each, the oldest release first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Here> + '_ {
        self.all.iter().copied()
    }

    /// What the manifest has and the facts lack.
    #[must_use]
    pub(super) fn unmeasured(&self) -> Vec<String> {
        self.unmeasured.clone()
    }

    /// What the facts have and the manifest lacks.
    #[must_use]
    pub(super) fn unlisted(&self) -> Vec<String> {
        self.unlisted.clone()
    }
}
