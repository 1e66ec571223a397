//! Checks the crate's sources for rules that the compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of the sources") {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            found.push((path, text));
        }
    }
    found
}

fn crate_sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root).into_iter().filter(|(path, _)| !path.starts_with(root.join("tests"))).collect()
}

/// Returns the code of a file without its comments and without white space, so that a line break
/// hides nothing.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .flat_map(str::split_whitespace)
        .fold(String::new(), |mut code, word| {
            if code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
                && word.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            {
                code.push(' ');
            }
            code.push_str(word);
            code
        })
}

/// Returns the place at which code takes a reference to a raw struct, or makes one from a pointer.
fn reference_to_raw(code: &str) -> Option<&str> {
    let after_reference = |found: usize| {
        let mut rest = &code[found + 1..];
        if let Some(lifetime) = rest.strip_prefix('\'') {
            rest =
                lifetime.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').trim_start();
        }
        rest.strip_prefix("mut ").or_else(|| rest.strip_prefix("mut")).unwrap_or(rest)
    };
    code.match_indices('&').find_map(|(found, _)| {
        let rest = after_reference(found);
        let path = rest
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .next()
            .unwrap_or("");
        let raw = path.starts_with("raw::") || path.contains("::raw::");
        let reborrow = rest.starts_with('*') || rest.starts_with("(*");
        (raw || reborrow).then(|| &code[found..code.len().min(found + 60)])
    })
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn nothing_refers_to_a_raw_struct() {
    let sources = crate_sources();
    assert!(sources.len() > 10, "only {} files found", sources.len());
    for (path, text) in &sources {
        let code = code(text);
        if let Some(place) = reference_to_raw(&code) {
            panic!("{} forms a reference to shared memory: {place}", path.display());
        }
    }
}

#[test]
fn the_search_for_references_finds_them() {
    for planted in [
        "fn f(x: &raw::VcpuInfo) {}",
        "fn f(x: &'a mut crate::shared_info::raw::Info)",
        "unsafe { &*ptr }",
        "& (*ptr).field",
        "&mut\n    *block",
    ] {
        assert!(reference_to_raw(&code(planted)).is_some(), "{planted}");
    }
    for harmless in [
        "&raw mut (*block).field",
        "ptr: NonNull<raw::VcpuInfo>",
        "a && b",
        "// &raw::VcpuInfo",
        "&T::Cell",
    ] {
        assert!(reference_to_raw(&code(harmless)).is_none(), "{harmless}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn unsafe_code_stays_in_its_files() {
    const FENCED: [&str; 6] =
        ["atomic.rs", "block.rs", "data.rs", "location.rs", "word.rs", "command.rs"];
    for (path, text) in crate_sources() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let fenced =
            path.parent().is_some_and(|folder| folder.ends_with("access")) || name == "command.rs";
        let code = code(&text);
        for (found, _) in code.match_indices("unsafe") {
            let rest = &code[found..];
            let word = rest.starts_with("unsafe fn")
                || rest.starts_with("unsafe trait")
                || rest.starts_with("unsafe{")
                || rest.starts_with("unsafe impl");
            let declared = rest.starts_with("unsafe fn from_ptr");
            assert!(
                !word || declared || (fenced && FENCED.contains(&name)),
                "unsafe code in {}: {}",
                path.display(),
                &rest[..rest.len().min(60)]
            );
        }
    }
}
