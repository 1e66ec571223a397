//! What can go wrong with the generated folder.

use std::path::{Path, PathBuf};

/// Why the generated folder could not be brought up to date.
#[derive(Debug)]
pub enum OutputError {
    /// The system refused to do something with a path.
    Io {
        /// What was to be done, as in "cannot read".
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A handwritten file is in the way.
    Foreign(PathBuf),
    /// Something went wrong, and putting things back did so as well.
    NotUndone {
        /// What went wrong first.
        first: Box<OutputError>,
        /// What went wrong while the old files were put back.
        then: Box<OutputError>,
    },
}

impl OutputError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { what, path, error }
    }
}

impl std::fmt::Display for OutputError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { what, path, error } => {
                write!(out, "cannot {what} `{}`: {error}", path.display())
            }
            Self::Foreign(path) => {
                write!(
                    out,
                    "`{}` was not made by `cargo xtask regen`, and so is not overwritten: move it \
                     away",
                    path.display()
                )
            }
            Self::NotUndone { first, then } => {
                write!(
                    out,
                    "{first}; and then, while the old files were put back: {then}; run `cargo \
                     xtask regen` once that is mended"
                )
            }
        }
    }
}

impl std::error::Error for OutputError {}
