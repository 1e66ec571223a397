//! The members that a struct has by its description in one release on one architecture, under their
//! paths in C.

use super::cells::Here;
use crate::document::{Field, FieldUse, Place, Shape, TypeRef};
use crate::facts::Extent;
use crate::resolve::{Basis, Item, Layout, Layouts};

/// A described member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its path in C.
    pub(super) path: String,
    /// Where it lies in the outermost struct.
    pub(super) extent: Extent,
    /// Whether C may have members inside that the description does not have: a guest handle's
    /// pointer, an array that C wraps.
    pub(super) opaque: bool,
    /// The text that describes it.
    pub(super) place: Place,
}

/// The members of a struct in one release on one architecture.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// Sorted by path.
    pub(super) named: Vec<Member>,
    /// Bytes that mean nothing, or to which the description gives no name in C: computed padding,
    /// reserved fields, nameless fields.
    pub(super) free: Vec<Extent>,
    /// Fields, neither reserved nor groups, for which C has no name.
    pub(super) unnamed: Vec<Place>,
}

impl Members {
    /// The member of that path.
    pub(super) fn member(&self, path: &str) -> Option<&Member> {
        self.named
            .binary_search_by(|member| member.path.as_str().cmp(path))
            .ok()
            .map(|index| &self.named[index])
    }
}

/// Lists them.
#[must_use]
pub(super) fn list(
    layouts: &Layouts<'_>,
    fields: &[Field],
    layout: &Layout,
    here: Here,
) -> Members {
    let mut members = Members::default();
    Walk { layouts, here, members: &mut members }.sequence(fields, layout, "", 0);
    members.named.sort_by(|one, other| one.path.cmp(&other.path));
    members
}

struct Walk<'w, 'd> {
    layouts: &'w Layouts<'d>,
    here: Here,
    members: &'w mut Members,
}

impl Walk<'_, '_> {
    fn sequence(&mut self, fields: &[Field], layout: &Layout, prefix: &str, base: u64) {
        for (offset, size) in layout.padding() {
            self.members
                .free
                .push(Extent { offset: base + u64::from(offset), size: u64::from(size) });
        }
        self.group(fields, layout, prefix, base);
    }

    fn group(&mut self, fields: &[Field], layout: &Layout, prefix: &str, base: u64) {
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
                    let place = field.head.place.key("name");
                    if field.use_ == FieldUse::Reserved {
                        self.members.free.push(extent);
                    }
                    self.members.named.push(Member {
                        path: path.clone(),
                        extent,
                        opaque: self.opaque(field),
                        place,
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

    fn unnamed(&mut self, field: &Field, extent: Extent, group: bool) {
        if group {
            return;
        }
        self.members.free.push(extent);
        if field.use_ != FieldUse::Reserved && field.head.c.is_none() {
            self.members.unnamed.push(field.head.place.key("name"));
        }
    }

    fn inside(&mut self, field: &Field, inner: &Layout, prefix: &str, base: u64) {
        match &field.shape {
            Shape::Union { members, .. } => self.group(members, inner, prefix, base),
            Shape::Struct(members) => self.sequence(members, inner, prefix, base),
            Shape::Type(TypeRef::Named(name)) => {
                if let Ok(Item::Struct(struct_)) =
                    self.layouts.names().type_(name, self.here.release, self.here.arch)
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
                    self.layouts.names().meaning(type_, self.here.release, self.here.arch);
                meaning.is_ok_and(|meaning| {
                    meaning.count.is_some() || matches!(meaning.basis, Basis::Handle(_))
                })
            }
            Shape::Type(_) | Shape::Union { .. } | Shape::Struct(_) => false,
        }
    }
}
