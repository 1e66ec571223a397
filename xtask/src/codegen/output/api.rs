//! What a plan means for the users of xen-pac: which public items of the changed files come, go or
//! change. It reads the generated texts, which have one form.

use super::Plan;
use std::collections::BTreeMap;

/// How many changed items are named.
const MOST_NAMES: usize = 5;

/// The macros that make public items of their first argument.
const MACROS: [&str; 3] =
    ["crate::access::argument!(", "crate::access::named!(", "crate::command::command!("];

/// One line: the items that were added, removed and changed, and the step of the version.
#[must_use]
pub fn summary(plan: &Plan) -> String {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    for change in &plan.changes {
        let module = change.name.trim_end_matches(".rs");
        old.extend(items(module, change.old.as_deref().unwrap_or("")));
        new.extend(items(module, change.new.as_deref().unwrap_or("")));
    }
    let added = new.keys().filter(|name| !old.contains_key(*name)).count();
    let removed: Vec<String> =
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("-{name}")).collect();
    let changed = new.iter().filter(|(name, is)| old.get(*name).is_some_and(|was| was != *is));
    let changed: Vec<String> = changed
        .map(|(name, _)| match name.ends_with("::new") {
            true => format!("{name}() with other parameters"),
            false => name.clone(),
        })
        .collect();
    let (gone, other) = (removed.len(), changed.len());
    let step = match (gone + other, added) {
        (0, 0) => "patch",
        (0, _) => "minor",
        _ => "major",
    };
    let mut names: Vec<String> = removed.into_iter().chain(changed).collect();
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!("interface: {added} added, {gone} removed, {other} changed{names}; step: {step}")
}

/// Returns the public items of a generated file by path, each with its signatures: several where
/// the architectures differ.
fn items(module: &str, text: &str) -> BTreeMap<String, Vec<String>> {
    let mut items: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // What is open, by indentation.
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let mut item = line.trim().to_owned();
        if item.starts_with('}') {
            open.retain(|(outer, _)| *outer < indent);
            continue;
        }
        let called = MACROS.iter().find(|name| item.starts_with(**name));
        if !item.starts_with("pub ") && !item.starts_with("impl") && called.is_none() {
            continue;
        }
        // An item ends where all brackets are closed, or the body begins.
        while !item.ends_with([';', '{', ',', '}']) || depth(&item) > 0 {
            let Some(more) = lines.next() else { break };
            item = format!("{item} {}", more.trim());
        }
        let Some(name) = name(&item, called) else { continue };
        let path: Vec<&str> =
            std::iter::once(module).chain(open.iter().map(|(_, name)| name.as_str())).collect();
        let path = path.join("::");
        if item.ends_with('{') {
            open.push((indent, name.clone()));
        }
        if !item.starts_with("impl") {
            // The releases of a command are facts about Xen.
            let signature = item.split(" since (").next().unwrap_or(&item).to_owned();
            items.entry(format!("{path}::{name}")).or_default().push(signature);
        }
    }
    items
}

/// How many round and square brackets are open.
fn depth(text: &str) -> i32 {
    text.chars().fold(0, |depth, letter| match letter {
        '(' | '[' => depth + 1,
        ')' | ']' => depth - 1,
        _ => depth,
    })
}

/// Returns the name of an item: the first word that is no keyword.
fn name(item: &str, called: Option<&&str>) -> Option<String> {
    let text = called.map_or(item, |called| &item[called.len()..]);
    let text = text
        .strip_prefix("impl<")
        .and_then(|text| text.split_once('>'))
        .map_or(text, |(_, rest)| rest);
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter)).filter(|word| !word.is_empty());
    const KEYWORDS: [&str; 11] = [
        "pub", "const", "unsafe", "fn", "struct", "mod", "impl", "safe", "type", "static", "crate",
    ];
    words.into_iter().find(|word| !KEYWORDS.contains(word)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::*;

    const OLD: &str = "\
pub const LIMIT: u32 = 9;
/// A question.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    ptr: crate::access::Block<'a>,
}
impl<'a> Ask<'a> {
    pub const unsafe fn from_ptr(
        ptr: u8,
    ) -> Self {
        pub_body()
    }
    pub fn number(self) -> u32 {
        0
    }
}
impl Answer {
    pub const fn new(domid: u16) -> Self {
        Self { domid }
    }
}
pub mod command {
    crate::command::command!(
        safe First: ASK, 0, \"ASK_first\", Bare(()) -> Nothing, since (4, 4),
        honoured (4, 4),
    );
}
";

    fn told(from: &str, to: &str) -> String {
        assert!(OLD.contains(from), "{from}");
        let change = Change {
            name: "small.rs".to_owned(),
            old: Some(OLD.to_owned()),
            new: Some(OLD.replace(from, to)),
        };
        summary(&Plan {
            folder: std::path::PathBuf::new(),
            changes: vec![change],
            unchanged: 0,
            foreign: Vec::new(),
        })
    }

    #[test]
    fn each_item_is_known_by_its_path() {
        let names: Vec<String> = items("small", OLD).into_keys().collect();
        let expected = [
            "small::Answer::new",
            "small::Ask",
            "small::Ask::from_ptr",
            "small::Ask::number",
            "small::LIMIT",
            "small::command",
            "small::command::First",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_change_is_told_with_its_step() {
        for (from, to, expected) in [
            ("9;", "10;", "0 added, 0 removed, 1 changed (small::LIMIT); step: major"),
            (
                "domid: u16",
                "domid: u16, flags: u16",
                "0 added, 0 removed, 1 changed (small::Answer::new() with other parameters); step: \
                 major",
            ),
            (
                "    pub fn number",
                "    pub fn more(self) {\n    }\n    pub fn number",
                "1 added, 0 removed, 0 changed; step: minor",
            ),
            ("number", "size", "1 added, 1 removed, 0 changed (-small::Ask::number); step: major"),
            ("honoured (4, 4)", "honoured (4, 5)", "0 added, 0 removed, 0 changed; step: patch"),
            ("A question.", "Another.", "0 added, 0 removed, 0 changed; step: patch"),
        ] {
            assert_eq!(told(from, to), format!("interface: {expected}"), "{from}");
        }
    }
}
