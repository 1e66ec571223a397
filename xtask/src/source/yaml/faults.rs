//! What can be wrong with a YAML text, before anybody asks what it means.

use super::MAX_DEPTH;
use std::ops::Range;

/// Something that is not allowed, with the text that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The bytes at fault.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write at the underlined text.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Another text that belongs to it, and what to write there.
    pub related: Option<(Range<usize>, String)>,
}

impl Fault {
    fn new(span: Range<usize>, message: &str, label: &str, help: &str) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            span,
            message: message.to_owned(),
            label: some(label),
            help: some(help),
            related: None,
        }
    }

    pub(super) fn anchor(span: Range<usize>) -> Self {
        Self::new(
            span,
            "anchors are not allowed",
            "an anchor",
            "write the value out wherever it is needed",
        )
    }

    pub(super) fn alias(span: Range<usize>) -> Self {
        Self::new(
            span,
            "aliases are not allowed",
            "an alias",
            "write the value out wherever it is needed",
        )
    }

    pub(super) fn tag(span: Range<usize>) -> Self {
        Self::new(
            span,
            "tags are not allowed",
            "a tag",
            "leave it out; put text that looks like a number into quotes",
        )
    }

    pub(super) fn directive(span: Range<usize>) -> Self {
        Self::new(span, "directives are not allowed", "a directive", "leave the line out")
    }

    pub(super) fn second_document(span: Range<usize>) -> Self {
        Self::new(span, "a file holds one document only", "another document begins here", "")
    }

    pub(super) fn complex_key(span: Range<usize>) -> Self {
        Self::new(span, "a key must be text", "this begins a sequence or a mapping", "")
    }

    pub(super) fn too_deep(span: Range<usize>) -> Self {
        let help = format!("no description needs more than {MAX_DEPTH} levels");
        Self::new(span, "nested too deeply", "the rest of the file was not read", &help)
    }

    pub(super) fn empty() -> Self {
        Self::new(
            0..0,
            "the file is empty",
            "",
            "the manifest has `releases`, `architectures` and `files`, any other file at least `doc` and `header`",
        )
    }

    pub(super) fn syntax(span: Range<usize>, info: &str) -> Self {
        Self::new(span, "this is not valid YAML", info, "")
    }

    pub(super) fn duplicate(span: Range<usize>, first: Range<usize>, key: &str) -> Self {
        let mut fault =
            Self::new(span, &format!("the key `{key}` is given twice"), "given again", "");
        fault.related = Some((first, "first given here".to_owned()));
        fault
    }
}
