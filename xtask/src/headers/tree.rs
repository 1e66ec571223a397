//! A tree of Xen's public headers, and which of them compile for a guest.

use super::MeasureError;
use super::compiler::{Compiler, Target, first_error};
use std::path::{Path, PathBuf};

/// A folder of public headers.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The folder that holds `xen.h`, absolute.
    pub root: PathBuf,
}

/// Where `xen.h` may lie below a named folder.
const PLACES: [&str; 6] =
    ["", "xen/include/public", "include/public", "public", "include/xen", "xen"];

/// Folders that hold no guest ABI: the tools' view of other architectures, drivers of one operating
/// system, the security module.
const FOREIGN: [&str; 3] = ["foreign/", "sys/", "xsm/"];

/// Headers that compile everywhere and are about x86 all the same.
const X86_ONLY: [&str; 3] = ["hvm/e820.h", "hvm/hvm_info_table.h", "hvm/hvm_vcpu.h"];

/// The headers of a tree that a compiler took.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Relative to the tree, in the order in which they are included.
    pub headers: Vec<String>,
    /// Those it refused, and what it said.
    pub skipped: Vec<(String, String)>,
}

impl Tree {
    /// Finds the headers in a folder: an installed `/usr/include/xen`, or Xen's sources.
    ///
    /// # Errors
    /// There is no `xen.h`.
    pub fn find(folder: &Path) -> Result<Self, MeasureError> {
        let found =
            PLACES.iter().map(|place| folder.join(place)).find(|root| root.join("xen.h").is_file());
        let root = found
            .and_then(|root| root.canonicalize().ok())
            .ok_or_else(|| MeasureError::NoHeaders(folder.to_owned()))?;
        Ok(Self { root })
    }

    /// The headers for that architecture, relative to the root; `xen.h` first, the others sorted.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn headers(&self, target: &Target) -> Result<Vec<String>, MeasureError> {
        let mut names = Vec::new();
        list(&self.root, "", &mut names)?;
        names.retain(|name| {
            name != "xen.h" && !FOREIGN.iter().any(|folder| name.starts_with(folder))
        });
        names.retain(|name| !name.starts_with("arch-") || name.starts_with(target.header_prefix));
        names.retain(|name| {
            target.header_prefix == "arch-x86" || !X86_ONLY.contains(&name.as_str())
        });
        names.sort_unstable();
        names.insert(0, "xen.h".to_owned());
        Ok(names)
    }
}

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), MeasureError> {
    let wrong = |error| MeasureError::Io { what: folder.display().to_string(), error };
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.is_dir() {
            list(&path, &format!("{prefix}{name}/"), names)?;
        } else if name.ends_with(".h") {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// C that includes these headers of the tree, as a guest of the newest interface does.
#[must_use]
pub fn include_all(tree: &Tree, headers: &[String]) -> String {
    let mut source = String::from(
        "#include <stddef.h>\n#include <stdint.h>\n\
         #define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__\n",
    );
    for header in headers {
        source.push_str(&format!("#include \"{}\"\n", tree.root.join(header).display()));
    }
    source
}

/// Chooses the headers that compile, each together with those chosen before. Some are for the tools
/// only and say so with an error.
///
/// # Errors
/// The compiler cannot be run, or refuses `xen.h` itself.
pub fn choose(tree: &Tree, target: &Target, compiler: &Compiler) -> Result<Chosen, MeasureError> {
    let mut chosen = Chosen::default();
    for header in tree.headers(target)? {
        let mut attempt = chosen.headers.clone();
        attempt.push(header.clone());
        let output = compiler.run(&["-fsyntax-only"], &include_all(tree, &attempt))?;
        if output.status.success() {
            chosen.headers = attempt;
        } else if header == "xen.h" {
            return Err(compiler.refused(&output));
        } else {
            chosen.skipped.push((header, first_error(&output)));
        }
    }
    Ok(chosen)
}
