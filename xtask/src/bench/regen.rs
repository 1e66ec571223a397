//! Compares a full regen, and a cold check of its output, with svd2rust.

use super::svd::Rival;
use super::usage::{Usage, measure, median};
use super::{ratio, row};
use crate::document::Document;
use std::path::Path;
use std::process::Command;

/// Measures both generators in turn, and returns a table.
///
/// # Errors
///
/// If svd2rust is missing, or a measured command fails.
pub fn regen(document: &Document, root: &Path, runs: usize) -> Result<String, String> {
    let folder = root.join("target/bench");
    let rival = Rival::new(document, &folder.join("rival"))?;
    let theirs = median(runs, || rival.generate())?;
    let ours = median(runs, || full_regen(root, &folder.join("generated")))?;
    through_cargo(root, &folder.join("generated"))?;
    let alias = median(runs, || through_cargo(root, &folder.join("generated")))?;
    Ok(format!(
        "A description of {} registers and {} fields; medians of {runs} runs.\n\n\
         | what | processor | wall |\n|---|---|---|\n{}\n{}\n{}\n\n\
         processor time, ours / theirs: {:.3}; with cargo's own: {:.3}",
        rival.registers,
        rival.fields,
        row("regen, nothing there before", ours),
        row("the same by `cargo xtask regen`, cargo included", alias),
        row("`svd2rust`, then `rustfmt`", theirs),
        ratio(ours, theirs),
        ratio(alias, theirs),
    ))
}

/// Generates every file.
fn full_regen(root: &Path, out: &Path) -> Result<Usage, String> {
    if out.exists() {
        std::fs::remove_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    }
    let this = std::env::current_exe()
        .map_err(|error| format!("cannot find the path of this program: {error}"))?;
    measure(Command::new(this).arg("regen").arg("--out").arg(out).current_dir(root))
}

/// Does the same through cargo, which first checks that the generator is up to date.
fn through_cargo(root: &Path, out: &Path) -> Result<Usage, String> {
    if out.exists() {
        std::fs::remove_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    }
    measure(Command::new("cargo").args(["xtask", "regen", "--out"]).arg(out).current_dir(root))
}

/// Measures the check of both crates, dependencies included, and returns a table.
///
/// # Errors
///
/// If svd2rust is missing, or a measured command fails.
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
