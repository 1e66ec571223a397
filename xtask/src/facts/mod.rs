//! What a C compiler measured in the public headers of each release: struct layouts, constants, and
//! where each exists.
//!
//! `abi-yaml/facts/` keeps them in a compact form, the history of each value ([`text`]); [`json`]
//! is the form in which one release and architecture is exchanged, and [`measure`] makes such a
//! table from a tree of headers.

pub mod grid;
mod history;
pub mod json;
pub mod measure;
pub mod scope;
pub mod store;
pub mod table;
pub mod text;

pub use grid::{Cell, Column, Grid};
pub use history::{Facts, StructFacts};
pub use table::{Extent, StructTable, Table};

use std::path::PathBuf;

/// Why facts could not be read or written.
#[derive(Debug)]
pub enum FactsError {
    /// A file or folder could not be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A table in JSON is not of the right form.
    Json {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// A line of the compact form is not of the right form.
    Text {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// Tables that do not go together.
    Tables(String),
}

impl std::fmt::Display for FactsError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { path, error } => write!(out, "{}: {error}", path.display()),
            Self::Json { file, why } => write!(out, "{file}: {why}"),
            Self::Text { file, line, why } => write!(out, "{file}:{line}: {why}"),
            Self::Tables(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for FactsError {}
