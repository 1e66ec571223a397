//! Carries a plan out: every new file is written to a folder inside the generated one first, which
//! is on the same file system, and then renamed.
//!
//! A run that is interrupted leaves some files new and some old, each of them whole; the next run
//! compares again and does the rest. A step that fails has the steps before it undone.

use super::plan::{Change, OutputError, Plan, STAGED};
use std::fs;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Changes the folder as planned.
///
/// # Errors
/// When the system refuses anything; the folder is then as it was.
pub fn apply(plan: &Plan) -> Result<(), OutputError> {
    let stage = Stage::new(&plan.folder);
    stage.clear()?;
    if plan.is_empty() {
        return Ok(());
    }
    let steps = steps(plan);
    for (done, step) in steps.iter().enumerate() {
        if let Err(first) = stage.run(step) {
            let undone = steps[..done]
                .iter()
                .rev()
                .try_for_each(|step| stage.undo(step))
                .and_then(|()| stage.clear());
            return Err(match undone {
                Ok(()) => first,
                Err(then) => {
                    OutputError::NotUndone { first: Box::new(first), then: Box::new(then) }
                }
            });
        }
    }
    Ok(())
}

/// One thing that happens, whole or not at all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'p> {
    /// Makes the folder for new files, and the generated folder.
    Prepare,
    /// Writes a new file to the folder for new files.
    Stage(&'p Change, &'p str),
    /// Renames it into the folder.
    Install(&'p Change),
    /// Removes a file that has no source any more.
    Remove(&'p Change),
    /// Removes the folder for new files.
    Clear,
}

/// Returns all steps of a plan, in order.
pub(super) fn steps(plan: &Plan) -> Vec<Step<'_>> {
    let staged =
        plan.changes.iter().filter_map(|change| Some(Step::Stage(change, change.new.as_deref()?)));
    let installed = plan.changes.iter().filter(|change| change.new.is_some()).map(Step::Install);
    let removed = plan.changes.iter().filter(|change| change.new.is_none()).map(Step::Remove);
    [Step::Prepare]
        .into_iter()
        .chain(staged)
        .chain(installed)
        .chain(removed)
        .chain([Step::Clear])
        .collect()
}

/// The generated folder, and the one in which new files wait.
pub(super) struct Stage {
    folder: PathBuf,
    waiting: PathBuf,
}

impl Stage {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), waiting: folder.join(STAGED) }
    }

    pub(super) fn run(&self, step: &Step<'_>) -> Result<(), OutputError> {
        match step {
            Step::Prepare => {
                // A folder that is missing with the one around it is more likely a mistyped one.
                if !self.folder.is_dir() {
                    fs::create_dir(&self.folder)
                        .map_err(OutputError::io("make the folder", &self.folder))?;
                }
                fs::create_dir(&self.waiting)
                    .map_err(OutputError::io("make the folder", &self.waiting))
            }
            Step::Stage(change, text) => self.write(&change.name, text),
            Step::Install(change) => self.install(&change.name),
            Step::Remove(change) => self.remove(&change.name),
            Step::Clear => self.clear(),
        }
    }

    fn undo(&self, step: &Step<'_>) -> Result<(), OutputError> {
        match step {
            Step::Install(change) | Step::Remove(change) => match &change.old {
                Some(old) => {
                    self.write(&change.name, old).and_then(|()| self.install(&change.name))
                }
                None => self.remove(&change.name),
            },
            Step::Prepare | Step::Stage(..) | Step::Clear => Ok(()),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), OutputError> {
        let path = self.waiting.join(name);
        fs::write(&path, text).map_err(OutputError::io("write", &path))
    }

    fn install(&self, name: &str) -> Result<(), OutputError> {
        let path = self.folder.join(name);
        fs::rename(self.waiting.join(name), &path).map_err(OutputError::io("replace", &path))
    }

    fn remove(&self, name: &str) -> Result<(), OutputError> {
        let path = self.folder.join(name);
        fs::remove_file(&path).map_err(OutputError::io("remove", &path))
    }

    /// Removes what an interrupted run left waiting.
    fn clear(&self) -> Result<(), OutputError> {
        match fs::remove_dir_all(&self.waiting) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(OutputError::io("remove the folder", &self.waiting)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Keeps other runs from writing to a folder until it is dropped, or the process ends in whatever
/// way.
#[derive(Debug)]
pub struct Lock {
    _locked: Option<File>,
}

impl Lock {
    /// Waits until no other run writes to `folder`, which need not exist: the nearest folder around
    /// it that does is locked, and nothing is left behind. Where the system cannot lock a folder,
    /// there is no lock.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let Ok(folder) = std::path::absolute(folder) else { return Self { _locked: None } };
        let outside = folder.ancestors().skip(1);
        let locked = outside
            .filter_map(|folder| File::open(folder).ok())
            .find(|file| file.metadata().is_ok_and(|data| data.is_dir()));
        Self { _locked: locked.filter(|file| file.lock().is_ok()) }
    }
}
