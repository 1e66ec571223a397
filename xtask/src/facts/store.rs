//! Folders of facts: the compact form in `abi-yaml/facts`, and folders of JSON tables.

use super::history::Facts;
use super::table::Table;
use super::{FactsError, json, text};
use std::fs;
use std::path::{Path, PathBuf};

/// Reads the compact form.
///
/// # Errors
/// A file that cannot be read, or a line that is not of its form.
pub fn load(folder: &Path) -> Result<Facts, FactsError> {
    let file = |name: &str| read(&folder.join(name));
    text::read(&file(text::RELEASES)?, &file(text::CONSTANTS)?, &file(text::STRUCTS)?)
}

/// Writes the compact form, and says which files changed.
///
/// # Errors
/// A file that cannot be written.
pub fn save(facts: &Facts, folder: &Path) -> Result<Vec<&'static str>, FactsError> {
    let mut changed = Vec::new();
    fs::create_dir_all(folder)
        .map_err(|error| FactsError::Io { path: folder.to_owned(), error })?;
    for (name, text) in text::write(facts) {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        write(&path, &text)?;
        changed.push(name);
    }
    Ok(changed)
}

/// Reads every `.json` file below a folder, in the order of their paths.
///
/// # Errors
/// A file that cannot be read or that holds no table.
pub fn load_tables(folder: &Path) -> Result<Vec<Table>, FactsError> {
    let mut files = Vec::new();
    find(folder, &mut files)?;
    files.sort_unstable();
    files.iter().map(|path| json::read(&path.display().to_string(), &read(path)?)).collect()
}

/// Writes tables as `RELEASE/ARCH.json` below a folder.
///
/// # Errors
/// A file that cannot be written.
pub fn save_tables(tables: &[Table], folder: &Path) -> Result<(), FactsError> {
    for table in tables {
        let below = folder.join(table.release.to_string());
        fs::create_dir_all(&below)
            .map_err(|error| FactsError::Io { path: below.clone(), error })?;
        write(&below.join(format!("{}.json", table.arch)), &json::write(table))?;
    }
    Ok(())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), FactsError> {
    let wrong = |error| FactsError::Io { path: folder.to_owned(), error };
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, FactsError> {
    fs::read_to_string(path).map_err(|error| FactsError::Io { path: path.to_owned(), error })
}

fn write(path: &Path, text: &str) -> Result<(), FactsError> {
    fs::write(path, text).map_err(|error| FactsError::Io { path: path.to_owned(), error })
}
