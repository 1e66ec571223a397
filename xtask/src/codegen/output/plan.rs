//! What has to change in the generated folder.

use super::error::OutputError;
use crate::codegen::{Generated, MARK};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file that has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file's name in the folder.
    pub name: String,
    /// What it holds; `None` if it is not there.
    pub old: Option<String>,
    /// What it shall hold; `None` if it has no source any more.
    pub new: Option<String>,
}

/// The difference between what was rendered and what is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The generated folder.
    pub folder: PathBuf,
    /// The files that have to change, by name.
    pub changes: Vec<Change>,
    /// How many files are as they shall be.
    pub unchanged: usize,
    /// Files in the folder that were not generated; they are left alone.
    pub foreign: Vec<String>,
}

impl Plan {
    /// Compares `files` with what is in `folder`, which need not exist.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file of somebody else is where a generated one shall
    /// be.
    pub fn new(files: &[Generated], folder: &Path) -> Result<Self, OutputError> {
        let mut present = read(folder)?;
        let mut plan = Self {
            folder: folder.to_owned(),
            changes: Vec::new(),
            unchanged: 0,
            foreign: Vec::new(),
        };
        for file in files {
            let new = Some(file.text.clone());
            match present.remove(&file.path) {
                Some(Found::Generated(old)) if old == file.text => plan.unchanged += 1,
                Some(Found::Generated(old)) => {
                    plan.changes.push(Change { name: file.path.clone(), old: Some(old), new })
                }
                Some(Found::Foreign) => return Err(OutputError::Foreign(folder.join(&file.path))),
                None => plan.changes.push(Change { name: file.path.clone(), old: None, new }),
            }
        }
        for (name, found) in present {
            match found {
                Found::Generated(old) => {
                    plan.changes.push(Change { name, old: Some(old), new: None })
                }
                Found::Foreign => plan.foreign.push(name),
            }
        }
        plan.changes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(plan)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many files are new or different.
    #[must_use]
    pub fn written(&self) -> usize {
        self.changes.iter().filter(|change| change.new.is_some()).count()
    }

    /// How many files go.
    #[must_use]
    pub fn removed(&self) -> usize {
        self.changes.len() - self.written()
    }
}

/// Something in the folder.
enum Found {
    /// A file that an earlier run made, with its text.
    Generated(String),
    /// Anything else.
    Foreign,
}

fn read(folder: &Path) -> Result<BTreeMap<String, Found>, OutputError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(OutputError::io("read the folder", folder)(error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(OutputError::io("read the folder", folder))?;
        let path = entry.path();
        let is_file = entry.file_type().map_err(OutputError::io("read", &path))?.is_file();
        let bytes = if is_file {
            std::fs::read(&path).map_err(OutputError::io("read", &path))?
        } else {
            Vec::new()
        };
        let text = String::from_utf8(bytes).ok().filter(|text| text.starts_with(MARK));
        found.insert(
            entry.file_name().to_string_lossy().into_owned(),
            text.map_or(Found::Foreign, Found::Generated),
        );
    }
    Ok(found)
}
