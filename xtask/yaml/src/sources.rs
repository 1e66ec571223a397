//! The texts of a description, and the folder that they are read from.

use super::read::read;
use super::tree::Value;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One YAML file.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// The file's name without folder and ending; `manifest` for the manifest.
    pub name: String,
    /// The path, as printed.
    pub path: String,
    /// What it holds; empty where it cannot be read, and with U+FFFD for each byte that is no
    /// UTF-8.
    pub text: String,
    /// Why the text is not what the file holds.
    pub fault: Option<ReadFault>,
}

/// Why a file's text could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// The system refused; its words.
    Unreadable(String),
    /// The bytes are no UTF-8 from this offset on.
    NotUtf8 {
        /// Offset in bytes, the same in the file and in [`SourceText::text`].
        offset: usize,
    },
}

/// All files of a description.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The manifest, then the files in the manifest's order, then those that it does not list.
    pub files: Vec<SourceText>,
}

impl Sources {
    /// Creates a description that lies in memory: pairs of name and text, the manifest first.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let file = |(name, text): (&str, &str)| SourceText {
            name: name.to_owned(),
            path: format!("{name}.yaml"),
            text: text.to_owned(),
            fault: None,
        };
        Self { files: texts.into_iter().map(file).collect() }
    }

    /// Returns the file of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&SourceText> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// The name of the manifest, without the ending.
const MANIFEST: &str = "manifest";

/// Why a folder is no description at all. What is wrong with a single file is told by
/// [`SourceText::fault`] instead.
#[derive(Debug)]
pub enum LoadError {
    /// The folder cannot be read.
    Folder(PathBuf, std::io::Error),
    /// There is no manifest in it.
    NoManifest(PathBuf),
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path, error) => {
                write!(out, "cannot read the folder `{}`: {error}", path.display())
            }
            Self::NoManifest(path) => {
                write!(out, "there is no `manifest.yaml` in `{}`", path.display())
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder(_, error) => Some(error),
            Self::NoManifest(_) => None,
        }
    }
}

/// Reads every YAML file of the folder, listed in the manifest or not.
///
/// # Errors
/// When the folder cannot be read or holds no manifest.
pub fn load(folder: &Path) -> Result<Sources, LoadError> {
    let unreadable = |error| LoadError::Folder(folder.to_owned(), error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        files.extend(yaml_name(&path).map(|name| read_file(&path, name)));
    }
    let manifest = files
        .iter()
        .find(|file| file.name == MANIFEST)
        .ok_or_else(|| LoadError::NoManifest(folder.to_owned()))?;
    let listed = listed_files(&manifest.text);
    let ranks: HashMap<_, _> =
        listed.iter().enumerate().map(|(rank, name)| (name.as_str(), rank)).collect();
    let rank = |name: &str| ranks.get(name).copied().unwrap_or(listed.len());
    files.sort_by_cached_key(|file| (file.name != MANIFEST, rank(&file.name), file.name.clone()));
    Ok(Sources { files })
}

/// Returns the name of a YAML file; one that ends in `.yml` keeps its ending, so that it is never
/// taken for a listed file.
fn yaml_name(path: &Path) -> Option<String> {
    match path.extension()?.to_str()? {
        "yaml" => Some(path.file_stem()?.to_string_lossy().into_owned()),
        "yml" => Some(path.file_name()?.to_string_lossy().into_owned()),
        _ => None,
    }
}

fn read_file(path: &Path, name: String) -> SourceText {
    let (text, fault) = match std::fs::read(path) {
        Err(error) => (String::new(), Some(ReadFault::Unreadable(error.to_string()))),
        Ok(bytes) => match String::from_utf8(bytes) {
            // A byte order mark takes no column.
            Ok(text) => (text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text), None),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                (
                    String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    Some(ReadFault::NotUtf8 { offset }),
                )
            }
        },
    };
    SourceText { name, path: path.display().to_string(), text, fault }
}

/// Returns the names under `files`, as far as they can be made out; the parser reports what is
/// wrong with them.
fn listed_files(manifest: &str) -> Vec<String> {
    let tree = read(manifest).root;
    let files = match tree.as_ref().map(|root| &root.value) {
        Some(Value::Mapping(root)) => root.get("files"),
        _ => None,
    };
    match files.map(|entry| &entry.value.value) {
        Some(Value::Sequence(items)) => {
            items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_manifest_s_order_and_the_others_last() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("manifest.yaml", "files: [b, a]"),
            ("a.yaml", "x"),
            ("b.yaml", "x"),
            ("0.yaml", "x"),
            ("c.yml", "x"),
            ("README.md", "x"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let names: Vec<_> =
            load(folder.path()).unwrap().files.into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["manifest", "b", "a", "0", "c.yml"]);
    }

    #[test]
    fn a_file_that_is_no_utf8_is_kept_with_its_fault() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("manifest.yaml"), b"files: [\xff]").unwrap();
        let sources = load(folder.path()).unwrap();
        assert_eq!(sources.files[0].fault, Some(ReadFault::NotUtf8 { offset: 8 }));
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("manifest.yaml"), "\u{feff}files: []").unwrap();
        assert_eq!(load(folder.path()).unwrap().files[0].text, "files: []");
    }

    #[test]
    fn a_folder_without_manifest_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(folder.path()), Err(LoadError::NoManifest(_))));
        assert!(matches!(load(&folder.path().join("none")), Err(LoadError::Folder(..))));
    }
}
