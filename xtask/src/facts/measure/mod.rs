//! Measures a tree of public headers: a C compiler reads them, and its debug information and its
//! macros become a [`Table`].
//!
//! Three steps: choose the headers that compile ([`headers`]), turn each macro that is an integer
//! constant into an enumerator ([`macros`]), and read structs and enumerators from the DWARF of one
//! object file ([`dwarf`]).

pub mod compiler;
pub mod dwarf;
pub mod headers;
pub mod macros;
pub mod nodes;
pub mod object_file;

pub use compiler::{Compiler, Target};

use super::table::{StructTable, Table};
use crate::document::Release;
use headers::Tree;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why headers could not be measured.
#[derive(Debug)]
pub enum MeasureError {
    /// The folder holds no `xen.h`.
    NoHeaders(PathBuf),
    /// No compiler for that architecture is here; how to get one.
    NoCompiler {
        /// The architecture.
        arch: String,
        /// What to do.
        remedy: String,
    },
    /// A program or a file failed.
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The compiler refused what must compile.
    Refused {
        /// The command.
        compiler: String,
        /// What it said first.
        said: String,
    },
    /// The object file's debug information is not as expected.
    Dwarf(String),
}

impl std::fmt::Display for MeasureError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoHeaders(path) => write!(
                out,
                "there is no xen.h in {} or in the places below it where Xen keeps it",
                path.display()
            ),
            Self::NoCompiler { arch, remedy } => {
                write!(out, "no C compiler for {arch} is here; {remedy}")
            }
            Self::Io { what, error } => write!(out, "{what}: {error}"),
            Self::Refused { compiler, said } => write!(out, "`{compiler}` refused: {said}"),
            Self::Dwarf(why) => write!(out, "the debug information cannot be read: {why}"),
        }
    }
}

impl std::error::Error for MeasureError {}

impl From<gimli::Error> for MeasureError {
    fn from(error: gimli::Error) -> Self {
        Self::Dwarf(error.to_string())
    }
}

impl From<object::Error> for MeasureError {
    fn from(error: object::Error) -> Self {
        Self::Dwarf(error.to_string())
    }
}

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
    let chosen = headers::choose(tree, target, compiler)?;
    let source = headers::include_all(tree, &chosen.headers);
    let names = macros::object_like(tree, compiler, &source)?;
    let constant = macros::constant(compiler, &source, &names)?;
    let (structs, mut constants) =
        dwarf::read(tree, &macros::compile(compiler, &source, &constant)?)?;
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
