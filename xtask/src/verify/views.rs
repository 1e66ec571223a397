//! The blocks or arguments that describe one C struct in one release on one architecture, and what
//! they say of members that only C has.

use super::members::{Member, Members};
use crate::document::Struct;
use crate::facts::Extent;

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
    pub(super) members: Members,
}

/// All descriptions of a struct; several are the members of a union.
#[derive(Debug)]
pub(super) struct Views<'d>(pub(super) Vec<View<'d>>);

impl Views<'_> {
    /// The described member of that path.
    pub(super) fn member(&self, path: &str) -> Option<&Member> {
        self.0.iter().find_map(|view| view.members.member(path))
    }

    /// Whether a member that only C has follows from what is described.
    pub(super) fn imply(&self, path: &str, extent: Extent) -> bool {
        self.is_inside_opaque(path, extent)
            || self.is_group(path, extent)
            || self.is_shared(path, extent)
    }

    /// The pointer in a guest handle, the array in a struct that C wraps around it.
    fn is_inside_opaque(&self, path: &str, extent: Extent) -> bool {
        let around = path.match_indices('.').rev().find_map(|(dot, _)| self.member(&path[..dot]));
        around.is_some_and(|member| member.opaque && within(extent, member.extent))
    }

    /// A member of C of which the description has only the members, by their paths: it begins with
    /// one and holds them all.
    fn is_group(&self, path: &str, extent: Extent) -> bool {
        let inside = |member: &&Member| {
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
        let same = |member: &Member| {
            member.extent == extent
                && member.path.strip_suffix(path).is_some_and(|rest| rest.ends_with('.'))
        };
        self.0.len() > 1 && self.0.iter().all(|view| view.members.named.iter().any(same))
    }

    /// Whether a member that only C has is padding: by its name, and because no byte of it means
    /// anything.
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

/// Whether `inner` lies wholly in `outer`.
fn within(inner: Extent, outer: Extent) -> bool {
    outer.offset <= inner.offset && inner.offset + inner.size <= outer.offset + outer.size
}
