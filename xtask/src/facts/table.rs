//! What the headers of one release hold on one architecture.

use crate::document::Release;
use std::collections::BTreeMap;

/// What the headers of one release hold on one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The release.
    pub release: Release,
    /// `__XEN_LATEST_INTERFACE_VERSION__`, with which the headers were compiled.
    pub interface_version: u32,
    /// Rust's name of the architecture.
    pub arch: String,
    /// Structs by their C tag (or, without a tag, by the name of their typedef).
    pub structs: BTreeMap<String, StructTable>,
    /// Enumerators, and macros that are integer constants.
    pub constants: BTreeMap<String, i128>,
}

/// A struct as a C compiler lays it out.
#[derive(Clone, Debug, Default)]
pub struct StructTable {
    /// Bytes.
    pub size: u64,
    /// Members by path (`u.interdomain.port`), in C's order. Members of anonymous unions and
    /// structs stand where those stand; the elements of arrays are not listed.
    pub members: Vec<(String, Extent)>,
}

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Bytes from the start of the outermost struct.
    pub offset: u64,
    /// Bytes. A bit field has those of its declared type.
    pub size: u64,
}

/// The order of members is for readers only; JSON objects have none.
impl PartialEq for StructTable {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |table: &Self| {
            table
                .members
                .iter()
                .map(|(path, extent)| (path.clone(), (extent.offset, extent.size)))
                .collect::<BTreeMap<_, _>>()
        };
        self.size == other.size && sorted(self) == sorted(other)
    }
}

impl Eq for StructTable {}

impl std::fmt::Display for Extent {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}+{}", self.offset, self.size)
    }
}
