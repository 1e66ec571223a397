//! Measures a tree of public headers: a C compiler reads them, and its debug information and its
//! macros become a [`Table`].
//!
//! Three steps: choose the headers that compile ([`super::tree`]), turn each macro that is an
//! integer constant into an enumerator, and read structs and enumerators from the DWARF of one
//! object file ([`super::dwarf`]).

use super::MeasureError;
use super::compiler::{Compiler, Target};
use super::dwarf::{self, PREFIX};
use super::facts::{StructTable, Table};
use super::tree::{self, Tree};
use crate::document::Release;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What was measured, before it is known which release it is.
#[derive(Clone, Debug)]
pub struct Measured {
    /// `__XEN_LATEST_INTERFACE_VERSION__`.
    pub interface_version: u32,
    /// Structs by name.
    pub structs: BTreeMap<String, StructTable>,
    /// Constants by name.
    pub constants: BTreeMap<String, i128>,
    /// Which headers were read, relative to the tree.
    pub headers: Vec<String>,
    /// Which were not, and what the compiler said.
    pub skipped: Vec<(String, String)>,
    /// How many macros are no integer constants.
    pub other_macros: usize,
}

impl Measured {
    /// The table, now that the release is known.
    #[must_use]
    pub fn into_table(self, release: Release, arch: &str) -> Table {
        Table {
            release,
            interface_version: self.interface_version,
            arch: arch.to_owned(),
            structs: self.structs,
            constants: self.constants,
        }
    }
}

/// Macros that steer the headers and are no part of the ABI.
const STEERING: [&str; 2] = [LATEST, "__XEN_INTERFACE_VERSION__"];
const LATEST: &str = "__XEN_LATEST_INTERFACE_VERSION__";

/// Measures the tree with that compiler.
///
/// # Errors
/// The compiler cannot be run, refuses even `xen.h`, or writes debug information that cannot be
/// read.
pub fn measure(
    tree: &Tree,
    target: &Target,
    compiler: &Compiler,
) -> Result<Measured, MeasureError> {
    let chosen = tree::choose(tree, target, compiler)?;
    let source = tree::include_all(tree, &chosen.headers);
    let names = object_like(tree, compiler, &source)?;
    let constant = constant(compiler, &source, &names)?;
    let (structs, mut constants) = dwarf::read(tree, &compile(compiler, &source, &constant)?)?;
    let version = constants.get(LATEST).and_then(|version| u32::try_from(*version).ok());
    let interface_version =
        version.ok_or_else(|| MeasureError::Dwarf(format!("{LATEST} has no value")))?;
    for name in STEERING {
        constants.remove(name);
    }
    let other_macros = names.len() - constant.len();
    Ok(Measured {
        interface_version,
        structs,
        constants,
        headers: chosen.headers,
        skipped: chosen.skipped,
        other_macros,
    })
}

/// How often the compiler may name lines that it does not take, before something else must be
/// wrong.
const PASSES: usize = 20;

/// The object-like macros that the tree's headers define and that have a body, in alphabetical
/// order.
///
/// # Errors
/// The compiler cannot be run, or refuses the headers.
pub fn object_like(
    tree: &Tree,
    compiler: &Compiler,
    source: &str,
) -> Result<Vec<String>, MeasureError> {
    let output = compiler.run(&["-E", "-dD"], source)?;
    if !output.status.success() {
        return Err(compiler.refused(&output));
    }
    let root = format!("{}/", tree.root.display());
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(file) = line_marker(line) {
            inside = file.starts_with(&root);
        } else if let Some(definition) = line.strip_prefix("#define ").filter(|_| inside) {
            let (name, body) = definition.split_once(' ').unwrap_or((definition, ""));
            if !name.contains('(') && !body.trim().is_empty() {
                names.insert(name.to_owned());
            }
        } else if let Some(name) = line.strip_prefix("#undef ") {
            names.remove(name.trim());
        }
    }
    Ok(names.into_iter().collect())
}

/// The file in a line such as `# 12 "/usr/include/xen/xen.h" 1 3`.
fn line_marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("# ")?;
    rest.split_once('"')?.1.rsplit_once('"').map(|(file, _)| file)
}

/// Those of the macros that the compiler takes as the value of an enumerator.
///
/// # Errors
/// The compiler cannot be run, or refuses something else.
pub fn constant(
    compiler: &Compiler,
    source: &str,
    names: &[String],
) -> Result<Vec<String>, MeasureError> {
    let first = source.lines().count() + 1;
    let mut names = names.to_vec();
    for _ in 0..PASSES {
        let output = compiler.run(every_error(compiler), &enumerators(source, &names))?;
        if output.status.success() {
            return Ok(names);
        }
        let refused: BTreeSet<usize> =
            String::from_utf8_lossy(&output.stderr).lines().filter_map(refused_line).collect();
        let before = names.len();
        let mut line = first;
        names.retain(|_| {
            line += 1;
            !refused.contains(&(line - 1))
        });
        if names.len() == before {
            return Err(compiler.refused(&output));
        }
    }
    Err(MeasureError::Dwarf("the macros could not be told from one another".to_owned()))
}

/// The options by which a compiler reports every error, at our line and not at the macro's
/// definition.
fn every_error(compiler: &Compiler) -> &'static [&'static str] {
    if compiler.is_clang() {
        &["-fsyntax-only", "-ferror-limit=0"]
    } else {
        &["-fsyntax-only", "-fmax-errors=0", "-ftrack-macro-expansion=0"]
    }
}

/// The line of our source in a line such as `<stdin>:12:3: error: ...`.
fn refused_line(line: &str) -> Option<usize> {
    line.contains(" error: ").then_some(())?;
    line.strip_prefix("<stdin>:")?.split_once(':')?.0.parse().ok()
}

fn enumerators(source: &str, names: &[String]) -> String {
    let mut source = source.to_owned();
    for name in names {
        let _ = writeln!(source, "enum {{ {PREFIX}{name} = ({name}) }};");
    }
    source
}

/// The object file in which each macro is an enumerator.
///
/// # Errors
/// The compiler cannot be run, or refuses.
pub fn compile(
    compiler: &Compiler,
    source: &str,
    names: &[String],
) -> Result<Vec<u8>, MeasureError> {
    let folder = tempfile::tempdir()
        .map_err(|error| MeasureError::Io { what: "a temporary folder".to_owned(), error })?;
    compiler.object(&enumerators(source, names), &folder.path().join("measured.o"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_recognised() {
        assert_eq!(
            line_marker("# 12 \"/usr/include/xen/xen.h\" 1 3"),
            Some("/usr/include/xen/xen.h")
        );
        assert_eq!(line_marker("#define X \"y\""), None);
        assert_eq!(refused_line("<stdin>:12:3: error: no"), Some(12));
        assert_eq!(refused_line("<stdin>:12:3: note: no"), None);
    }
}
