//! Links in text. Relative ones must lead to a file or a heading, and absolute ones to a host of
//! the list, so that no address of a place that does not exist is published.

use std::fs;
use std::path::Path;

/// The hosts that texts may name, by the start of the address.
const HOSTS: [&str; 5] = [
    "https://docs.rs/tock-registers",
    "https://keepachangelog.com/",
    "https://rustup.rs",
    "https://semver.org/",
    "https://xenbits.xen.org/",
];

/// The folders whose paths in code spans must exist.
const FOLDERS: [&str; 5] = ["abi-yaml/", "examples/", "xen-hal/", "xen-pac/", "xtask/"];

/// Returns the broken links of a file, each with its line.
pub(crate) fn broken(root: &Path, file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(prose) = prose(file, line) else { continue };
        let mut report = |what: String| found.push(format!("{file}:{}: {what}", index + 1));
        for address in prose.split(['<', '>', '(', ')', '"', ' ', '`']) {
            let is_link = address.starts_with("http://") || address.starts_with("https://");
            if is_link && !HOSTS.iter().any(|host| address.starts_with(host)) {
                report(format!("expected an address of a known host, found {address}"));
            }
        }
        if file.ends_with(".md") {
            for target in targets(prose).filter(|target| !target.contains("://")) {
                if !leads_somewhere(root, file, target) {
                    report(format!("the link leads nowhere: {target}"));
                }
            }
            for path in prose.split('`').skip(1).step_by(2).filter(|path| is_path(path)) {
                if !root.join(path).exists() {
                    report(format!("the path does not exist: {path}"));
                }
            }
        } else if file.ends_with(".rs") {
            // rustdoc resolves paths of items, and no paths of files.
            for target in targets(prose).filter(|target| target.contains('/')) {
                if !target.contains("://") {
                    report(format!("expected an item in a doc comment, found {target}"));
                }
            }
        }
    }
    found
}

/// The part of a line that readers see as text; `None` for a line of code.
fn prose<'l>(file: &str, line: &'l str) -> Option<&'l str> {
    if file.ends_with(".rs") {
        line.trim_start().strip_prefix("//")
    } else {
        [".md", ".toml", ".yaml"].iter().any(|end| file.ends_with(end)).then_some(line)
    }
}

/// The targets of the inline links of a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// True if a code span is a path of this repository, without placeholders.
fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c);
    FOLDERS.iter().any(|folder| span.starts_with(folder)) && span.chars().all(plain)
}

fn leads_somewhere(root: &Path, file: &str, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = root.join(file);
    let there = match path {
        "" => here,
        _ => here.parent().map_or_else(|| root.join(path), |folder| folder.join(path)),
    };
    if anchor.is_empty() {
        return there.exists();
    }
    let text = fs::read_to_string(there).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#').trim())).any(|slug| slug == anchor)
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn broken_links_are_found() {
    let root = xtask::commands::workspace_root();
    let count = |file: &str, text: &str| broken(&root, file, text).len();
    assert_eq!(count("README.md", "[a](ARCHITECTURE.md#the-map) [b](#two-commands)"), 0);
    assert_eq!(count("README.md", "[a](NOWHERE.md) [b](#nowhere) `xen-hal/nowhere.rs`"), 3);
    assert_eq!(count("README.md", "`xen-hal/src/lib.rs` `xen-hal/*` <https://semver.org/>"), 0);
    assert_eq!(count("Cargo.toml", "repository = \"https://example.org/xen\""), 1);
    assert_eq!(count("a.rs", "/// [a](crate::b) [b](../README.md)"), 1);
    assert_eq!(count("a.rs", "let address = \"https://example.org\";"), 0);
}
