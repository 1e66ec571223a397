//! Measures the public headers of each release with C compilers, and compares the description with
//! the measurements.
//!
//! [`measure`] makes a table of struct layouts and constants from a [`tree`] of headers and one
//! [`compiler`]. [`facts`] puts the tables of all releases and architectures together; [`store`]
//! keeps them in `abi-yaml/facts`. [`verify`] compares.

pub mod bump;
pub mod compiler;
pub mod diff;
pub mod dwarf;
pub mod facts;
pub mod measure;
pub mod nodes;
pub mod scope;
pub mod store;
pub mod tree;
pub mod verify;

use std::path::PathBuf;

/// The reason why facts could not be read or written.
#[derive(Debug)]
pub enum FactsError {
    /// A file or folder could not be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line of a file of facts is malformed.
    Text {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// The tables contradict each other.
    Tables(String),
}

impl std::fmt::Display for FactsError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { path, error } => write!(out, "{}: {error}", path.display()),
            Self::Text { file, line, why } => write!(out, "{file}:{line}: {why}"),
            Self::Tables(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for FactsError {}

/// The reason why headers could not be measured.
#[derive(Debug)]
pub enum MeasureError {
    /// There is no folder of that name.
    NoFolder {
        /// The name.
        path: PathBuf,
        /// True if it is a file's.
        is_file: bool,
    },
    /// The folder holds no `xen.h`.
    NoHeaders(PathBuf),
    /// The file `xen.h` is not Xen's: it lacks this macro.
    NotXen {
        /// The file.
        path: PathBuf,
        /// The macro.
        lacks: &'static str,
    },
    /// No compiler for the architecture was found.
    NoCompiler {
        /// The architecture.
        arch: String,
        /// How to install one.
        remedy: String,
    },
    /// A program or a file failed.
    Io {
        /// The operation that failed.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The compiler rejected code that must compile.
    Refused {
        /// The command.
        compiler: String,
        /// What it said first.
        said: String,
    },
    /// A header does not compile, and does not refuse a guest on purpose.
    Header {
        /// Which, relative to the tree.
        header: String,
        /// The compiler.
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
            Self::NoFolder { path, is_file: true } => {
                write!(out, "{} is a file; expected a directory of headers", path.display())
            }
            Self::NoFolder { path, is_file: false } => {
                write!(out, "{}: no such directory", path.display())
            }
            Self::NotXen { path, lacks } => write!(
                out,
                "{} is not Xen's public header: it does not define `{lacks}`",
                path.display()
            ),
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
            Self::Header { header, compiler, said } => {
                write!(out, "{header} does not compile with `{compiler}`: {said}")
            }
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
