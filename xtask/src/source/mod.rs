//! The folder of YAML files as text, and each text as a tree of nodes that know where they stand.

mod load;
pub mod yaml;

pub use load::{LoadError, load};

/// One YAML file.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// The file's name without folder and ending; `manifest` for the manifest.
    pub name: String,
    /// The path, as it is to be shown.
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
    /// A description that lies in memory: pairs of name and text, the manifest first.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let file = |(name, text): (&str, &str)| SourceText {
            name: name.to_owned(),
            path: format!("{name}.yaml"),
            text: text.to_owned(),
            fault: None,
        };
        Self { files: texts.into_iter().map(file).collect() }
    }

    /// The file of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&SourceText> {
        self.files.iter().find(|file| file.name == name)
    }
}
