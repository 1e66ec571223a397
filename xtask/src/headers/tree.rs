//! A tree of Xen's public headers, and which of them compile for a guest.

use super::MeasureError;
use super::compiler::{Compiler, Target};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of public headers.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The folder that holds `xen.h`, absolute.
    pub root: PathBuf,
    /// A folder for the compiler's search path: other names of the tree, by which some headers
    /// include others, and the one header of a C library that a header of the tree includes.
    search: Arc<tempfile::TempDir>,
}

/// Where `xen.h` may lie below a named folder.
const PLACES: [&str; 6] =
    ["", "xen/include/public", "include/public", "public", "include/xen", "xen"];

/// Folders that are not part of the public tree: the layouts of other architectures for the tools,
/// and an operating system's own headers, which libxen-dev and linux-libc-dev install beside it.
const FOREIGN: [&str; 6] = ["foreign/", "sys/", "evtchn.h", "gntalloc.h", "gntdev.h", "privcmd.h"];

/// Headers that compile everywhere but are about x86.
const X86_ONLY: [&str; 3] = ["hvm/e820.h", "hvm/hvm_info_table.h", "hvm/hvm_vcpu.h"];

/// Parts of another header, which includes them itself.
const PARTS: [&str; 4] = [
    "arch-arm/hvm/save.h",
    "arch-x86/hvm/save.h",
    "arch-x86/xen-x86_32.h",
    "arch-x86/xen-x86_64.h",
];

/// The names of the tree in `#include` lines.
const NAMES: [&str; 2] = ["public", "xen"];

/// The headers of a tree that a guest can include.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Relative to the tree, in the order in which they are included.
    pub headers: Vec<String>,
    /// Those that refuse a guest with `#error`, and the message.
    pub skipped: Vec<(String, String)>,
}

impl Tree {
    /// Finds the headers in a folder: an installed `/usr/include/xen`, or Xen's sources.
    ///
    /// # Errors
    /// There is no such folder, or no `xen.h` in it.
    pub fn find(folder: &Path) -> Result<Self, MeasureError> {
        if !folder.is_dir() {
            let (path, is_file) = (folder.to_owned(), folder.exists());
            return Err(MeasureError::NoFolder { path, is_file });
        }
        let found =
            PLACES.iter().map(|place| folder.join(place)).find(|root| root.join("xen.h").is_file());
        let root = found
            .and_then(|root| root.canonicalize().ok())
            .ok_or_else(|| MeasureError::NoHeaders(folder.to_owned()))?;
        let wrong = |error| MeasureError::Io { what: "a temporary folder".to_owned(), error };
        let search = tempfile::tempdir().map_err(wrong)?;
        for name in NAMES {
            std::os::unix::fs::symlink(&root, search.path().join(name)).map_err(wrong)?;
        }
        fs::create_dir(search.path().join("sys")).map_err(wrong)?;
        fs::write(search.path().join("sys/types.h"), "").map_err(wrong)?;
        Ok(Self { root, search: Arc::new(search) })
    }

    /// Returns the folder that the compiler searches for headers.
    #[must_use]
    pub fn search(&self) -> &Path {
        self.search.path()
    }

    /// Returns the path of a file relative to the tree, if it is in the tree.
    #[must_use]
    pub fn relative(&self, file: &str) -> Option<String> {
        let names = NAMES.map(|name| self.search.path().join(name));
        let mut roots = names.iter().chain([&self.root]);
        let inside = roots.find_map(|root| file.strip_prefix(root.to_str()?)?.strip_prefix('/'))?;
        // A header that includes one of another folder names it by `..`.
        let mut parts = Vec::new();
        for part in inside.split('/') {
            if part == ".." {
                parts.pop()?;
            } else {
                parts.push(part);
            }
        }
        Some(parts.join("/"))
    }

    /// Returns the headers for that architecture, relative to the root; `xen.h` first, the others
    /// sorted.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn headers(&self, target: &Target) -> Result<Vec<String>, MeasureError> {
        let x86 = target.header_prefix == "arch-x86";
        let mut names = Vec::new();
        list(&self.root, "", &mut names)?;
        names.retain(|name| {
            let is_other = name.starts_with("arch-") && !name.starts_with(target.header_prefix)
                || FOREIGN.iter().any(|folder| name.starts_with(folder))
                || PARTS.contains(&name.as_str())
                || !x86 && X86_ONLY.contains(&name.as_str());
            name != "xen.h" && !is_other
        });
        names.sort_unstable();
        names.insert(0, "xen.h".to_owned());
        Ok(names)
    }
}

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), MeasureError> {
    let wrong = |error| MeasureError::Io { what: folder.display().to_string(), error };
    for entry in fs::read_dir(folder).map_err(wrong)? {
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

/// The lines before the first header of [`include_all`].
const PROLOGUE: &str = "\
#include <stddef.h>
#include <stdint.h>
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
";

/// C that includes these headers of the tree, as a guest of the newest interface does.
#[must_use]
pub fn include_all(tree: &Tree, headers: &[String]) -> String {
    let mut source = PROLOGUE.to_owned();
    for header in headers {
        source.push_str(&format!("#include \"{}\"\n", tree.root.join(header).display()));
    }
    source
}

/// Chooses the headers that a guest can include: those that do not refuse it with `#error`.
///
/// # Errors
/// The compiler cannot be run, or a header does not compile for another reason.
pub fn choose(tree: &Tree, target: &Target, compiler: &Compiler) -> Result<Chosen, MeasureError> {
    let mut chosen = Chosen { headers: tree.headers(target)?, skipped: Vec::new() };
    loop {
        let options = [&["-fsyntax-only"], compiler.every_error()].concat();
        let output = compiler.run(tree.search(), &options, &include_all(tree, &chosen.headers))?;
        if output.status.success() {
            return Ok(chosen);
        }
        let errors = errors(&String::from_utf8_lossy(&output.stderr));
        let mut refusals = errors.iter().filter(|(_, (refusal, _))| *refusal).peekable();
        if refusals.peek().is_none() {
            return Err(match errors.first_key_value() {
                Some((line, (_, said))) if *line > 0 && *line <= chosen.headers.len() => {
                    let header = chosen.headers[line - 1].clone();
                    MeasureError::Header {
                        header,
                        compiler: compiler.to_string(),
                        said: said.clone(),
                    }
                }
                _ => compiler.refused(&output),
            });
        }
        // The last one first, so that the others keep their places.
        for (line, (_, said)) in refusals.rev() {
            if *line == 0 || *line > chosen.headers.len() {
                return Err(compiler.refused(&output));
            }
            chosen.skipped.push((chosen.headers.remove(line - 1), said.clone()));
        }
        chosen.skipped.sort();
    }
}

/// Returns the first error below each line of [`include_all`] that includes a header, counted from
/// 1; and whether some error there is an `#error`, which is then the one that is given.
fn errors(said: &str) -> BTreeMap<usize, (bool, String)> {
    let prologue = PROLOGUE.lines().count();
    let mut errors: BTreeMap<usize, (bool, String)> = BTreeMap::new();
    let mut header = 0;
    let mut lines = said.lines().peekable();
    while let Some(line) = lines.next() {
        let from = line.split_once("from <stdin>:").map(|(_, rest)| rest);
        let number = from.and_then(|rest| rest.split([':', ',']).next()?.parse::<usize>().ok());
        header = number.map_or(header, |number| number.saturating_sub(prologue));
        if !line.contains("error:") {
            continue;
        }
        // The line below shows the source.
        let refusal =
            line.contains("#error") || lines.peek().is_some_and(|source| source.contains("#error"));
        let known = errors.entry(header).or_insert_with(|| (refusal, line.trim().to_owned()));
        if refusal && !known.0 {
            *known = (true, line.trim().to_owned());
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::errors;

    #[test]
    fn errors_belong_to_the_included_header() {
        let gcc = "\
In file included from <stdin>:5:
/x/a.h:1:2: error: #error \"tools only\"
    1 | #error \"tools only\"
/x/a.h:9:1: error: unknown type name 'u'
In file included from /x/b.h:3,
                 from <stdin>:6:
/x/c.h:7:1: error: expected ';'
";
        let clang = "\
In file included from <stdin>:5:
/x/a.h:1:2: error: tools only
    1 | #error tools only
In file included from <stdin>:6:
In file included from /x/b.h:3:
/x/c.h:7:1: error: expected ';'
";
        for (said, first) in [
            (gcc, "/x/a.h:1:2: error: #error \"tools only\""),
            (clang, "/x/a.h:1:2: error: tools only"),
        ] {
            let found: Vec<_> = errors(said).into_iter().collect();
            let expected = [
                (2, (true, first.to_owned())),
                (3, (false, "/x/c.h:7:1: error: expected ';'".to_owned())),
            ];
            assert_eq!(found, expected);
        }
    }
}
