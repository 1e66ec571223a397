//! Collects the rules' findings, and merges equal faults of several releases and architectures.

use crate::diagnostic::{Diagnostic, nearest};
use crate::document::{ArchId, Availability, Manifest, ReleaseId};
use crate::yaml::Place;
use std::collections::BTreeSet;
use std::collections::HashMap;

/// Returns a fault of the node at `place`.
pub(super) fn fault(place: Place, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(place, message)
}

/// In how many faults of a run a name is proposed: to look for one takes as long as there are
/// names.
const PROPOSALS: u32 = 100;

/// The releases and architectures in which a fault was found, of all those in which it could be.
#[derive(Debug)]
struct Cells {
    releases: BTreeSet<ReleaseId>,
    archs: BTreeSet<ArchId>,
    of: Availability,
}

/// All faults of a run, each once.
#[derive(Debug)]
pub(super) struct Report<'d> {
    manifest: &'d Manifest,
    faults: Vec<(Diagnostic, Option<Cells>)>,
    known: HashMap<(Place, String), usize>,
    /// Pairs of nodes that clash, and in what.
    clashes: HashMap<(Place, Place), String>,
    proposals: u32,
}

impl<'d> Report<'d> {
    pub(super) fn new(manifest: &'d Manifest) -> Self {
        Self {
            manifest,
            faults: Vec::new(),
            known: HashMap::new(),
            clashes: HashMap::new(),
            proposals: PROPOSALS,
        }
    }

    /// Returns the nearest of the names that would do, if one is near.
    pub(super) fn nearest<'n>(
        &mut self,
        name: &str,
        candidates: impl Iterator<Item = &'n str>,
    ) -> Option<&'n str> {
        self.proposals = self.proposals.checked_sub(1)?;
        nearest(name, candidates)
    }

    /// Adds a fault, with the nearest of the names that would do, if one is near.
    pub(super) fn add_near<'n>(
        &mut self,
        fault: Diagnostic,
        name: &str,
        candidates: impl Iterator<Item = &'n str>,
    ) {
        let fault = match self.nearest(name, candidates) {
            Some(near) => fault.label(format!("did you mean `{near}`?")),
            None => fault,
        };
        self.add(fault);
    }

    /// Adds a fault, unless the same was added before.
    pub(super) fn add(&mut self, fault: Diagnostic) {
        self.insert(fault, None);
    }

    /// Adds a fault of one release and architecture, of those in which the item exists. The same
    /// fault elsewhere becomes part of it.
    pub(super) fn add_in(
        &mut self,
        cell: (ReleaseId, ArchId),
        of: Availability,
        fault: Diagnostic,
    ) {
        let (release, arch) = cell;
        let index = self
            .insert(fault, Some(Cells { releases: BTreeSet::new(), archs: BTreeSet::new(), of }));
        if let Some(cells) = &mut self.faults[index].1 {
            cells.releases.insert(release);
            cells.archs.insert(arch);
        }
    }

    /// Adds a fault of two nodes, unless they were found to clash in another way: two items of one
    /// name have one name in C and in Rust too.
    pub(super) fn add_clash(
        &mut self,
        cell: (ReleaseId, ArchId),
        of: Availability,
        first: &Place,
        fault: Diagnostic,
    ) {
        let pair = (fault.place.clone(), first.clone());
        if *self.clashes.entry(pair).or_insert_with(|| fault.message.clone()) == fault.message {
            self.add_in(cell, of, fault);
        }
    }

    /// Returns the faults, with the releases and architectures that each concerns where it does not
    /// concern all.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let manifest = self.manifest;
        let told = self.faults.into_iter().map(|(mut fault, cells)| {
            if let Some(cells) = cells {
                fault.message += &suffix(manifest, &cells);
            }
            fault
        });
        told.collect()
    }

    fn insert(&mut self, fault: Diagnostic, cells: Option<Cells>) -> usize {
        let key = (fault.place.clone(), fault.message.clone());
        *self.known.entry(key).or_insert_with(|| {
            self.faults.push((fault, cells));
            self.faults.len() - 1
        })
    }
}

fn suffix(manifest: &Manifest, cells: &Cells) -> String {
    let mut text = String::new();
    if !cells.of.archs.iter().eq(cells.archs.iter().copied()) {
        let names: Vec<&str> =
            cells.archs.iter().map(|arch| manifest.arch(*arch).name.as_str()).collect();
        text += &format!(" on {}", list(&names));
    }
    if let (Some(first), Some(last)) = (cells.releases.first(), cells.releases.last()) {
        let all = cells.of.releases;
        if (*first, *last) == (all.since, all.until) {
            return text;
        }
        text += &format!(" in Xen {}", manifest.release(*first));
        if first != last {
            text += &format!(" to {}", manifest.release(*last));
        }
    }
    text
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
