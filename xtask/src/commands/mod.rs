//! What the command line offers: each command only strings steps together.

use std::path::{Path, PathBuf};

pub mod bench;
pub mod facts;
pub mod fuzz;
pub mod guest;
pub mod regen;
pub mod test;
pub mod verify;

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

/// Where what is built goes: cargo's own folder, wherever that is.
#[must_use]
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace_root().join("target"), PathBuf::from)
}
