//! Every wrong description in `tests/diagnostics` is answered as its `expected.txt` says.
//!
//! A case is a folder with YAML files. One without a manifest of its own gets the common one, which
//! lists all its files. To write the answers anew, set `UPDATE_EXPECTED`, and read the difference.

use std::fs;
use std::path::{Path, PathBuf};
use xtask::yaml::Sources;
use xtask::{check, diagnostic, document, yaml};

/// The cases' folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

/// Each case's name, in order.
fn cases() -> Vec<String> {
    let entries = fs::read_dir(root()).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A case's files, shown by their names alone.
fn sources(case: &str) -> Sources {
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join(case)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        names.extend(entry.file_name().to_str().unwrap().strip_suffix(".yaml").map(str::to_owned));
    }
    names.sort();
    if !names.iter().any(|name| name == "manifest") {
        let common = fs::read_to_string(root().join("manifest.yaml")).unwrap();
        fs::write(
            folder.path().join("manifest.yaml"),
            format!("{common}files: [{}]\n", names.join(", ")),
        )
        .unwrap();
    }
    let mut sources = yaml::load(folder.path()).unwrap();
    for file in &mut sources.files {
        let name = Path::new(&file.path).file_name().unwrap().to_str().unwrap();
        file.path = format!("{case}/{name}");
    }
    sources
}

/// What is answered, by all the steps that judge.
fn answer(sources: &Sources) -> String {
    let (document, mut diagnostics) = document::read(sources);
    diagnostics.extend(document.iter().flat_map(check::run));
    diagnostic::render(&diagnostics, sources, false)
}

#[test]
fn every_case_is_answered_as_expected() {
    let cases = cases();
    assert!(cases.len() > 25, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = answer(&sources(case));
        let path = root().join(case).join("expected.txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&path, &answer).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if answer.is_empty() || answer != expected {
            let diff = similar::TextDiff::from_lines(&expected, &answer)
                .unified_diff()
                .header("expected", "answered")
                .to_string();
            wrong.push(format!(
                "{case}: {}",
                if answer.is_empty() { "nothing was found wrong" } else { &diff }
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A document that would overwhelm a careless reader is answered in a few lines.
fn answer_to(text: &str) -> String {
    let manifest = fs::read_to_string(root().join("manifest.yaml")).unwrap() + "files: [long]\n";
    let start = std::time::Instant::now();
    let answer = answer(&Sources::from_texts([("manifest", manifest.as_str()), ("long", text)]));
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(answer.len() < 10_000, "{} bytes", answer.len());
    answer
}

#[test]
fn a_document_nested_a_million_deep_is_refused_in_a_few_lines() {
    for unit in ["[", "- ", "{a: ", "? "] {
        let answer = answer_to(&unit.repeat(1_000_000));
        assert!(
            answer.starts_with("error: nested too deeply\n --> long.yaml:1:"),
            "{unit}: {answer}"
        );
    }
}

#[test]
fn a_megabyte_in_one_scalar_is_text_like_any_other() {
    let long = "Many words. ".repeat(90_000);
    assert_eq!(answer_to(&format!("doc: {long}\nheader: xen.h\n")), "");
    assert!(
        answer_to(&format!("doc: About.\nheader: xen.h\nwords: {long}\n"))
            .contains("expected a mapping from names to items")
    );
    assert!(
        answer_to(&format!("doc: About.\nheader: xen.h\n? \"{long}\"\n: 1\n"))
            .contains("unknown key `Many words.")
    );
}
