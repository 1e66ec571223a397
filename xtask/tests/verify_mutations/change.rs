//! The changes that can be made at a point, and making one.

use super::walk::Point;
use xtask::document::*;
use xtask::layout::{Basis, Integer, Symbols};
use xtask::yaml::Place;

/// One small change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Since(ReleaseId),
    Until(ReleaseId),
    NamedSince(ReleaseId),
    AddArch(ArchId),
    RemoveArch(ArchId),
    Increment,
    IncrementOn(ArchId),
    MoveBits(Bits),
    Type(Primitive),
    Count(u64),
    Swap(usize),
}

impl Change {
    /// What kind of thing it changes at that point.
    pub(crate) fn kind(&self, point: &Point<'_>) -> &'static str {
        match (self, point) {
            (Self::Since(_), _) => "since",
            (Self::Until(_), _) => "until",
            (Self::NamedSince(_), _) => "named_since",
            (Self::AddArch(_), _) => "arch added",
            (Self::RemoveArch(_), _) => "arch removed",
            (Self::MoveBits(_), _) => "bits",
            (Self::Type(_), _) => "field's type",
            (Self::Count(_), _) => "field's count",
            (Self::Swap(_), _) => "fields' order",
            (_, Point::Number { kind, .. } | Point::Unsigned { kind, .. }) => kind,
            (_, Point::Constant(_)) => "constant",
            (_, Point::Size(_)) => "size",
            _ => "other",
        }
    }

    /// Makes the change.
    pub(crate) fn apply(&self, point: Point<'_>) {
        match (self, point) {
            (Self::Since(release), Point::Existence { head, .. }) => {
                head.availability.releases.since = *release;
            }
            (Self::Until(release), Point::Existence { head, .. }) => {
                head.availability.releases.until = *release;
            }
            (Self::NamedSince(release), Point::Existence { head, .. }) => {
                head.named_since = Some(*release);
            }
            (Self::AddArch(arch), Point::Existence { head, .. }) => {
                head.availability.archs = head.availability.archs.iter().chain([*arch]).collect();
            }
            (Self::RemoveArch(arch), Point::Existence { head, .. }) => {
                head.availability.archs =
                    head.availability.archs.iter().filter(|known| known != arch).collect();
            }
            (Self::Increment, Point::Number { value, .. }) => *value += 1,
            (Self::Increment, Point::Unsigned { value, .. }) => *value += 1,
            (Self::Increment, Point::Constant(PerArch::Same(value))) => *value += 1,
            (Self::Increment, Point::Size(PerArch::Same(value))) => *value += 1,
            (Self::IncrementOn(arch), Point::Constant(PerArch::Each(values))) => {
                *values.get_mut(arch).expect("listed") += 1;
            }
            (Self::IncrementOn(arch), Point::Size(PerArch::Each(values))) => {
                *values.get_mut(arch).expect("listed") += 1;
            }
            (Self::MoveBits(moved), Point::Bits(bits)) => *bits = *moved,
            (Self::Type(primitive), Point::Field(field)) => {
                field.shape = Shape::Type(TypeRef::Primitive(*primitive));
            }
            (Self::Count(count), Point::Field(field)) => {
                field.count = Some(PerArch::Same(Count::Number(*count)));
            }
            (Self::Swap(index), Point::Order(fields)) => fields.swap(*index, index + 1),
            (change, _) => panic!("{change:?} was listed for another point"),
        }
    }
}

/// Which items use which C name.
#[derive(Default)]
pub(crate) struct Claims(Vec<(String, Place, Availability)>);

impl Claims {
    /// Notes the item of a point.
    pub(crate) fn add(&mut self, point: &Point<'_>) {
        if let Point::Existence { head, .. } = point {
            self.0.extend(head.c.clone().map(|c| (c, head.place.clone(), head.availability)));
        }
    }

    /// Whether the change gives a C name to an item where another item has it already. To the facts
    /// nothing is wrong with that; it is `check` that refuses the second item.
    fn cover(&self, head: &Head, change: &Change) -> bool {
        let mut wider = head.availability;
        match change {
            Change::Since(release) if *release < wider.releases.since => {
                wider.releases = ReleaseRange { since: *release, until: *release }
            }
            Change::Until(release) if *release > wider.releases.until => {
                wider.releases = ReleaseRange { since: *release, until: *release }
            }
            Change::AddArch(arch) => wider.archs = [*arch].into_iter().collect(),
            _ => return false,
        }
        let others = self
            .0
            .iter()
            .filter(|(c, place, _)| Some(c) == head.c.as_ref() && *place != head.place);
        others.into_iter().any(|(_, _, other)| other.overlaps(wider))
    }
}

/// Every change that the facts must notice at a point.
pub(crate) fn changes(point: &Point<'_>, names: &Symbols<'_>, claims: &Claims) -> Vec<Change> {
    match point {
        Point::Existence { head, within, archs, reserved } => {
            let mut changes = existence(head, *within, *archs, names.manifest());
            changes.retain(|change| !claims.cover(head, change));
            // A reserved field that exists nowhere is padding, and its bytes stay where they were.
            changes.retain(|change| {
                !(*reserved
                    && matches!(change, Change::RemoveArch(_))
                    && head.availability.archs.iter().count() == 1)
            });
            changes
        }
        Point::Number { .. } | Point::Unsigned { .. } => vec![Change::Increment],
        Point::Constant(value) => increments(value),
        Point::Size(value) => increments(value),
        Point::Bits(bits) => vec![Change::MoveBits(match bits.low {
            0 => Bits { high: bits.high + 1, low: 1 },
            low => Bits { high: bits.high - 1, low: low - 1 },
        })],
        Point::Field(field) => field_changes(field, names),
        Point::Order(fields) => order(fields),
    }
}

fn increments<T>(value: &PerArch<T>) -> Vec<Change> {
    match value {
        PerArch::Same(_) => vec![Change::Increment],
        PerArch::Each(values) => values.keys().map(|arch| Change::IncrementOn(*arch)).collect(),
    }
}

fn existence(
    head: &Head,
    within: Availability,
    archs: ArchSet,
    manifest: &Manifest,
) -> Vec<Change> {
    let Availability { releases, archs: mine, .. } = head.availability;
    let earlier = |release: ReleaseId| release.0.checked_sub(1).map(ReleaseId);
    let later = |release: ReleaseId| {
        Some(ReleaseId(release.0 + 1)).filter(|release| *release <= manifest.newest())
    };
    let inside = |release: &ReleaseId| within.releases.contains(*release);
    let mut changes = Vec::new();
    match head.named_since {
        // The facts know when the name came, and so judge nothing before it.
        Some(named) => {
            changes.extend(
                earlier(named).filter(|release| *release >= releases.since).map(Change::NamedSince),
            );
            changes.extend(later(named).map(Change::NamedSince));
        }
        None => {
            // What holds it may have a name in C only later.
            let since = releases.since.max(within.releases.since);
            changes.extend(earlier(since).filter(inside).map(Change::Since));
            changes.extend(later(since).map(Change::Since));
        }
    }
    changes.extend(earlier(releases.until).map(Change::Until));
    changes.extend(later(releases.until).filter(inside).map(Change::Until));
    changes.extend(mine.iter().map(Change::RemoveArch));
    changes.extend(
        within.archs.and(archs).iter().filter(|arch| !mine.contains(*arch)).map(Change::AddArch),
    );
    changes
}

fn field_changes(field: &Field, names: &Symbols<'_>) -> Vec<Change> {
    let Some((release, arch)) = names.cells(field.head.availability).last() else {
        return Vec::new();
    };
    let count =
        field.count.as_ref().and_then(|count| names.count(count.get(arch)?, release, arch).ok());
    // A flexible tail has no size, whatever it is made of.
    if count == Some(None) {
        return Vec::new();
    }
    let mut changes: Vec<Change> =
        count.flatten().map(|count| Change::Count(count + 1)).into_iter().collect();
    if let Shape::Type(type_) = &field.shape {
        changes.push(Change::Type(other_width(type_, names, release, arch)));
    }
    changes
}

/// An integer that is not as wide as the type.
fn other_width(
    type_: &TypeRef,
    names: &Symbols<'_>,
    release: ReleaseId,
    arch: ArchId,
) -> Primitive {
    // The names were taken from another copy of the document; only the text of the type matters.
    let basis = match type_ {
        TypeRef::Primitive(primitive) => Some(*primitive),
        TypeRef::Handle(_) => None,
        TypeRef::Named(name) => names.type_(name, release, arch).ok().and_then(|item| match item {
            xtask::layout::Item::Alias(alias) if alias.count.is_none() => {
                let meaning = names.meaning(alias.is.get(arch)?, release, arch).ok()?;
                meaning.count.is_none().then(|| Basis::primitive(&meaning.basis)).flatten()
            }
            xtask::layout::Item::Enumeration(item) => Some(item.is),
            xtask::layout::Item::Word(item) => Some(item.is),
            _ => None,
        }),
    };
    let size = basis.map(|primitive| Integer::of(primitive, names.manifest().arch(arch)).size);
    if size == Some(1) { Primitive::U16 } else { Primitive::U8 }
}

/// Neighbours that exist together and of which C names one.
fn order(fields: &[Field]) -> Vec<Change> {
    let visible = |field: &Field| field.head.c.is_some();
    let pairs = fields.windows(2).enumerate();
    let swaps = pairs.filter(|(_, pair)| {
        pair[0].head.availability.overlaps(pair[1].head.availability) && pair.iter().any(visible)
    });
    swaps.map(|(index, _)| Change::Swap(index)).collect()
}
