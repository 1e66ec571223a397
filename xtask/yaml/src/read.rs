//! Builds the tree from the parser's events, with a stack of its own: no recursion, whatever the
//! text.

use super::tree::{Entry, Fault, MAX_DEPTH, Mapping, Node, Tree, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use std::borrow::Cow;
use std::ops::Range;

/// A sequence or a mapping that is not complete.
enum Open<'t> {
    Sequence { span: Range<usize>, items: Vec<Node<'t>> },
    Mapping { span: Range<usize>, mapping: Mapping<'t>, key: Option<(Cow<'t, str>, Range<usize>)> },
}

struct Builder<'t> {
    text: &'t str,
    positions: Positions<'t>,
    open: Vec<Open<'t>>,
    documents: usize,
    /// Whether values are missing, so that the tree would mislead.
    unreadable: bool,
    /// The end of the last event: an anchor or tag stands between it and the node.
    read_to: usize,
    root: Option<Node<'t>>,
    faults: Vec<Fault>,
}

/// Nothing after this point can be understood.
struct Stop;

/// Reads a text. The time is proportional to the text's length, whatever the text.
#[must_use]
pub fn read(text: &str) -> Tree<'_> {
    let positions = Positions::new(text);
    let mut builder = Builder {
        text,
        positions,
        open: Vec::new(),
        documents: 0,
        unreadable: false,
        read_to: 0,
        root: None,
        faults: Vec::new(),
    };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => {
                let span = builder.positions.bytes(span);
                let step = builder.event(event, span.clone());
                builder.read_to = span.end;
                step
            }
            Err(error) => builder.broken(&error),
        };
        if step.is_err() {
            return Tree { root: None, faults: builder.faults };
        }
    }
    if builder.documents == 0 {
        builder.faults.push(Fault::empty());
    }
    let root = if builder.unreadable { None } else { builder.root };
    Tree { root, faults: builder.faults }
}

impl<'t> Builder<'t> {
    fn event(&mut self, event: Event<'t>, span: Range<usize>) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(explicit) => self.document(explicit, span),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(anchor != 0, tag.is_some(), &span);
                let written = self.text.get(span.clone()).map_or(0, |text| text.trim_end().len());
                let span = span.start..span.start + written;
                self.node(Node {
                    span,
                    value: Value::Scalar { text, plain: style == ScalarStyle::Plain },
                });
                Ok(())
            }
            Event::Alias(_) => {
                self.faults.push(Fault::alias(span.clone()));
                self.unreadable = true;
                self.node(Node {
                    span,
                    value: Value::Scalar { text: Cow::Borrowed(""), plain: false },
                });
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_properties(anchor != 0, tag.is_some(), &span);
                self.begin(Open::Sequence { span, items: Vec::new() })
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_properties(anchor != 0, tag.is_some(), &span);
                self.begin(Open::Mapping { span, mapping: Mapping::default(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn document(&mut self, explicit: bool, span: Range<usize>) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents > 1 {
            self.faults.push(Fault::second_document(span));
            return Err(Stop);
        }
        if explicit {
            self.refuse_directives(span.start);
        }
        Ok(())
    }

    fn refuse_directives(&mut self, end: usize) {
        let mut offset = 0;
        for line in self.text[..end].split_inclusive('\n') {
            if line.starts_with('%') {
                self.faults.push(Fault::directive(offset..offset + line.trim_end().len()));
            }
            offset += line.len();
        }
    }

    /// Anchors and tags change what the reader sees elsewhere, so none is allowed.
    fn refuse_properties(&mut self, anchor: bool, tag: bool, node: &Range<usize>) {
        let before = self.read_to..node.end.max(self.read_to);
        if anchor {
            let span = indicated(self.text, before.clone(), '&').unwrap_or_else(|| node.clone());
            self.faults.push(Fault::anchor(span));
        }
        if tag {
            let span = indicated(self.text, before, '!').unwrap_or_else(|| node.clone());
            self.faults.push(Fault::tag(span));
        }
    }

    fn begin(&mut self, open: Open<'t>) -> Result<(), Stop> {
        if self.open.len() == MAX_DEPTH {
            let (Open::Sequence { span, .. } | Open::Mapping { span, .. }) = open;
            self.faults.push(Fault::too_deep(span));
            return Err(Stop);
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(Open::Sequence { span, items }) => {
                self.node(Node { span, value: Value::Sequence(items) });
            }
            Some(Open::Mapping { span, mapping, .. }) => {
                self.node(Node { span, value: Value::Mapping(mapping) });
            }
            None => {}
        }
    }

    /// Puts a complete node where it belongs.
    fn node(&mut self, node: Node<'t>) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { mapping, key, .. }) => match key.take() {
                Some((key, key_span)) => {
                    self.faults.extend(
                        mapping
                            .insert(Entry { key, key_span, value: node })
                            .err()
                            .map(|fault| *fault),
                    );
                }
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some((text, node.span)),
                    _ => {
                        self.faults.push(Fault::complex_key(node.span.clone()));
                        *key = Some((Cow::Borrowed(""), node.span));
                    }
                },
            },
        }
    }

    fn broken(&mut self, error: &ScanError) -> Result<(), Stop> {
        let start = self.positions.byte(error.marker().index());
        let span = start
            ..start
                + self.text[start..]
                    .chars()
                    .next()
                    .filter(|next| *next != '\n')
                    .map_or(0, char::len_utf8);
        self.faults.push(match error.info() {
            "recursion limit exceeded" => Fault::too_deep(span),
            _ if self.text[start..].starts_with('*') => {
                Fault::alias(start..name_end(self.text, start))
            }
            info => Fault::syntax(span, info),
        });
        Err(Stop)
    }
}

/// Returns the anchor or tag that begins with `sign` in `range`, comments left aside.
fn indicated(text: &str, range: Range<usize>, sign: char) -> Option<Range<usize>> {
    let mut comment = false;
    for (offset, char) in text.get(range.clone())?.char_indices() {
        match char {
            '\n' => comment = false,
            '#' => comment = true,
            _ if char == sign && !comment => {
                let start = range.start + offset;
                return Some(start..name_end(text, start));
            }
            _ => {}
        }
    }
    None
}

/// Where an anchor, alias or tag ends.
fn name_end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    let ends = |char: char| char.is_whitespace() || matches!(char, ',' | '[' | ']' | '{' | '}');
    start + rest.find(ends).unwrap_or(rest.len())
}

/// Converts the parser's positions, which count characters, to offsets in bytes.
struct Positions<'t> {
    text: &'t str,
    /// Empty where every character is a byte.
    offsets: Vec<usize>,
}

impl<'t> Positions<'t> {
    fn new(text: &'t str) -> Self {
        let offsets = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(offset, _)| offset).collect()
        };
        Self { text, offsets }
    }

    /// Returns the offset of the character at `index`.
    fn byte(&self, index: usize) -> usize {
        let end = self.text.len();
        if self.offsets.is_empty() {
            index.min(end)
        } else {
            self.offsets.get(index).copied().unwrap_or(end)
        }
    }

    /// Returns the bytes of a span.
    fn bytes(&self, span: saphyr_parser::Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }
}
