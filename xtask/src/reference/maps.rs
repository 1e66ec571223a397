//! Maps of the bytes of structs and of the bits of words. The tables below them say the same in
//! words, so the maps are hidden from screen readers.

use super::html::Html;
use crate::export::{BitField, Layout};

/// The bytes of a row.
const ROW: u32 = 8;

/// A part of a struct.
struct Part<'a> {
    name: &'a str,
    class: &'static str,
    start: u32,
    end: u32,
}

/// Adds the map of a layout.
pub(super) fn bytes(html: &mut Html, layout: &Layout) {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (index, field) in layout.fields.iter().enumerate() {
        let class = if index % 2 == 0 { "cell" } else { "cell odd" };
        let (start, end) = (field.offset, field.offset + field.size);
        parts.push(Part { name: &field.name, class, start, end });
    }
    for [start, size] in &layout.padding {
        parts.push(Part { name: "", class: "cell pad", start: *start, end: start + size });
    }
    parts.sort_by_key(|part| (part.start, part.end));
    html.element("div", &[("class", "bytes"), ("aria-hidden", "true")], |html| {
        for part in &parts {
            cells(html, part);
        }
    });
}

/// Adds the cells of a part: the rest of a row, whole rows as one cell, and the start of a row.
fn cells(html: &mut Html, part: &Part<'_>) {
    let title = match part.name {
        "" => format!("padding: {} bytes at {}", part.end - part.start, part.start),
        name => format!("{name}: {} bytes at {}", part.end - part.start, part.start),
    };
    if part.start == part.end {
        // An array of which the length is open.
        cell(html, part.start, ROW, part.class, &format!("{}[]", part.name), &title);
        return;
    }
    let head = part.end.min(part.start.next_multiple_of(ROW));
    let tail = (part.end - part.end % ROW).max(head);
    let pieces = [(part.start, head), (head, tail), (tail, part.end)];
    let widest = pieces.iter().max_by_key(|(start, end)| end - start).copied();
    for (start, end) in pieces.into_iter().filter(|(start, end)| start < end) {
        let name = if Some((start, end)) == widest { part.name } else { "" };
        let long = if end - start > ROW { " long" } else { "" };
        cell(html, start, (end - start).min(ROW), &format!("{}{long}", part.class), name, &title);
    }
}

fn cell(html: &mut Html, start: u32, span: u32, class: &str, name: &str, title: &str) {
    if start.is_multiple_of(ROW) {
        html.leaf("span", &[("class", "cell offset")], &start.to_string());
    }
    let style = format!("grid-column:span {span}");
    html.leaf("span", &[("class", class), ("style", &style), ("title", title)], name);
}

/// Adds the map of a word of `width` bits, the highest bit first.
pub(super) fn bits(html: &mut Html, width: u32, fields: &[&BitField]) {
    let mut sorted: Vec<&&BitField> = fields.iter().collect();
    sorted.sort_by_key(|field| std::cmp::Reverse(field.high));
    html.element("div", &[("class", "bits"), ("aria-hidden", "true")], |html| {
        let mut next = width;
        let mut odd = false;
        for field in sorted.into_iter().filter(|field| field.high < width) {
            if field.high >= next {
                continue;
            }
            run(html, next, field.high + 1, "cell pad", "");
            run(
                html,
                field.high + 1,
                field.low,
                if odd { "cell odd" } else { "cell" },
                &field.head.name,
            );
            next = field.low;
            odd = !odd;
        }
        run(html, next, 0, "cell pad", "");
    });
}

/// Adds the bits below `from`, down to `to`; at most 16 in a row.
fn run(html: &mut Html, from: u32, to: u32, class: &str, name: &str) {
    let mut from = from;
    while from > to {
        let row = (from - 1) / 16 * 16;
        let end = row.max(to);
        let style = format!("grid-column:span {}", from - end);
        let range = match from - 1 == end {
            true => format!("bit {end}"),
            false => format!("bits {}:{end}", from - 1),
        };
        let title = if name.is_empty() { range } else { format!("{name}: {range}") };
        html.leaf("span", &[("class", class), ("style", &style), ("title", &title)], name);
        from = end;
    }
}
