//! The description as Rust values: what the YAML files say, and where they say it.
//!
//! Nothing here computes a layout or judges anything. Every item knows its [`Place`], so that later steps can point at the text.

mod availability;
mod items;
mod manifest;
mod place;

pub use availability::{ArchSet, Availability, ReleaseRange};
pub use items::*;
pub use manifest::{ArchId, Architecture, Manifest, Release, ReleaseId};
pub use place::{Place, Side, Step};

/// A whole description: the manifest and the files that it lists, in its order.
#[derive(Clone, Debug)]
pub struct Document {
    /// Releases, architectures, files.
    pub manifest: Manifest,
    /// The subject files.
    pub files: Vec<File>,
}
