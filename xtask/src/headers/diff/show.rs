//! Changes as text, as Markdown and as JSON.

use super::{Change, Consequence, State, Step};
use std::fmt::Write as _;

/// Returns the greatest step of all changes.
fn step(changes: &[Change]) -> &'static str {
    changes.iter().map(|change| change.step).max().map_or("none", Step::name)
}

fn count(changes: &[Change], consequence: Consequence) -> usize {
    changes.iter().filter(|change| change.consequence == consequence).count()
}

/// Returns the number of changes, by consequence, and the step for xen-pac.
#[must_use]
pub fn summary(changes: &[Change]) -> String {
    format!(
        "{} changes: {} breaking, {} need a run-time check, {} compatible; step for xen-pac: {}",
        changes.len(),
        count(changes, Consequence::Breaking),
        count(changes, Consequence::RuntimeCheck),
        count(changes, Consequence::Compatible),
        step(changes)
    )
}

/// Returns the changes by header.
fn by_header(changes: &[Change]) -> impl Iterator<Item = (&str, &[Change])> {
    changes.chunk_by(|one, other| one.header == other.header).map(|chunk| {
        let header = chunk.first().map_or("", |change| change.header.as_str());
        (if header.is_empty() { "(no header)" } else { header }, chunk)
    })
}

/// As text, for a terminal.
#[must_use]
pub fn text(from: &State, to: &State, changes: &[Change]) -> String {
    let archs = to.tables.iter().filter(|new| from.tables.iter().any(|old| old.arch == new.arch));
    let archs: Vec<&str> = archs.map(|table| table.arch.as_str()).collect();
    let mut text = format!("from {} to {} on {}\n", from.label, to.label, archs.join(", "));
    for (header, changes) in by_header(changes) {
        let _ = writeln!(text, "{header}");
        for change in changes {
            let on = if change.archs.len() == archs.len() {
                String::new()
            } else {
                format!(" on {}", change.archs.join(", "))
            };
            let _ = writeln!(
                text,
                "  {:7} {} {}{on} [{}, {}]",
                change.kind.name(),
                change.name,
                change.detail,
                change.consequence.name(),
                change.step.name()
            );
        }
    }
    text + &summary(changes) + "\n"
}

/// As Markdown, for release notes.
#[must_use]
pub fn markdown(from: &State, to: &State, changes: &[Change]) -> String {
    let mut text = format!("# From {} to {}\n\n{}.\n", from.label, to.label, summary(changes));
    for (header, changes) in by_header(changes) {
        let _ = write!(
            text,
            "\n## {header}\n\n| change | name | how | architectures | consequence | step |\n\
             |---|---|---|---|---|---|\n"
        );
        for change in changes {
            let _ = writeln!(
                text,
                "| {} | `{}` | {} | {} | {} | {} |",
                change.kind.name(),
                change.name,
                change.detail.replace('|', "\\|"),
                change.archs.join(", "),
                change.consequence.name(),
                change.step.name()
            );
        }
    }
    text
}

/// As JSON, for other programs.
#[must_use]
pub fn json(from: &State, to: &State, changes: &[Change]) -> String {
    let list = changes.iter().map(|change| {
        let archs: Vec<String> = change.archs.iter().map(|arch| quoted(arch)).collect();
        format!(
            "\n    {{ \"header\": {}, \"name\": {}, \"change\": {}, \"detail\": {}, \
             \"architectures\": [{}], \"consequence\": {}, \"step\": {} }}",
            quoted(&change.header),
            quoted(&change.name),
            quoted(change.kind.name()),
            quoted(&change.detail),
            archs.join(", "),
            quoted(change.consequence.name()),
            quoted(change.step.name())
        )
    });
    format!(
        "{{\n  \"from\": {},\n  \"to\": {},\n  \"step\": {},\n  \"changes\": [{}\n  ]\n}}\n",
        quoted(&from.label),
        quoted(&to.label),
        quoted(step(changes)),
        list.collect::<Vec<_>>().join(",")
    )
}

/// Returns a JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out + "\""
}
