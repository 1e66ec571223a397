//! Spans of releases over which a struct's layout does not change, so that each is computed once
//! for a span and not for each release.

use crate::document::{Availability, Count, Document, Field, PerArch, ReleaseId, Shape, TypeRef};
use std::collections::HashMap;

/// The releases in which what a name stands for may differ from the release before, as bits.
type Bounds = u64;

/// For each name of a type, where its spans begin.
#[derive(Debug)]
pub(super) struct Epochs<'d> {
    bounds: HashMap<&'d str, Bounds>,
    /// Whether there are more releases than bits: then each release is a span of its own.
    crowded: bool,
}

impl<'d> Epochs<'d> {
    /// The spans of `document`: a new one begins wherever something appears or disappears that a
    /// layout can depend on.
    pub(super) fn new(document: &'d Document) -> Self {
        if document.manifest.releases.len() >= Bounds::BITS as usize {
            return Self { bounds: HashMap::new(), crowded: true };
        }
        let mut uses = Uses::default();
        for constant in document.files.iter().flat_map(|file| &file.constants) {
            *uses.constants.entry(&constant.head.name).or_default() |=
                bounds(constant.head.availability);
        }
        for file in &document.files {
            for item in &file.types {
                let own = bounds(item.head.availability) | uses.counts(item.count.as_ref());
                *uses.types.entry(&item.head.name).or_default() |= own;
                each(&item.is).for_each(|of| uses.type_(&item.head.name, of));
            }
            let heads = file
                .enumerations
                .iter()
                .map(|item| &item.head)
                .chain(file.words.iter().map(|item| &item.head));
            for head in heads.chain(file.encodings.iter().map(|item| &item.head)) {
                *uses.types.entry(&head.name).or_default() |= bounds(head.availability);
            }
            for item in &file.structs {
                *uses.types.entry(&item.head.name).or_default() |= bounds(item.head.availability);
                uses.fields(&item.head.name, &item.fields);
            }
        }
        Self { bounds: uses.spread(), crowded: false }
    }

    /// The first release of the span in which `release` lies, for the type of that name.
    pub(super) fn first(&self, name: &str, release: ReleaseId) -> ReleaseId {
        if self.crowded {
            return release;
        }
        let bounds = self.bounds.get(name).copied().unwrap_or(0) | 1;
        let so_far = bounds
            & (Bounds::MAX
                >> (Bounds::BITS - 1).saturating_sub(u32::try_from(release.0).unwrap_or(0)));
        ReleaseId(usize::try_from(so_far.ilog2()).unwrap_or(0))
    }
}

/// What each name depends on.
#[derive(Default)]
struct Uses<'d> {
    types: HashMap<&'d str, Bounds>,
    constants: HashMap<&'d str, Bounds>,
    /// The names of which something is made, by the name of what it is made of.
    users: HashMap<&'d str, Vec<&'d str>>,
}

impl<'d> Uses<'d> {
    fn counts(&self, counts: Option<&'d PerArch<Count>>) -> Bounds {
        let of = |count: &Count| match count {
            Count::Constant(name) => self.constants.get(name.as_str()).copied().unwrap_or(0),
            Count::Number(_) | Count::Flexible => 0,
        };
        counts.into_iter().flat_map(each).map(of).fold(0, |all, one| all | one)
    }

    fn type_(&mut self, user: &'d str, of: &'d TypeRef) {
        // What a guest pointer points to changes nothing.
        if let TypeRef::Named(name) = of {
            self.users.entry(name).or_default().push(user);
        }
    }

    fn fields(&mut self, user: &'d str, outer: &'d [Field]) {
        let mut rest: Vec<&Field> = outer.iter().collect();
        let mut all = 0;
        while let Some(field) = rest.pop() {
            all |= bounds(field.head.availability) | self.counts(field.count.as_ref());
            match &field.shape {
                Shape::Type(of) => self.type_(user, of),
                Shape::Union { members, .. } | Shape::Struct(members) => rest.extend(members),
            }
        }
        *self.types.entry(user).or_default() |= all;
    }

    /// Hands the bounds of each name on to what is made of it, until nothing changes: at most once
    /// for each bound.
    fn spread(mut self) -> HashMap<&'d str, Bounds> {
        let mut rest: Vec<&str> = self.types.keys().copied().collect();
        while let Some(name) = rest.pop() {
            let bounds = self.types.get(name).copied().unwrap_or(0);
            for user in self.users.get(name).into_iter().flatten() {
                let of_user = self.types.entry(user).or_default();
                if *of_user | bounds != *of_user {
                    *of_user |= bounds;
                    rest.push(user);
                }
            }
        }
        self.types
    }
}

/// Where something begins, and where it is over.
fn bounds(availability: Availability) -> Bounds {
    let bit = |release: usize| {
        u32::try_from(release).ok().and_then(|release| 1_u64.checked_shl(release)).unwrap_or(0)
    };
    bit(availability.releases.since.0) | bit(availability.releases.until.0 + 1)
}

/// The values of all architectures.
fn each<T>(values: &PerArch<T>) -> impl Iterator<Item = &T> {
    let (same, each) = match values {
        PerArch::Same(value) => (Some(value), None),
        PerArch::Each(values) => (None, Some(values.values())),
    };
    same.into_iter().chain(each.into_iter().flatten())
}
