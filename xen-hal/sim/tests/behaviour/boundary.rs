//! Where the simulator's unsafe code is.

use std::fs;
use std::path::{Path, PathBuf};

/// The files below a folder.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// The words of a line before its comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|character: char| !character.is_alphanumeric() && character != '_')
}

#[test]
fn all_unsafe_code_is_in_one_file() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim"), &mut all);
    assert!(all.len() > 20, "{all:?}");
    let has_unsafe = |path: &PathBuf| {
        fs::read_to_string(path)
            .expect("the file can be read")
            .lines()
            .flat_map(words)
            .any(|word| word == "unsafe")
    };
    let with: Vec<_> =
        all.iter().filter(|path| has_unsafe(path)).filter_map(|path| path.file_name()).collect();
    assert_eq!(with, ["boundary.rs"]);
}

#[test]
fn the_search_finds_what_it_is_for() {
    assert!(words("    unsafe { f() }").any(|word| word == "unsafe"));
    assert!(!words("fn safe() {} // all unsafe code is elsewhere").any(|word| word == "unsafe"));
    assert!(!words("#![forbid(unsafe_code)]").any(|word| word == "unsafe"));
}
