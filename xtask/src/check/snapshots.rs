//! Checks that snapshots have a counter and members, and that a snapshot reads every versioned
//! field. Only the newest release is checked, because snapshots are generated for it.

use super::report::{Report, fault};
use super::{Context, fields, for_arch, name_at, structs};
use crate::diagnostic::Diagnostic;
use crate::document::{
    Access, ArchId, Availability, Field, FieldUse, PerArch, ReleaseRange, Shape, Snapshot,
    SnapshotMember, Struct,
};
use crate::layout::Basis;
use crate::yaml::Place;
use std::collections::{HashMap, HashSet};

/// The versioned fields and counters that snapshots read, by architecture.
type Read<'d> = HashSet<(ArchId, &'d Place)>;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    let mut read = Read::default();
    for block in structs(context.document) {
        for snapshot in &block.snapshots {
            if snapshot.members.is_empty() {
                report.add(fault(
                    name_at(&snapshot.place),
                    format!("the snapshot `{}` has no members", snapshot.name),
                ));
            }
            counter(context, report, block, snapshot, &mut read);
            for member in &snapshot.members {
                self::member(context, report, block, member, &mut read);
            }
        }
    }
    structs(context.document).for_each(|block| one_counter(context, report, block));
    for field in structs(context.document).flat_map(|block| fields(&block.fields)) {
        unread(context, report, field, &read);
    }
}

/// A field changes under one counter: all snapshots that read it have the same.
fn one_counter(context: &Context<'_>, report: &mut Report<'_>, block: &Struct) {
    let mut counters: HashMap<(ArchId, &str), &Snapshot> = HashMap::new();
    for snapshot in &block.snapshots {
        for member in &snapshot.members {
            for arch in block.head.availability.archs.iter() {
                let Some(path) = member.path.get(arch) else { continue };
                let first = counters.entry((arch, path)).or_insert(snapshot);
                let is_field = |name: &String| block.fields.iter().any(|of| of.head.name == *name);
                if first.counter != snapshot.counter
                    && is_field(&first.counter)
                    && is_field(&snapshot.counter)
                {
                    let message = format!(
                        "`{path}` is under two counters: `{}` and `{}`",
                        first.counter, snapshot.counter
                    );
                    let found = fault(member.place.clone(), message);
                    let found = found.related(first.place.key("counter"), "the other counter");
                    report.add_in(
                        (context.manifest().newest(), arch),
                        newest(context, block.head.availability),
                        found,
                    );
                }
            }
        }
    }
}

/// Returns the item's availability in the newest release.
fn newest(context: &Context<'_>, availability: Availability) -> Availability {
    let newest = context.manifest().newest();
    Availability {
        releases: availability.releases.and(ReleaseRange { since: newest, until: newest }),
        ..availability
    }
}

fn counter<'d>(
    context: &Context<'_>,
    report: &mut Report<'_>,
    block: &'d Struct,
    snapshot: &Snapshot,
    read: &mut Read<'d>,
) {
    let availability = newest(context, block.head.availability);
    let place = snapshot.place.key("counter");
    for (release, arch) in context.symbols().cells(availability) {
        let here =
            || block.fields.iter().filter(|field| field.head.availability.contains(release, arch));
        let found = match here().find(|field| field.head.name == snapshot.counter) {
            Some(field) if field.use_ == FieldUse::Access(Access::Counter) => {
                read.insert((arch, &field.head.place));
                continue;
            }
            Some(field) => {
                let found = fault(place.clone(), format!("`{}` is no counter", snapshot.counter))
                    .help("give it `access: counter`");
                found.related(field.head.place.clone(), "the field is described here")
            }
            None => {
                let counters: Vec<&Field> = here()
                    .filter(|field| field.use_ == FieldUse::Access(Access::Counter))
                    .collect();
                let meant = match counters.as_slice() {
                    [only] => Some(*only),
                    _ => nearest_field(report, &snapshot.counter, &counters),
                };
                let found = fault(
                    place.clone(),
                    format!("`{}` has no counter `{}`", block.head.name, snapshot.counter),
                );
                meaning(found, meant, arch, read)
            }
        };
        report.add_in((release, arch), availability, found);
    }
}

fn member<'d>(
    context: &Context<'d>,
    report: &mut Report<'_>,
    block: &'d Struct,
    member: &'d SnapshotMember,
    read: &mut Read<'d>,
) {
    let availability = newest(context, block.head.availability);
    for (release, arch) in context.symbols().cells(availability) {
        let Some(path) = member.path.get(arch) else { continue };
        let place = for_arch(&member.path, arch, &member.place, context.manifest());
        // The same path on another architecture is the same text.
        let of = if matches!(member.path, PerArch::Same(_)) {
            availability
        } else {
            one(availability, arch)
        };
        match follow(context, block, path, (release, arch)) {
            Ok(field) if field.use_ == FieldUse::Access(Access::Versioned) => {
                read.insert((arch, &field.head.place));
            }
            Ok(field) => {
                let found =
                    fault(place, format!("`{path}` is not versioned, so no snapshot can read it"));
                let found = found
                    .related(field.head.place.clone(), "the field is described here")
                    .help("give it `access: versioned`");
                report.add_in((release, arch), of, found);
            }
            Err(dead_end) => {
                let meant = nearest_field(report, dead_end.step, &dead_end.near);
                report.add_in(
                    (release, arch),
                    of,
                    meaning(dead_end.told(place, path), meant, arch, read),
                );
            }
        }
    }
}

/// Proposes the field that was perhaps meant, and counts it as read: that no snapshot reads it
/// would be told besides.
fn meaning<'d>(
    found: Diagnostic,
    meant: Option<&'d Field>,
    arch: ArchId,
    read: &mut Read<'d>,
) -> Diagnostic {
    let Some(field) = meant else { return found };
    read.insert((arch, &field.head.place));
    found.label(format!("did you mean `{}`?", field.head.name))
}

fn nearest_field<'d>(
    report: &mut Report<'_>,
    name: &str,
    fields: &[&'d Field],
) -> Option<&'d Field> {
    let nearest = report.nearest(name, fields.iter().map(|field| field.head.name.as_str()))?;
    fields.iter().copied().find(|field| field.head.name == nearest)
}

fn one(availability: Availability, arch: ArchId) -> Availability {
    Availability { archs: [arch].into_iter().collect(), ..availability }
}

/// Why a path leads nowhere.
struct DeadEnd<'d> {
    step: &'d str,
    within: Option<&'d Struct>,
    why: Why,
    near: Vec<&'d Field>,
}

enum Why {
    NoField,
    Array,
    NoStruct,
}

impl DeadEnd<'_> {
    fn told(&self, place: Place, path: &str) -> Diagnostic {
        let step = self.step;
        let found = match self.why {
            Why::NoField => fault(place, format!("there is no field `{step}`")),
            Why::Array => {
                fault(place, format!("`{step}` is an array, through which no path can lead"))
            }
            Why::NoStruct => fault(place, format!("`{step}` is no block, so nothing lies in it")),
        };
        let found =
            if step == path { found } else { found.label(format!("on the way of `{path}`")) };
        match self.within {
            Some(block) => found.related(block.head.place.as_key(), "in this block"),
            None => found,
        }
    }
}

/// Returns the field that a path (`field` or `field.field`) leads to.
fn follow<'d>(
    context: &Context<'d>,
    block: &'d Struct,
    path: &'d str,
    (release, arch): (crate::document::ReleaseId, ArchId),
) -> Result<&'d Field, DeadEnd<'d>> {
    let mut within = Some(block);
    let mut here = block.fields.as_slice();
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        let dead_end = |why| DeadEnd { step, within, why, near: Vec::new() };
        let exist = here.iter().filter(|field| field.head.availability.contains(release, arch));
        let Some(field) = exist.clone().find(|field| field.head.name == step) else {
            return Err(DeadEnd { near: exist.collect(), ..dead_end(Why::NoField) });
        };
        if steps.peek().is_none() {
            return Ok(field);
        }
        if field.count.is_some() {
            return Err(dead_end(Why::Array));
        }
        (within, here) = match &field.shape {
            Shape::Type(type_) => {
                match context.symbols().meaning(type_, release, arch).map(|meaning| meaning.basis) {
                    Ok(Basis::Struct(inner)) => (Some(inner), inner.fields.as_slice()),
                    _ => return Err(dead_end(Why::NoStruct)),
                }
            }
            _ => (None, field.members()),
        };
    }
    Err(DeadEnd { step: path, within, why: Why::NoField, near: Vec::new() })
}

fn unread(context: &Context<'_>, report: &mut Report<'_>, field: &Field, read: &Read<'_>) {
    let (what, help) = match field.use_ {
        FieldUse::Access(Access::Versioned) => (
            "versioned",
            "name it among the `members` of a snapshot of this block, or of one that holds it",
        ),
        FieldUse::Access(Access::Counter) => ("a counter", "add a snapshot with this `counter`"),
        _ => return,
    };
    let availability = newest(context, field.head.availability);
    for cell in context.symbols().cells(availability) {
        if !read.contains(&(cell.1, &field.head.place)) {
            let found = fault(
                field.head.place.key("access"),
                format!("`{}` is {what}, but no snapshot reads it", field.head.name),
            );
            report.add_in(cell, availability, found.help(help));
        }
    }
}
