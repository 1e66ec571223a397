//! Spans of releases over which no layout changes, so that each is computed once for a span and not for each release.

use crate::document::{Availability, Count, Document, Field, PerArch, ReleaseId, Shape};
use std::collections::{BTreeSet, HashSet};

/// For each release, the first of its span.
#[derive(Debug)]
pub(super) struct Epochs(Vec<ReleaseId>);

impl Epochs {
    /// The spans of `document`: a new one begins wherever something appears or disappears that a layout can depend on.
    pub(super) fn new(document: &Document) -> Self {
        let mut found = Boundaries::default();
        for file in &document.files {
            for item in &file.types {
                found.availability(item.head.availability);
                found.counts(item.count.as_ref());
            }
            file.enumerations.iter().for_each(|item| found.availability(item.head.availability));
            file.words.iter().for_each(|item| found.availability(item.head.availability));
            for item in &file.structs {
                found.availability(item.head.availability);
                found.fields(&item.fields);
            }
        }
        for constant in document.files.iter().flat_map(|file| &file.constants) {
            if found.constants.contains(constant.head.name.as_str()) {
                found.releases.insert(constant.head.availability.releases.since.0);
                found.releases.insert(constant.head.availability.releases.until.0 + 1);
            }
        }
        let mut first = ReleaseId(0);
        let releases = 0..document.manifest.releases.len();
        Self(
            releases
                .map(|release| {
                    if found.releases.contains(&release) {
                        first = ReleaseId(release);
                    }
                    first
                })
                .collect(),
        )
    }

    /// The first release of the span in which `release` lies.
    pub(super) fn first(&self, release: ReleaseId) -> ReleaseId {
        self.0.get(release.0).copied().unwrap_or(release)
    }
}

/// The releases in which something differs from the one before, and the constants that are lengths.
#[derive(Default)]
struct Boundaries<'d> {
    releases: BTreeSet<usize>,
    constants: HashSet<&'d str>,
}

impl<'d> Boundaries<'d> {
    fn availability(&mut self, availability: Availability) {
        self.releases.insert(availability.releases.since.0);
        self.releases.insert(availability.releases.until.0 + 1);
    }

    fn counts(&mut self, counts: Option<&'d PerArch<Count>>) {
        let counts: Vec<&Count> = match counts {
            None => Vec::new(),
            Some(PerArch::Same(count)) => vec![count],
            Some(PerArch::Each(counts)) => counts.values().collect(),
        };
        self.constants.extend(counts.into_iter().filter_map(|count| match count {
            Count::Constant(name) => Some(name.as_str()),
            Count::Number(_) | Count::Flexible => None,
        }));
    }

    fn fields(&mut self, outer: &'d [Field]) {
        let mut rest: Vec<&Field> = outer.iter().collect();
        while let Some(field) = rest.pop() {
            self.availability(field.head.availability);
            self.counts(field.count.as_ref());
            if let Shape::Union { members, .. } | Shape::Struct(members) = &field.shape {
                rest.extend(members);
            }
        }
    }
}
