//! Blocks and arguments: fields, and the layouts of all releases.

use super::Resolve;
use super::model::{Field, Layout, Placed, Snapshot, Struct};
use crate::document::{
    self, Access, ArchId, FieldUse, ReleaseId, ReleaseRange, Shape, StructKind, Writer,
};
use crate::layout;
use std::rc::Rc;

/// Returns the kind of a struct.
pub(super) fn kind(item: &document::Struct) -> &'static str {
    match item.kind {
        StructKind::Block => "block",
        StructKind::Argument => "argument",
    }
}

impl<'d> Resolve<'_, 'd> {
    pub(super) fn struct_(&self, item: &'d document::Struct, rust: Option<String>) -> Struct {
        let snapshot = |snapshot: &document::Snapshot| Snapshot {
            name: snapshot.name.clone(),
            doc: snapshot.doc.clone(),
            counter: snapshot.counter.clone(),
            members: snapshot
                .members
                .iter()
                .map(|member| {
                    let archs = item.head.availability.archs;
                    (member.name.clone(), self.each(archs, |arch| member.path.get(arch).cloned()))
                })
                .collect(),
        };
        let changes = self.layouts.changes(item);
        Struct {
            head: self.head(&item.head, rust),
            kind: kind(item),
            fields: item.fields.iter().map(|field| self.field(field)).collect(),
            snapshots: item.snapshots.iter().map(snapshot).collect(),
            layouts: self.each(item.head.availability.archs, |arch| {
                Some(self.layouts_on(item, arch, &changes))
            }),
        }
    }

    fn field(&self, field: &document::Field) -> Field {
        let (access, writer, direction) = match field.use_ {
            FieldUse::Access(access) => (Some(access.name()), access.writer(), None),
            FieldUse::Direction(direction) => (None, None, Some(direction.name())),
            FieldUse::Reserved => (Some("reserved"), None, None),
            FieldUse::Nested => (None, None, None),
        };
        let group = match field.shape {
            Shape::Type(_) => None,
            Shape::Union { .. } => Some("union"),
            Shape::Struct(_) => Some("struct"),
        };
        Field {
            head: self.part(&field.head),
            type_: field.type_().map(|type_| self.type_(type_)),
            count: self.count(&field.head, field.count.as_ref()),
            access,
            writer: writer.map(Writer::name),
            direction,
            anonymous: matches!(field.shape, Shape::Union { anonymous: true, .. }),
            group,
            members: field.members().iter().map(|member| self.field(member)).collect(),
        }
    }

    /// Returns the distinct layouts on one architecture, oldest first. `changes` are the releases
    /// in which a layout can differ from the one before.
    fn layouts_on(
        &self,
        item: &'d document::Struct,
        arch: ArchId,
        changes: &[ReleaseId],
    ) -> Vec<Layout> {
        let mut found: Vec<(ReleaseRange, Rc<layout::Layout>, Vec<Placed>)> = Vec::new();
        for (at, since) in changes.iter().enumerate() {
            let next = changes.get(at + 1).map(|next| ReleaseId(next.0.saturating_sub(1)));
            let until = next.unwrap_or(item.head.availability.releases.until);
            // The description has passed the checks, so each struct has a layout.
            let Ok(layout) = self.layouts.of(&item.head.name, *since, arch) else { continue };
            let fields = self.placed(&item.fields, &layout, "", 0);
            match found.last_mut() {
                Some((range, known, placed)) if *known == layout && *placed == fields => {
                    range.until = until;
                }
                _ => found.push((ReleaseRange { since: *since, until }, layout, fields)),
            }
        }
        let made = found.into_iter().map(|(range, layout, fields)| Layout {
            since: self.release(range.since),
            until: self.until(range),
            size: layout.size,
            align: layout.align,
            fields,
            padding: layout.padding().into_iter().map(|(offset, size)| [offset, size]).collect(),
        });
        made.collect()
    }

    /// Returns the places of the fields of `layout`, which begins at `base` of the struct and whose
    /// C paths begin with `prefix`.
    fn placed(
        &self,
        fields: &[document::Field],
        layout: &layout::Layout,
        prefix: &str,
        base: u32,
    ) -> Vec<Placed> {
        let place = |placed: &layout::FieldLayout| {
            let field = &fields[placed.index];
            let anonymous = matches!(field.shape, Shape::Union { anonymous: true, .. });
            let c = field.head.c.as_ref().filter(|_| !anonymous).map(|c| format!("{prefix}{c}"));
            let below = c.as_ref().map_or_else(|| prefix.to_owned(), |path| format!("{path}."));
            let inner = placed.inner.as_deref().filter(|_| !field.members().is_empty());
            let offset = base + placed.offset;
            Placed {
                name: field.head.name.clone(),
                c,
                offset,
                size: placed.size,
                count: placed.count,
                members: inner
                    .map(|inner| self.placed(field.members(), inner, &below, offset))
                    .unwrap_or_default(),
            }
        };
        layout.fields.iter().map(place).collect()
    }
}

impl Access {
    /// Returns the name in the description.
    fn name(self) -> &'static str {
        match self {
            Self::Bits => "bits",
            Self::Versioned => "versioned",
            Self::Counter => "counter",
            Self::Index(_) => "index",
            Self::Buffer => "buffer",
            Self::Plain(_) => "plain",
        }
    }

    /// Returns the side that writes, if there is only one.
    fn writer(self) -> Option<Writer> {
        match self {
            Self::Index(writer) | Self::Plain(writer) => Some(writer),
            Self::Bits | Self::Versioned | Self::Counter | Self::Buffer => None,
        }
    }
}
