//! The list of all keys in Markdown.

use super::slug;
use crate::document::language;
use crate::document::mapping::{Head, Key, Kind, Mapping};
use std::fmt::Write as _;

/// Returns the list.
pub(super) fn list() -> String {
    let mut text = "\
# The keys of the description

`cargo xtask schema` generates this list and the JSON Schemas in `schema/` from the tables that the
reader uses. [README.md](README.md) has an example of each section.

*Per arch* means: either one value, or a map from architecture to value. A *type* is a primitive,
`handle`, or the name of an item. A *release* is in quotes, such as `\"4.17\"`.

## Every item

The tables below do not repeat these keys. An item of a map of names has no `name`: its key is the
name.

"
    .to_owned();
    // The keys that a mapping of items has besides its own.
    let own = |mapping: &Mapping, name: &str| mapping.keys.iter().any(|key| key.name == name);
    let shared = language::CONSTANT.keys().filter(|key| !own(&language::CONSTANT, key.name));
    table(&mut text, shared);
    for mapping in language::ALL {
        let _ = write!(text, "\n## {}\n\n", title(mapping));
        let mut sentences = Vec::new();
        match mapping.head {
            Head::Absent => {}
            Head::Keyed => sentences.push("An item in a map of names.".to_owned()),
            Head::Named => sentences.push("An item with a `name`.".to_owned()),
            Head::Silent => sentences
                .push("An item with a `name`. If it is reserved, it needs no `doc`.".to_owned()),
        }
        if !mapping.one_of.is_empty() {
            let keys: Vec<_> = mapping.one_of.iter().map(|key| format!("`{key}`")).collect();
            sentences.push(format!("It has exactly one of {}.", keys.join(", ")));
        }
        if !sentences.is_empty() {
            let _ = write!(text, "{}\n\n", sentences.join("\n"));
        }
        table(&mut text, mapping.keys.iter());
    }
    text
}

fn title(mapping: &Mapping) -> String {
    let mut letters = mapping.name.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

fn table<'k>(text: &mut String, keys: impl Iterator<Item = &'k Key>) {
    text.push_str("| key | value | meaning |\n|---|---|---|\n");
    for key in keys {
        let required = if key.required { ", required" } else { "" };
        let _ = writeln!(
            text,
            "| `{}` | {}{required} | {} |",
            key.name,
            words(&key.kind),
            key.doc.replace('|', "\\|")
        );
    }
}

/// Returns a kind of value in words.
fn words(kind: &Kind) -> String {
    let quoted = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    match kind {
        Kind::Text | Kind::Ascii => "text".to_owned(),
        Kind::Type => "type".to_owned(),
        Kind::Integer | Kind::Unsigned => "number".to_owned(),
        Kind::Count => "count".to_owned(),
        Kind::Boolean => quoted(&["true", "false"]),
        Kind::Release => "release".to_owned(),
        Kind::Bits => "bits".to_owned(),
        Kind::Choice(names) => quoted(names),
        Kind::Numbers(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        Kind::PerArch(one) => format!("{}, per arch", words(one)),
        Kind::List(one) => format!("list of {}", words(one)),
        Kind::Map(one) => format!("map of names to {}", words(one)),
        Kind::Item(mapping) => format!("[{}](#{})", mapping.name, slug(mapping)),
    }
}
