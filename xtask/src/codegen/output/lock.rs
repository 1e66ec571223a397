//! One run at a time: two that write the same folder would take each other's files away.

use std::fs::File;
use std::path::Path;

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
