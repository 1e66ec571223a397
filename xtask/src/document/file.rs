//! The whole description, and a subject file of it.

use super::commands::{CommandSet, Convention};
use super::manifest::Manifest;
use super::structs::Struct;
use super::types::{Constant, Encoding, Enumeration, TypeAlias, Word};

/// A whole description: the manifest and the files that it lists, in its order.
#[derive(Clone, Debug)]
pub struct Document {
    /// Releases, architectures, files.
    pub manifest: Manifest,
    /// The subject files.
    pub files: Vec<File>,
}

/// A subject file.
#[derive(Clone, Debug)]
pub struct File {
    /// The file's name without folder and ending; the name of the module that is made of it.
    pub name: String,
    /// What the file is about.
    pub doc: String,
    /// The section `types`.
    pub types: Vec<TypeAlias>,
    /// The section `constants`.
    pub constants: Vec<Constant>,
    /// The section `enumerations`.
    pub enumerations: Vec<Enumeration>,
    /// The section `words`.
    pub words: Vec<Word>,
    /// The section `encodings`.
    pub encodings: Vec<Encoding>,
    /// The section `conventions`.
    pub conventions: Vec<Convention>,
    /// The sections `blocks` and `arguments`, in the order of the file.
    pub structs: Vec<Struct>,
    /// The section `commands`.
    pub commands: Vec<CommandSet>,
}
