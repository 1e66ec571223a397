//! The shape of the tree: no line is wider than 100 columns, no text has a phrase of the table, no
//! link leads nowhere, and no modules import each other in a circle.

mod examples;
mod imports;
mod links;
mod packages;

use imports::Crate;
use std::fs;
use xtask::commands::workspace_root;
use xtask::{ci, document, naming, yaml};

/// The width of rustfmt, for every text file.
const WIDTH: usize = 100;

/// Files that others write: locks, licences, and what programs recorded.
const RECORDED: [&str; 8] = [
    ".lock",
    "LICENSE-",
    "abi-yaml/facts/",
    "abi-yaml/schema/",
    "/transcripts/",
    "/conformance/cases/",
    "xtask/tests/diagnostics/",
    ".snap",
];

/// The roots of the crates whose modules must not import each other in a circle.
const CRATES: [&str; 12] = [
    "xtask/src/lib.rs",
    "xen-pac/src/lib.rs",
    "xen-hal/src/lib.rs",
    "xen-hal/capi/src/lib.rs",
    "xen-hal/sim/src/lib.rs",
    "xen-hal/bench/src/lib.rs",
    "xen-hal/fuzz/src/lib.rs",
    "xen-hal/orderings/src/lib.rs",
    "examples/rt/src/lib.rs",
    "examples/conformance/src/lib.rs",
    "examples/embassy/src/lib.rs",
    "examples/programs/src/lib.rs",
];

/// Phrases that slow a reader down, and what to write.
const PHRASES: [(&str, &str); 23] = [
    ("seed header", "xenreg.h, in MIGRATING.md"),
    ("whoever", "the caller, the peer, the guest, Xen"),
    ("somebody", "the caller, the peer, another domain"),
    ("one's own", "the guest's own, the caller's own"),
    ("shall", "must, can"),
    ("is to be", "must be, is"),
    ("has to be", "must be"),
    ("wants to be", "must be"),
    ("that which", "what"),
    ("unkind", "(the rate or the fault)"),
    ("foretold", "expected"),
    ("lifted by porters", "copied"),
    ("in vain", "without success"),
    ("the one who", "the caller, the peer, the guest, Xen"),
    ("is no more", "has ended, is detached"),
    ("dealings", "operations"),
    ("says not", "does not say"),
    ("foretells", "expects"),
    ("again and again", "repeatedly"),
    ("for good", "permanently"),
    ("can be told", "is distinct, accepts"),
    ("comes of it", "results, follows"),
    ("more, by", "further data, whose form depends on"),
];

/// Fails with what was found.
fn judge(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Whether a line may be wider: tables, and lines that a URL makes so.
fn is_exempt(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches(['/', '!', '*', '#']).trim_start();
    let without_urls: usize = line
        .split(' ')
        .filter(|word| !word.contains("://"))
        .map(|word| word.chars().count() + 1)
        .sum();
    text.starts_with('|') || without_urls <= WIDTH
}

#[test]
fn no_line_is_wider_than_100_columns() {
    let root = workspace_root();
    let mut wide = Vec::new();
    for file in ci::files(&root).expect("a git checkout") {
        if RECORDED.iter().any(|part| file.contains(part)) {
            continue;
        }
        // What is not UTF-8 is no text.
        let Ok(text) = fs::read_to_string(root.join(&file)) else { continue };
        for (index, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > WIDTH && !is_exempt(line) {
                wide.push(format!("{file}:{}: {columns} columns", index + 1));
            }
        }
    }
    judge("lines are wider than 100 columns", &wide);
}

#[test]
fn no_text_has_a_phrase_of_the_table() {
    let root = workspace_root();
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    let mut found = Vec::new();
    for file in ci::files(&root).expect("a git checkout") {
        if RECORDED.iter().any(|part| file.contains(part)) || file.ends_with("tree/main.rs") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root.join(&file)) else { continue };
        for (index, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for (phrase, instead) in PHRASES {
                let is_word = |(at, _): (usize, &str)| {
                    !is_letter(line[..at].chars().next_back())
                        && !is_letter(line[at + phrase.len()..].chars().next())
                };
                if line.match_indices(phrase).any(is_word) {
                    found.push(format!("{file}:{}: `{phrase}`: write {instead}", index + 1));
                }
            }
        }
    }
    judge("phrases that slow a reader down", &found);
}

#[test]
fn no_link_leads_nowhere() {
    let root = workspace_root();
    let mut found = Vec::new();
    for file in ci::files(&root).expect("a git checkout") {
        // The test of the links has some that lead nowhere.
        if RECORDED.iter().any(|part| file.contains(part)) || file.ends_with("tree/links.rs") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root.join(&file)) else { continue };
        found.extend(links::broken(&root, &file, &text));
    }
    judge("links lead nowhere", &found);
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let root = workspace_root();
    let mut found = Vec::new();
    for name in CRATES {
        let krate = Crate::read(&root.join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        found.extend(krate.circles().into_iter().map(|circle| format!("{name}: {circle}")));
    }
    judge("modules import each other in a circle", &found);
}

/// An operation of xen-hal that a supported release lacks must name the release that has it.
#[test]
fn xen_hal_explains_why_a_late_command_is_refused() {
    let root = workspace_root();
    let sources = yaml::load(&root.join("abi-yaml")).expect("the description");
    let (document, _) = document::read(&sources);
    let files = document.expect("the description is right").files;
    let commands = files.iter().flat_map(|file| &file.commands).flat_map(|set| &set.list);
    let is_late = |of: &document::Availability| {
        of.honoured_since.unwrap_or(of.releases.since) > document::ReleaseId(0)
    };
    let late = commands.map(|command| &command.head).filter(|head| is_late(&head.availability));
    let late: Vec<String> = late.map(|head| naming::TYPE.name(&head.name)).collect();
    assert!(late.contains(&"Extraversion2".to_owned()), "{late:?}");
    // These pass each command to one place that explains.
    let shared =
        [("version/mod.rs", "explain(command, "), ("area.rs", "explain(command::$physical")];
    let mut found = Vec::new();
    for file in ci::files(&root).expect("a git checkout") {
        if !file.starts_with("xen-hal/src/") || file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(root.join(&file)).expect("a source");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        let words = || code.split(|c: char| !c.is_alphanumeric());
        for name in late.iter().filter(|name| words().any(|word| word == *name)) {
            let is_shared = |(of, call): &(&str, &str)| file.ends_with(of) && code.contains(call);
            let own = format!("explain(command::{name},");
            if !code.contains(&own) && !shared.iter().any(is_shared) {
                found.push(format!("{file}: {name}"));
            }
        }
    }
    judge("call `Version::explain` if Xen refuses a command that older releases lack", &found);
}
