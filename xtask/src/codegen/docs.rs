//! Documentation: the description's words as Markdown, followed by where and when the thing exists.

use super::context::Context;
use super::text::{BREAK, is_bullet, literal};
use crate::document::{ArchId, ArchSet, Availability, Head};
use proc_macro2::TokenStream;
use quote::quote;

/// Documentation in the making.
pub(super) struct Docs {
    /// Paragraphs, code, tables and headings, as lines of Markdown.
    blocks: Vec<Vec<String>>,
    /// Short facts, gathered in the last paragraph.
    facts: Vec<String>,
}

impl Docs {
    /// Returns the documentation that a text of the description gives.
    pub(super) fn of(text: &str) -> Self {
        Self { blocks: markdown(text), facts: Vec::new() }
    }

    /// Returns the documentation of an item that stands on its own.
    pub(super) fn item(context: &Context<'_, '_>, head: &Head) -> Self {
        let manifest = context.manifest();
        let whole = Availability {
            releases: manifest.all_releases(),
            honoured_since: None,
            archs: manifest.all_archs(),
        };
        Self::part(context, head, whole)
    }

    /// Returns the documentation of an item inside one that exists `within`, with its C name.
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

    /// Returns the documentation of a field or member, whose C name is given only where it differs.
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

    /// Begins the first paragraph with a sentence of Markdown.
    pub(super) fn opening(mut self, sentence: &str) -> Self {
        match self.blocks.first_mut().and_then(|block| block.first_mut()) {
            Some(line) => line.insert_str(0, &format!("{sentence} ")),
            None => self.blocks.push(vec![sentence.to_owned()]),
        }
        self
    }

    /// Adds a paragraph, a list or a table: lines of Markdown.
    pub(super) fn block<T: Into<String>>(mut self, lines: impl IntoIterator<Item = T>) -> Self {
        let block: Vec<String> = lines.into_iter().map(Into::into).collect();
        self.blocks.extend(Some(block).filter(|block| !block.is_empty()));
        self
    }

    /// Adds what a careless call breaks, in the description's words.
    pub(super) fn hazard(mut self, text: &str) -> Self {
        self.blocks.push(vec!["# Hazard".to_owned()]);
        self.blocks.extend(markdown(text));
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
        let on = |(arch, value): &(ArchId, u32)| format!("{value} on {}", context.arch_name(*arch));
        self.fact(format!("{what} {}.", values.iter().map(on).collect::<Vec<_>>().join(", ")))
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
            self.facts.push(format!("Xen implements it since {}.", manifest.release(release)));
        }
        if let Some(release) = head.named_since {
            self.facts
                .push(format!("The headers name it since Xen {}.", manifest.release(release)));
        }
        if own.archs.and(within.archs) != within.archs {
            self.facts.push(format!("Only on {}.", list(context, own.archs)));
        }
        if let Some(archs) = head.honoured_arch {
            self.facts.push(format!("Xen implements it only on {}.", list(context, archs)));
        }
    }

    /// Makes an attribute of what follows.
    pub(super) fn outer(self) -> TokenStream {
        let text = literal(&self.lines().join(BREAK));
        quote!(#[doc = #text])
    }

    /// Makes an attribute of what is around.
    pub(super) fn inner(self) -> TokenStream {
        let text = literal(&self.lines().join(BREAK));
        quote!(#![doc = #text])
    }

    /// Returns the lines; of a paragraph, one, however long.
    fn lines(mut self) -> Vec<String> {
        if !self.facts.is_empty() {
            self.blocks.push(vec![self.facts.join(" ")]);
        }
        let lines = self.blocks.join(&String::new());
        let spaced = |line: String| if line.is_empty() { line } else { format!(" {line}") };
        lines.into_iter().map(spaced).collect()
    }
}

/// `x86_64, x86 and aarch64`.
fn list(context: &Context<'_, '_>, archs: ArchSet) -> String {
    let names: Vec<_> = archs.iter().map(|arch| context.arch_name(arch)).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

/// Returns the blocks of a text of the description: paragraphs, headings, lists, and code, which is
/// fenced or indented by four. A paragraph or an item becomes one line.
fn markdown(text: &str) -> Vec<Vec<String>> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut lines = text.lines().map(str::trim_end).peekable();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        let word = start.split(' ').next().unwrap_or("");
        if start.is_empty() {
            continue;
        }
        if let Some(code) = line.strip_prefix("    ") {
            let mut code = vec![code];
            while let Some(more) = lines.next_if(|line| line.starts_with("    ")) {
                code.push(&more[4..]);
            }
            blocks.push(fenced("", code.into_iter()));
        } else if let Some(fence) = fence(start) {
            let code = lines.by_ref().take_while(|line| !line.trim().starts_with(fence));
            blocks.push(fenced(&start[fence.len()..], code));
        } else if is_heading(word) {
            blocks.push(vec![format!("{word} {}", inline(start[word.len()..].trim()))]);
        } else {
            let bullet = if is_bullet(word) { word } else { "" };
            let mut words: Vec<&str> = start[bullet.len()..].split_whitespace().collect();
            while let Some(more) = lines.next_if(|line| goes_on(line)) {
                words.extend(more.split_whitespace());
            }
            let line = inline(&words.join(" "));
            let after_item = blocks.last().and_then(|block| block.last()).is_some_and(|line| {
                is_bullet(line.split(' ').next().unwrap_or("")) && !bullet.is_empty()
            });
            match blocks.last_mut() {
                Some(list) if after_item => list.push(format!("{bullet} {line}")),
                _ if bullet.is_empty() => blocks.push(vec![literal_start(line)]),
                _ => blocks.push(vec![format!("{bullet} {line}")]),
            }
        }
    }
    blocks
}

/// Returns the run of backticks that opens a block of code.
fn fence(start: &str) -> Option<&str> {
    let run = &start[..start.bytes().take_while(|byte| *byte == b'`').count()];
    (run.len() >= 3 && !start[run.len()..].contains('`')).then_some(run)
}

/// Code in fences that nothing in it closes. Without a language it is text, and not an example that
/// rustdoc would run.
fn fenced<'t>(language: &str, code: impl Iterator<Item = &'t str>) -> Vec<String> {
    let code: Vec<&str> = code.collect();
    let longest =
        code.iter().map(|line| line.trim().len() - line.trim().trim_start_matches('`').len());
    let fence = "`".repeat(longest.max().map_or(3, |run| (run + 1).max(3)));
    let language = language.split_whitespace().next().unwrap_or("text");
    let mut block = vec![format!("{fence}{language}")];
    block.extend(code.into_iter().map(str::to_owned));
    block.push(fence);
    block
}

fn is_heading(word: &str) -> bool {
    (1..=6).contains(&word.len()) && word.bytes().all(|byte| byte == b'#')
}

/// True if a line continues the paragraph before it. Of numbered lists, only one that begins with
/// 1 interrupts a paragraph.
fn goes_on(line: &str) -> bool {
    let start = line.trim_start();
    let word = start.split(' ').next().unwrap_or("");
    let interrupts = is_bullet(word) && (word.len() == 1 || word.starts_with('1'));
    !start.is_empty() && fence(start).is_none() && !is_heading(word) && !interrupts
}

/// Keeps the beginning of a paragraph from being markup.
fn literal_start(mut line: String) -> String {
    if line.starts_with(['#', '+', '-', '=', '~', '|']) {
        line.insert(0, '\\');
    }
    line
}

/// Makes Markdown that shows exactly `text`, except that code between runs of backticks stays code.
/// As in CommonMark, a run is closed by the next run of its length.
fn inline(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        plain(&rest[..start], &mut shown);
        rest = &rest[start..];
        let after = rest.trim_start_matches('`');
        let run = &rest[..rest.len() - after.len()];
        rest = match closing(after, run.len()) {
            Some(end) => {
                shown.extend([run, &after[..end], run]);
                &after[end + run.len()..]
            }
            None => {
                shown.push_str(&"\\`".repeat(run.len()));
                after
            }
        };
    }
    plain(rest, &mut shown);
    shown
}

/// Where the next run of exactly `length` backticks begins.
fn closing(text: &str, length: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(start) = text[at..].find('`').map(|start| at + start) {
        let run = text[start..].bytes().take_while(|byte| *byte == b'`').count();
        if run == length {
            return Some(start);
        }
        at = start + run;
    }
    None
}

/// Shows text that is no code: addresses become links, and markup is escaped.
fn plain(part: &str, shown: &mut String) {
    let mut rest = part;
    while let Some(separator) = rest.find("://") {
        let scheme = ["https", "http"].into_iter().find(|name| rest[..separator].ends_with(name));
        let start = separator - scheme.map_or(0, str::len);
        let is_end = |letter: char| letter.is_whitespace() || "<>\"'|\\".contains(letter);
        let end = rest[start..].find(is_end).map_or(rest.len(), |end| start + end);
        let address = rest[start..end].trim_end_matches(['.', ',', ';', ')']);
        if scheme.is_some() {
            escape(rest[..start].trim_end_matches('<'), shown);
            shown.extend(["<", address, ">"]);
            rest = rest[start + address.len()..].trim_start_matches('>');
        } else {
            escape(&rest[..end], shown);
            rest = &rest[end..];
        }
    }
    escape(rest, shown);
}

/// Escapes what Markdown and HTML would take for markup, a line at the border of a word included.
fn escape(text: &str, shown: &mut String) {
    let bytes = text.as_bytes();
    let is_letter = |at: usize| bytes.get(at).is_some_and(|letter| letter.is_ascii_alphanumeric());
    let is_inside = |at: usize| at > 0 && is_letter(at - 1) && is_letter(at + 1);
    let mut start = 0;
    for (at, letter) in bytes.iter().enumerate() {
        let is_markup = match letter {
            b'[' | b']' | b'<' | b'>' | b'*' | b'\\' | b'|' | b'~' | b'&' => true,
            b'_' => !is_inside(at),
            _ => false,
        };
        if is_markup {
            shown.extend([&text[start..at], "\\"]);
            start = at;
        }
    }
    shown.push_str(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::{Docs, inline};

    #[test]
    fn markdown_and_html_are_escaped() {
        for (text, shown) in [
            ("bits [7:0] of <x> * 2", "bits \\[7:0\\] of \\<x\\> \\* 2"),
            ("keep `a[0] < b` as code", "keep `a[0] < b` as code"),
            ("an odd ` is no code [x]", "an odd \\` is no code \\[x\\]"),
            ("__pad and a_b", "\\_\\_pad and a_b"),
            ("a_ file://x", "a\\_ file://x"),
            ("see https://xenbits.xen.org/x.", "see <https://xenbits.xen.org/x>."),
            ("<https://x.y> (http://z)", "<https://x.y> (<http://z>)"),
        ] {
            assert_eq!(inline(text), shown);
        }
    }

    #[test]
    fn backticks_are_paired_as_commonmark_does() {
        for (text, shown) in [
            ("``a ` [b]`` [c]", "``a ` [b]`` \\[c\\]"),
            ("`a `` [b]` [c]", "`a `` [b]` \\[c\\]"),
            ("``` [a] `b` [c]", "\\`\\`\\` \\[a\\] `b` \\[c\\]"),
            ("`` `[a]`", "\\`\\` `[a]`"),
        ] {
            assert_eq!(inline(text), shown);
        }
    }

    #[test]
    fn blocks_do_not_run_together() {
        let text = "one\nline\n# Heading\n- item [a]\n  goes on\n- other\n1. first\n```c\n\
         int [x];\n\
                    ```\nafter\n\n    indented [code]\n    `more`\n\n#not a heading";
        assert_eq!(
            Docs::of(text).fact("Fact.").lines(),
            [
                " one line",
                "",
                " # Heading",
                "",
                " - item \\[a\\] goes on",
                " - other",
                " 1. first",
                "",
                " ```c",
                " int [x];",
                " ```",
                "",
                " after",
                "",
                " ```text",
                " indented [code]",
                " `more`",
                " ```",
                "",
                " \\#not a heading",
                "",
                " Fact."
            ]
        );
    }

    #[test]
    fn a_fence_is_closed_and_nothing_in_it_closes_it() {
        assert_eq!(Docs::of("```\n x").lines(), [" ```text", "  x", " ```"]);
        assert_eq!(Docs::of("    ```\n    x").lines(), [" ````text", " ```", " x", " ````"]);
    }
}
