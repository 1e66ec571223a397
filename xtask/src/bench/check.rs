//! A cold check of xen-pac against one of the crate that svd2rust makes.

use std::path::Path;
use std::process::Command;

use super::rival::Rival;
use super::usage::{Usage, measure, median};
use super::{ratio, row};
use crate::document::Document;

/// Measures both, dependencies included, and returns a table.
///
/// # Errors
///
/// svd2rust is missing, or something that was measured failed.
pub fn check(document: &Document, root: &Path, runs: usize) -> Result<String, String> {
    let folder = root.join("target/bench");
    let rival = Rival::new(document, &folder.join("rival"))?;
    rival.generate()?;
    let target = folder.join("cold");
    let theirs = median(runs, || cold_check(rival.folder(), &[], &target))?;
    let ours = median(runs, || cold_check(root, &["--package", "xen-pac"], &target))?;
    Ok(format!(
        "The same description; medians of {runs} runs, each with an empty target directory.\n\n\
         | what | processor | wall |\n|---|---|---|\n{}\n{}\n\n\
         processor time, ours / theirs: {:.3}",
        row("`cargo check -p xen-pac`", ours),
        row("`cargo check` of svd2rust's crate", theirs),
        ratio(ours, theirs),
    ))
}

fn cold_check(folder: &Path, args: &[&str], target: &Path) -> Result<Usage, String> {
    if target.exists() {
        std::fs::remove_dir_all(target)
            .map_err(|error| format!("{}: {error}", target.display()))?;
    }
    measure(
        Command::new("cargo")
            .arg("check")
            .args(args)
            .env("CARGO_TARGET_DIR", target)
            .current_dir(folder),
    )
}
