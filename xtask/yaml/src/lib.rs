//! Reads the folder of YAML files: each text becomes a tree of nodes that know their place.
//!
//! The tree is built from `saphyr-parser`'s events and not through serde. Only the events show
//! anchors and tags (which the description refuses), tell `"4.10"` from `4.10`, and give the exact
//! place of each node, so that every error can be drawn.

mod read;
mod sources;
#[cfg(test)]
mod tests;
mod tree;

pub use read::read;
pub use sources::{LoadError, ReadFault, SourceText, Sources, load};
pub use tree::{Entry, Fault, MAX_DEPTH, Mapping, Node, Place, Side, Step, Tree, Value};
