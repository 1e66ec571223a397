//! Drawing.

use super::Diagnostic;
use super::locate::Located;
use crate::yaml::Place;
use crate::yaml::{SourceText, Sources};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

/// Two texts of a file that are no further apart than this many lines are drawn in one picture.
const NEAR: usize = 60;

/// How many bytes of a line are drawn on either side of what is underlined: a line may be a
/// megabyte long.
const SIDE: usize = 4096;

/// The diagnostics as text, in the order of the files and of the lines, each followed by an empty
/// line.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, colour: bool) -> String {
    render_first(diagnostics, sources, colour, usize::MAX)
}

/// Does the same for the first so many.
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

    /// Puts marks that are near one another into one picture; the first picture has the primary
    /// mark.
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

/// As much of a window as the marks need.
fn clip(text: &str, window: Range<usize>, marks: &[Mark<'_>]) -> Range<usize> {
    let end = marks.iter().map(|mark| mark.span.start).max().unwrap_or(window.end) + SIDE;
    let end =
        (end..).find(|end| *end >= window.end || text.is_char_boundary(*end)).unwrap_or(window.end);
    window.start..window.end.min(end)
}
