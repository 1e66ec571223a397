//! What all items have in common.

use super::manifest::{ArchId, Availability, ReleaseId};
use crate::yaml::Place;
use std::collections::BTreeMap;

/// What every item has.
#[derive(Clone, Debug)]
pub struct Head {
    /// The name in the description.
    pub name: String,
    /// What it is.
    pub doc: String,
    /// The upstream header, relative to `xen/include/public/`.
    pub header: String,
    /// Where it exists. An item inside another exists at most where the outer one does; the parser
    /// has already narrowed it.
    pub availability: Availability,
    /// The name in C; `None` where the headers have none.
    pub c: Option<String>,
    /// The first release whose headers have the C name, where that is later than the item.
    pub named_since: Option<ReleaseId>,
    /// What to use instead.
    pub superseded_by: Option<String>,
    /// The item's node.
    pub place: Place,
}

/// A value that may differ by architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PerArch<T> {
    /// The same everywhere.
    Same(T),
    /// One for each architecture on which the item exists.
    Each(BTreeMap<ArchId, T>),
}

impl<T> PerArch<T> {
    /// The value on `arch`, if there is one.
    #[must_use]
    pub fn get(&self, arch: ArchId) -> Option<&T> {
        match self {
            Self::Same(value) => Some(value),
            Self::Each(values) => values.get(&arch),
        }
    }
}
