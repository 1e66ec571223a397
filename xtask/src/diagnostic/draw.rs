//! Draws diagnostics as rustc does: finds the text that a place names, and underlines it.

use super::Diagnostic;
use crate::yaml::{self, Entry, Node, Place, Side, SourceText, Sources, Step, Tree, Value};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

/// The maximum distance, in lines, of two texts of a file that are drawn in one picture.
const NEAR: usize = 60;

/// The maximum number of bytes of a line that are drawn on either side of the underlined text: a
/// line may be a megabyte long.
const SIDE: usize = 4096;

/// Returns the diagnostics as text, in the order of the files and of the lines, each followed by an
/// empty line.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, colour: bool) -> String {
    render_first(diagnostics, sources, colour, usize::MAX)
}

/// Does the same for the first `count` diagnostics.
#[must_use]
pub fn render_first(
    diagnostics: &[Diagnostic],
    sources: &Sources,
    colour: bool,
    most: usize,
) -> String {
    let files = Files::new(sources);
    let mut placed: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| (files.mark(&diagnostic.place, diagnostic.span.as_ref()), diagnostic))
        .collect();
    placed.sort_by_key(|(mark, _)| (mark.file, mark.span.start));
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for (mark, diagnostic) in placed.into_iter().take(most) {
        text.push_str(&renderer.render(&[files.report(&mark, diagnostic)]));
        text.push_str("\n\n");
    }
    text
}

/// A text to underline.
struct Mark<'d> {
    /// Index into the sources; past their end for a file that is not among them.
    file: usize,
    span: Range<usize>,
    label: Option<&'d str>,
    kind: AnnotationKind,
}

/// The sources, each read at most once.
struct Files<'s> {
    files: Vec<(&'s SourceText, OnceCell<Located<'s>>)>,
    by_name: HashMap<&'s str, usize>,
}

impl<'s> Files<'s> {
    fn new(sources: &'s Sources) -> Self {
        let by_name = sources
            .files
            .iter()
            .enumerate()
            .map(|(index, file)| (file.name.as_str(), index))
            .collect();
        Self { files: sources.files.iter().map(|file| (file, OnceCell::new())).collect(), by_name }
    }

    fn located(&self, index: usize) -> Option<(&'s SourceText, &Located<'s>)> {
        let (file, located) = self.files.get(index)?;
        Some((file, located.get_or_init(|| Located::new(&file.text))))
    }

    fn mark<'d>(&self, place: &Place, span: Option<&Range<usize>>) -> Mark<'d> {
        let file = self.by_name.get(place.file.as_str()).copied().unwrap_or(self.files.len());
        let span = match (self.located(file), span) {
            (Some((_, located)), Some(span)) => located.one_line(span.clone()),
            (Some((_, located)), None) => located.find(place),
            (None, _) => 0..0,
        };
        Mark { file, span, label: None, kind: AnnotationKind::Primary }
    }

    fn report<'d>(&'d self, mark: &Mark<'d>, diagnostic: &'d Diagnostic) -> Group<'d> {
        let group = Group::with_title(Level::ERROR.primary_title(&diagnostic.message));
        let primary = Mark {
            file: mark.file,
            span: mark.span.clone(),
            label: diagnostic.label.as_deref(),
            kind: AnnotationKind::Primary,
        };
        let related = diagnostic.related.iter().map(|(place, label)| Mark {
            label: Some(label),
            kind: AnnotationKind::Context,
            ..self.mark(place, None)
        });
        let spans = diagnostic.related_spans.iter().map(|(span, label)| Mark {
            label: Some(label),
            kind: AnnotationKind::Context,
            ..self.mark(&diagnostic.place, Some(span))
        });
        let group = self
            .pictures(primary, related.chain(spans))
            .into_iter()
            .fold(group, |group, picture| self.draw(group, &picture));
        match &diagnostic.help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }

    /// Groups marks that are close together into pictures. The first picture has the primary mark.
    fn pictures<'d>(
        &self,
        primary: Mark<'d>,
        related: impl Iterator<Item = Mark<'d>>,
    ) -> Vec<Vec<Mark<'d>>> {
        let mut pictures = vec![vec![primary]];
        for mark in related {
            match pictures.iter().position(|picture| self.near(&picture[0], &mark)) {
                Some(index) => pictures[index].push(mark),
                None => pictures.push(vec![mark]),
            }
        }
        pictures
    }

    fn near(&self, one: &Mark<'_>, other: &Mark<'_>) -> bool {
        let line = |located: &Located<'_>, mark: &Mark<'_>| located.lines.line_of(mark.span.start);
        one.file == other.file
            && self.located(one.file).is_some_and(|(_, located)| {
                line(located, one).abs_diff(line(located, other)) <= NEAR
            })
    }

    fn draw<'d>(&'d self, group: Group<'d>, marks: &[Mark<'d>]) -> Group<'d> {
        let Some((file, located)) = self.located(marks[0].file) else { return group };
        if file.text.is_empty() {
            return group.element(Origin::path(&file.path).line(1).char_column(1));
        }
        let lines = marks.iter().map(|mark| located.lines.line_of(mark.span.start));
        let (first, last) =
            lines.fold((usize::MAX, 0), |(first, last), line| (first.min(line), last.max(line)));
        let window = clip(located.text, located.lines.bytes(first, last), marks);
        let snippet =
            Snippet::source(&located.text[window.clone()]).path(&file.path).line_start(first + 1);
        let annotation = |mark: &Mark<'d>| {
            let end = mark.span.end.min(window.end);
            mark.kind
                .span(mark.span.start - window.start..end.max(mark.span.start) - window.start)
                .label(mark.label)
        };
        group.element(snippet.annotations(marks.iter().map(annotation)))
    }
}

/// Returns the part of a window that the marks need.
fn clip(text: &str, window: Range<usize>, marks: &[Mark<'_>]) -> Range<usize> {
    let end = marks.iter().map(|mark| mark.span.start).max().unwrap_or(window.end) + SIDE;
    let end =
        (end..).find(|end| *end >= window.end || text.is_char_boundary(*end)).unwrap_or(window.end);
    window.start..window.end.min(end)
}

/// The offsets at which the lines of a text start.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let after_breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(offset, _)| offset + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// Returns the line, counted from 0, that holds the byte at `offset`.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Returns the bytes of the lines from `first` to `last`, without the last line's break.
    pub(super) fn bytes(&self, first: usize, last: usize) -> Range<usize> {
        let start = self.starts[first];
        let end = self.starts.get(last + 1).map_or(self.text.len(), |next| next - 1);
        start..end.max(start)
    }
}

/// A file with errors. It is parsed again, once for all its errors.
pub(super) struct Located<'t> {
    pub(super) text: &'t str,
    pub(super) lines: Lines<'t>,
    tree: Tree<'t>,
}

impl<'t> Located<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, lines: Lines::new(text), tree: yaml::read(text) }
    }

    /// Returns the text to underline for a place. If the place does not exist, uses the nearest
    /// enclosing node.
    pub(super) fn find(&self, place: &Place) -> Range<usize> {
        let Some(root) = &self.tree.root else { return 0..0 };
        let mut node = root;
        let mut shown = shown_without_key(root);
        for (depth, step) in place.steps.iter().enumerate() {
            let key_wanted = place.side == Side::Key && depth + 1 == place.steps.len();
            match (step, &node.value) {
                (Step::Key(key), Value::Mapping(mapping)) => {
                    let Some(entry) = mapping.get(key) else { break };
                    shown = if key_wanted { entry.key_span.clone() } else { shown_with_key(entry) };
                    node = &entry.value;
                }
                (Step::Item(index), Value::Sequence(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    shown = shown_without_key(item);
                    node = item;
                }
                _ => break,
            }
        }
        self.one_line(shown)
    }

    /// Returns the part of a range on its first line.
    pub(super) fn one_line(&self, range: Range<usize>) -> Range<usize> {
        let start = range.start.min(self.text.len());
        let line = self.lines.line_of(start);
        let end = range.end.min(self.lines.bytes(line, line).end).max(start);
        start..start + self.text.get(start..end).unwrap_or("").trim_end().len()
    }
}

/// Returns the text that shows an entry: the value if it is a scalar, otherwise the key.
fn shown_with_key(entry: &Entry<'_>) -> Range<usize> {
    match &entry.value.value {
        Value::Scalar { .. } if !entry.value.span.is_empty() => entry.value.span.clone(),
        _ => entry.key_span.clone(),
    }
}

/// Returns the text that shows an item of a sequence: its `name`, or otherwise its first key.
fn shown_without_key(node: &Node<'_>) -> Range<usize> {
    match &node.value {
        Value::Mapping(mapping) => match (mapping.get("name"), mapping.entries.first()) {
            (Some(name), _) => shown_with_key(name),
            (None, Some(first)) => first.key_span.clone(),
            (None, None) => node.span.clone(),
        },
        _ => node.span.clone(),
    }
}
