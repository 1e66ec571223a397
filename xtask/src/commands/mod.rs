//! What the command line offers: each command only strings steps together.

use std::path::{Path, PathBuf};

pub mod test;

/// The workspace's root.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
