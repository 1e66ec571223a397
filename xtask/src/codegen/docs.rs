//! Documentation: the description's words as Markdown, followed by where and when the thing exists.

use super::context::Context;
use crate::document::{ArchId, ArchSet, Availability, Head};
use proc_macro2::TokenStream;
use quote::quote;

/// The width at which documentation is broken into lines.
const WIDTH: usize = 92;

/// Documentation in the making.
pub(super) struct Docs {
    paragraphs: Vec<String>,
    /// Short facts, gathered in the last paragraph.
    facts: Vec<String>,
}

impl Docs {
    /// A text of the description.
    pub(super) fn of(text: &str) -> Self {
        Self {
            paragraphs: paragraphs(text).map(|paragraph| escape(&paragraph)).collect(),
            facts: Vec::new(),
        }
    }

    /// The documentation of an item that stands on its own.
    pub(super) fn item(context: &Context<'_, '_>, head: &Head) -> Self {
        let manifest = context.manifest();
        let whole = Availability {
            releases: manifest.all_releases(),
            honoured_since: None,
            archs: manifest.all_archs(),
        };
        Self::part(context, head, whole)
    }

    /// The documentation of an item inside one that exists `within`, with its C name.
    pub(super) fn part(context: &Context<'_, '_>, head: &Head, within: Availability) -> Self {
        let mut docs = Self::of(&head.doc);
        let header = format!("`xen/include/public/{}`", head.header);
        docs.facts.push(match &head.c {
            Some(c) => format!("Upstream: {header}, `{c}`."),
            None => format!("Upstream: {header}."),
        });
        docs.available(context, head, within);
        docs
    }

    /// The documentation of a field or member, whose C name is told only where it differs.
    pub(super) fn member(context: &Context<'_, '_>, head: &Head, within: Availability) -> Self {
        let mut docs = Self::of(if head.doc.trim().is_empty() { "Reserved." } else { &head.doc });
        if let Some(c) = head.c.as_ref().filter(|c| **c != head.name) {
            docs.facts.push(format!("In C: `{c}`."));
        }
        docs.available(context, head, within);
        docs
    }

    /// Adds a fact, which is Markdown already.
    pub(super) fn fact(mut self, fact: impl Into<String>) -> Self {
        self.facts.extend(Some(fact.into()).filter(|fact| !fact.is_empty()));
        self
    }

    /// Adds a paragraph, which is Markdown already.
    pub(super) fn paragraph(mut self, text: impl Into<String>) -> Self {
        self.paragraphs.push(text.into());
        self
    }

    /// Adds what a careless call breaks, in the description's words.
    pub(super) fn hazard(mut self, text: &str) -> Self {
        self.paragraphs.push("# Hazard".to_owned());
        self.paragraphs.extend(paragraphs(text).map(|paragraph| escape(&paragraph)));
        self
    }

    /// Adds a line to the last paragraph, which is Markdown already and stays on a line of its own.
    pub(super) fn line(mut self, text: impl AsRef<str>) -> Self {
        match self.paragraphs.last_mut() {
            Some(last) => {
                last.push('\n');
                last.push_str(text.as_ref());
            }
            None => self.paragraphs.push(text.as_ref().to_owned()),
        }
        self
    }

    /// Adds a number that each architecture has, such as an offset.
    pub(super) fn per_arch(
        self,
        context: &Context<'_, '_>,
        what: &str,
        values: &[(ArchId, u32)],
    ) -> Self {
        let Some((_, first)) = values.first() else { return self };
        if values.iter().all(|(_, value)| value == first) {
            return self.fact(format!("{what} {first}."));
        }
        let each: Vec<String> = values
            .iter()
            .map(|(arch, value)| format!("{value} on {}", context.arch_name(*arch)))
            .collect();
        self.fact(format!("{what} {}.", each.join(", ")))
    }

    fn available(&mut self, context: &Context<'_, '_>, head: &Head, within: Availability) {
        let manifest = context.manifest();
        let own = head.availability;
        if own.releases.since > within.releases.since {
            self.facts.push(format!("Since Xen {}.", manifest.release(own.releases.since)));
        }
        if own.releases.until < within.releases.until {
            self.facts.push(format!("Until Xen {}.", manifest.release(own.releases.until)));
        }
        if let Some(release) = own.honoured_since {
            self.facts.push(format!("Xen honours it since {}.", manifest.release(release)));
        }
        if let Some(release) = head.named_since {
            self.facts
                .push(format!("The headers name it since Xen {}.", manifest.release(release)));
        }
        if own.archs.and(within.archs) != within.archs {
            self.facts.push(format!("Only on {}.", list(context, own.archs)));
        }
    }

    /// As the mark of what follows.
    pub(super) fn outer(self, context: &Context<'_, '_>) -> TokenStream {
        context.pages.docs(self.lines())
    }

    /// The same for what might be set on the line of something else, where a mark of a line of its
    /// own would be lost.
    pub(super) fn attributes(self) -> TokenStream {
        let lines = self.lines();
        quote!(#(#[doc = #lines])*)
    }

    /// As attributes of what is around.
    pub(super) fn inner(self) -> TokenStream {
        let lines = self.lines();
        quote!(#(#![doc = #lines])*)
    }

    fn lines(mut self) -> Vec<String> {
        if !self.facts.is_empty() {
            self.paragraphs.push(self.facts.join(" "));
        }
        let mut lines = Vec::new();
        for paragraph in &self.paragraphs {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            // Code and headings of ours come as they are.
            if paragraph.starts_with('#') || paragraph.starts_with("```") {
                lines.extend(paragraph.lines().map(|line| format!(" {line}")));
            } else {
                wrap(paragraph, &mut lines);
            }
        }
        lines
    }
}

fn list(context: &Context<'_, '_>, archs: ArchSet) -> String {
    let names: Vec<_> = archs.iter().map(|arch| context.arch_name(arch)).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

/// The paragraphs of a text, each on one line; code blocks are left alone.
fn paragraphs(text: &str) -> impl Iterator<Item = String> {
    text.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).map(|part| {
        if part.starts_with("```") {
            part.to_owned()
        } else {
            part.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    })
}

/// Breaks a paragraph into lines, never before a word that would begin a list, a heading or a
/// quotation.
fn wrap(paragraph: &str, lines: &mut Vec<String>) {
    let mut line = String::new();
    for word in paragraph.split(' ') {
        if !line.is_empty() && line.len() + word.len() >= WIDTH && !begins_markup(word) {
            lines.push(std::mem::take(&mut line));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
}

fn begins_markup(word: &str) -> bool {
    word.starts_with(['-', '+', '*', '#', '>', '=', '|', '~', '`', ':'])
        || word.ends_with(['.', ')']) && word.starts_with(|c: char| c.is_ascii_digit())
}

/// Makes Markdown that shows exactly `text`, except that code between backticks stays code.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let ticks = text.matches('`').count();
    for (at, part) in text.split('`').enumerate() {
        // Every other part is code, unless its closing backtick is missing.
        let code = at % 2 == 1 && ticks > at;
        if at > 0 {
            escaped.push_str(if !code && at % 2 == 1 { "\\`" } else { "`" });
        }
        if code {
            escaped.push_str(part);
        } else {
            plain(part, &mut escaped);
        }
    }
    if escaped.starts_with(['#', '+', '-', '=', '~', '|']) {
        escaped.insert(0, '\\');
    }
    escaped
}

fn plain(part: &str, escaped: &mut String) {
    for (at, word) in part.split(' ').enumerate() {
        if at > 0 {
            escaped.push(' ');
        }
        if word.starts_with("http://") || word.starts_with("https://") {
            let address = word.trim_end_matches(['.', ',', ';', ')']);
            escaped.extend(["<", address, ">", &word[address.len()..]]);
            continue;
        }
        for letter in word.chars() {
            if matches!(letter, '[' | ']' | '<' | '>' | '*' | '\\' | '|' | '~' | '&')
                || letter == '_' && (word.starts_with('_') || word.ends_with('_'))
            {
                escaped.push('\\');
            }
            escaped.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Docs, escape};

    #[test]
    fn markdown_and_html_are_escaped() {
        assert_eq!(escape("bits [7:0] of <x> * 2"), "bits \\[7:0\\] of \\<x\\> \\* 2");
        assert_eq!(escape("keep `a[0] < b` as code"), "keep `a[0] < b` as code");
        assert_eq!(escape("an odd ` is no code [x]"), "an odd \\` is no code \\[x\\]");
        assert_eq!(escape("__pad and a_b"), "\\_\\_pad and a_b");
        assert_eq!(escape("see https://xenbits.xen.org/x."), "see <https://xenbits.xen.org/x>.");
        assert_eq!(escape("# not a heading"), "\\# not a heading");
    }

    #[test]
    fn long_texts_are_broken_but_never_into_a_list() {
        let text = format!("{} - x", "word ".repeat(21).trim_end());
        let lines = Docs::of(&text).lines();
        assert!(lines.iter().all(|line| !line.trim_start().starts_with('-')), "{lines:?}");
        assert!(Docs::of(&"word ".repeat(100)).lines().iter().all(|line| line.len() <= 111));
    }

    #[test]
    fn paragraphs_are_kept() {
        assert_eq!(
            Docs::of("one\nline\n\nother").fact("Fact.").lines(),
            [" one line", "", " other", "", " Fact."]
        );
    }
}
