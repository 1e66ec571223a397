//! The members that a struct has by its description in one release on one architecture, under their
//! paths in C, and what they imply about members that only C has.

use super::cells::Here;
use crate::document::{Field, FieldUse, Shape, Struct, TypeRef};
use crate::headers::facts::Extent;
use crate::layout::{Basis, Item, Layout, Layouts};

/// A described member.
#[derive(Clone, Debug)]
pub(super) struct Member<'d> {
    /// Its path in C.
    pub(super) path: String,
    /// Where it lies in the outermost struct.
    pub(super) extent: Extent,
    /// Whether C may have members inside that the description does not have: a guest handle's
    /// pointer, an array that C wraps.
    pub(super) opaque: bool,
    /// The field that describes it.
    pub(super) field: &'d Field,
}

/// The members of a struct in one release on one architecture.
#[derive(Clone, Debug, Default)]
pub(super) struct Members<'d> {
    /// Sorted by path.
    pub(super) named: Vec<Member<'d>>,
    /// Bytes that mean nothing, or to which the description gives no name in C: computed padding,
    /// reserved fields, nameless fields.
    pub(super) free: Vec<Extent>,
    /// Fields, neither reserved nor groups, for which C has no name.
    pub(super) unnamed: Vec<&'d Field>,
}

impl<'d> Members<'d> {
    /// Returns the member of that path.
    pub(super) fn member(&self, path: &str) -> Option<&Member<'d>> {
        self.named
            .binary_search_by(|member| member.path.as_str().cmp(path))
            .ok()
            .map(|index| &self.named[index])
    }
}

/// Lists them.
#[must_use]
pub(super) fn list<'d>(
    layouts: &Layouts<'d>,
    fields: &'d [Field],
    layout: &Layout,
    here: Here,
) -> Members<'d> {
    let mut members = Members::default();
    Walk { layouts, here, members: &mut members }.sequence(fields, layout, "", 0);
    members.named.sort_by(|one, other| one.path.cmp(&other.path));
    members
}

struct Walk<'w, 'd> {
    layouts: &'w Layouts<'d>,
    here: Here,
    members: &'w mut Members<'d>,
}

impl<'d> Walk<'_, 'd> {
    fn sequence(&mut self, fields: &'d [Field], layout: &Layout, prefix: &str, base: u64) {
        for (offset, size) in layout.padding() {
            self.members
                .free
                .push(Extent { offset: base + u64::from(offset), size: u64::from(size) });
        }
        self.group(fields, layout, prefix, base);
    }

    fn group(&mut self, fields: &'d [Field], layout: &Layout, prefix: &str, base: u64) {
        for placed in &layout.fields {
            let field = &fields[placed.index];
            let extent =
                Extent { offset: base + u64::from(placed.offset), size: u64::from(placed.size) };
            let anonymous = matches!(field.shape, Shape::Union { anonymous: true, .. });
            let name = field.head.c.as_ref().filter(|_| !anonymous && self.here.names(&field.head));
            let inner = placed.inner.as_deref().filter(|_| placed.count.is_none());
            let below = match name {
                Some(name) => {
                    let path = format!("{prefix}{name}");
                    if field.use_ == FieldUse::Reserved {
                        self.members.free.push(extent);
                    }
                    self.members.named.push(Member {
                        path: path.clone(),
                        extent,
                        opaque: self.opaque(field),
                        field,
                    });
                    format!("{path}.")
                }
                None => {
                    self.unnamed(field, extent, inner.is_some());
                    prefix.to_owned()
                }
            };
            if let Some(inner) = inner {
                self.inside(field, inner, &below, extent.offset);
            }
        }
    }

    fn unnamed(&mut self, field: &'d Field, extent: Extent, group: bool) {
        if group {
            return;
        }
        self.members.free.push(extent);
        if field.use_ != FieldUse::Reserved && field.head.c.is_none() {
            self.members.unnamed.push(field);
        }
    }

    fn inside(&mut self, field: &'d Field, inner: &Layout, prefix: &str, base: u64) {
        match &field.shape {
            Shape::Union { members, .. } => self.group(members, inner, prefix, base),
            Shape::Struct(members) => self.sequence(members, inner, prefix, base),
            Shape::Type(TypeRef::Named(name)) => {
                if let Ok(Item::Struct(struct_)) =
                    self.layouts.symbols().type_(name, self.here.release, self.here.arch)
                {
                    self.sequence(&struct_.fields, inner, prefix, base);
                }
            }
            Shape::Type(_) => {}
        }
    }

    fn opaque(&self, field: &Field) -> bool {
        match &field.shape {
            Shape::Type(TypeRef::Handle(_)) => true,
            Shape::Type(type_ @ TypeRef::Named(_)) => {
                let meaning =
                    self.layouts.symbols().meaning(type_, self.here.release, self.here.arch);
                meaning.is_ok_and(|meaning| {
                    meaning.count.is_some() || matches!(meaning.basis, Basis::Handle(_))
                })
            }
            Shape::Type(_) | Shape::Union { .. } | Shape::Struct(_) => false,
        }
    }
}

/// What C's padding is called.
const PADDING: [&str; 5] = ["pad", "rsvd", "reserved", "unused", "spacer"];

/// A struct as the description has it there.
#[derive(Debug)]
pub(super) struct View<'d> {
    /// The item.
    pub(super) item: &'d Struct,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Its members.
    pub(super) members: Members<'d>,
}

/// All descriptions of a struct; several are the members of a union.
#[derive(Debug)]
pub(super) struct Views<'d>(pub(super) Vec<View<'d>>);

impl<'d> Views<'d> {
    /// Returns the described member of that path.
    pub(super) fn member(&self, path: &str) -> Option<&Member<'d>> {
        self.0.iter().find_map(|view| view.members.member(path))
    }

    /// Returns whether a member that only C has follows from what is described.
    pub(super) fn imply(&self, path: &str, extent: Extent) -> bool {
        self.is_inside_opaque(path, extent)
            || self.is_group(path, extent)
            || self.is_shared(path, extent)
    }

    /// Returns the pointer in a guest handle, the array in a struct that C wraps around it.
    fn is_inside_opaque(&self, path: &str, extent: Extent) -> bool {
        let around = path.match_indices('.').rev().find_map(|(dot, _)| self.member(&path[..dot]));
        around.is_some_and(|member| member.opaque && within(extent, member.extent))
    }

    /// Returns a member of C of which the description has only the members, by their paths: it
    /// begins with one and holds them all.
    fn is_group(&self, path: &str, extent: Extent) -> bool {
        let inside = |member: &&Member<'_>| {
            member.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        };
        let members: Vec<Extent> = self
            .0
            .iter()
            .flat_map(|view| &view.members.named)
            .filter(inside)
            .map(|member| member.extent)
            .collect();
        members.iter().any(|member| member.offset == extent.offset)
            && members.iter().all(|member| within(*member, extent))
    }

    /// What all members of a union begin with, under a name of its own.
    fn is_shared(&self, path: &str, extent: Extent) -> bool {
        let same = |member: &Member<'_>| {
            member.extent == extent
                && member.path.strip_suffix(path).is_some_and(|rest| rest.ends_with('.'))
        };
        self.0.len() > 1 && self.0.iter().all(|view| view.members.named.iter().any(same))
    }

    /// Returns whether a member that only C has is padding: by its name, and because no byte of it
    /// means anything.
    pub(super) fn pad(&self, path: &str, extent: Extent) -> bool {
        let last = path.rsplit('.').next().unwrap_or(path);
        if !PADDING.iter().any(|word| last.contains(word)) {
            return false;
        }
        let whole = self.0.len() > 1
            && self.0.iter().any(|view| extent == Extent { offset: 0, size: view.size });
        whole
            || self.0.iter().any(|view| view.members.free.iter().any(|free| within(extent, *free)))
    }
}

/// Returns whether `inner` lies wholly in `outer`.
fn within(inner: Extent, outer: Extent) -> bool {
    outer.offset <= inner.offset && inner.offset + inner.size <= outer.offset + outer.size
}
