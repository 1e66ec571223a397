//! svd2rust and what it makes, to be measured beside us.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::svd;
use super::usage::{Usage, measure};
use crate::document::Document;
use crate::tools::find_program;

/// svd2rust with a device as large as the description.
#[derive(Debug)]
pub(super) struct Rival {
    program: PathBuf,
    folder: PathBuf,
    /// How many registers the device has.
    pub(super) registers: usize,
    /// How many fields the device has.
    pub(super) fields: usize,
}

impl Rival {
    /// Writes the device into `folder`.
    ///
    /// # Errors
    ///
    /// svd2rust is not installed, or the folder cannot be written.
    pub(super) fn new(document: &Document, folder: &Path) -> Result<Self, String> {
        let program = find_program("svd2rust")
            .ok_or("svd2rust is not here; `cargo install svd2rust` brings it")?;
        let device = svd::device(document);
        write(&folder.join("src/lib.rs"), "")?;
        write(&folder.join("device.svd"), &device.text)?;
        write(&folder.join("Cargo.toml"), MANIFEST)?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            registers: device.registers,
            fields: device.fields,
        })
    }

    /// Generates and formats the crate, as its users do.
    ///
    /// # Errors
    ///
    /// One of the two programs failed.
    pub(super) fn generate(&self) -> Result<Usage, String> {
        let generate = measure(
            Command::new(&self.program)
                .args(["--target", "none", "-i", "device.svd", "-o", "src"])
                .current_dir(&self.folder),
        )?;
        let format = measure(
            Command::new("rustfmt")
                .args(["--edition", "2021", "src/lib.rs"])
                .current_dir(&self.folder),
        )?;
        Ok(generate + format)
    }

    /// The crate that was generated.
    #[must_use]
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

const MANIFEST: &str = r#"[package]
name = "rival"
version = "0.0.0"
edition = "2021"

[features]
rt = []

[dependencies]
vcell = "0.1"

[workspace]
"#;

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
