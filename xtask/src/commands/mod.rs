//! What the command line offers: each command only strings steps together.

use std::path::{Path, PathBuf};

pub mod facts;
pub mod test;

/// The workspace's root.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A release on the command line.
///
/// # Errors
/// The text is none.
pub fn parse_release(text: &str) -> Result<crate::document::Release, String> {
    text.parse().map_err(|()| "a release is written as 4.17".to_owned())
}
