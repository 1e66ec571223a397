//! The simulator's source: where its unsafe code is, and which module uses which.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each of which uses only those before it; the root comes last.
const MODULES: [&str; 11] = [
    "config",
    "raw_memory",
    "state",
    "xen",
    "scheduler",
    "vcpu",
    "platform",
    "guest",
    "backend",
    "machine",
    "lib",
];
/// The files with unsafe code.
const UNSAFE: [&str; 9] = [
    "backend/dom0.rs",
    "backend/host.rs",
    "guest/mod.rs",
    "guest/peer.rs",
    "guest/section.rs",
    "platform.rs",
    "raw_memory.rs",
    "scheduler/coroutine.rs",
    "scheduler/segv.rs",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files below a folder, with the text of each before its tests.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            all.extend(files(&path));
            continue;
        }
        let name = path.strip_prefix(source()).expect("the file is below the source");
        let text = fs::read_to_string(&path).expect("the file can be read");
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = product.lines().map(|line| line.split("//").next().unwrap_or_default());
        all.push((name.display().to_string(), lines.collect::<Vec<_>>().join("\n")));
    }
    all.sort();
    all
}

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
}

/// The modules that a text names by `crate::`.
fn used(text: &str) -> Vec<&str> {
    let after = text.split("crate::").skip(1);
    after.map(|after| words(after).next().unwrap_or_default()).collect()
}

/// The place of a module in the order.
fn rank(module: &str) -> Option<usize> {
    MODULES.iter().position(|name| *name == module)
}

#[test]
fn unsafe_code_is_in_these_files() {
    let with = files(&source()).into_iter();
    let with = with.filter(|(_, text)| words(text).any(|word| word == "unsafe"));
    assert_eq!(with.map(|(name, _)| name).collect::<Vec<_>>(), UNSAFE);
}

#[test]
fn each_module_uses_only_those_before_it() {
    let mut wrong = Vec::new();
    for (name, text) in files(&source()) {
        let module = name.split(['/', '.']).next().unwrap_or_default();
        let own = rank(module).unwrap_or_else(|| panic!("{name} is in no module of the order"));
        for used in used(&text).into_iter().filter(|used| *used != module) {
            if rank(used).is_none_or(|rank| rank >= own) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_searches_find_what_they_are_for() {
    assert!(words("    unsafe { f() }").any(|word| word == "unsafe"));
    assert!(!words("#![forbid(unsafe_code)]").any(|word| word == "unsafe"));
    assert_eq!(
        used("use crate::state::{A, B};\nlet a = crate::vcpu::current();"),
        ["state", "vcpu"]
    );
    assert!(rank("state") < rank("xen") && rank("nothing").is_none());
}
