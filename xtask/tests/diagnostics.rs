//! Every wrong description in `tests/diagnostics` is answered as the file beside it says.
//!
//! A case is a YAML file; lines `#@ name.yaml` divide it into the files of a description. One
//! without a manifest gets the common one, which lists all its files. `INSTA_UPDATE=always` writes
//! the answers again; read the difference.

use std::path::{Path, PathBuf};
use xtask::yaml::Sources;
use xtask::{check, diagnostic, document, yaml};

const MANIFEST: &str = r#"releases: ["4.8", "4.9", "4.10"]
architectures:
  x86_64: { pointer: 64, align_u64: 8, max_atomic: 64, doc: A processor. }
  x86: { pointer: 32, align_u64: 4, max_atomic: 32, doc: A smaller processor. }
"#;

/// The cases, in order.
fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.extension().unwrap() == "yaml").collect();
    cases.sort();
    cases
}

/// A case's files, by name.
fn files(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"#@ ") {
            Some(name) => {
                files.push((String::from_utf8(name.trim_ascii().to_vec()).unwrap(), Vec::new()));
            }
            None if files.is_empty() => files.push(("file.yaml".to_owned(), line.to_vec())),
            None => files.last_mut().unwrap().1.extend(line),
        }
    }
    files
}

/// A case's description, shown by short paths.
fn sources(case: &str, bytes: &[u8]) -> Sources {
    let folder = tempfile::tempdir().unwrap();
    let files = files(bytes);
    let names: Vec<&str> = files.iter().filter_map(|file| file.0.strip_suffix(".yaml")).collect();
    if !names.contains(&"manifest") {
        let manifest = format!("{MANIFEST}files: [{}]\n", names.join(", "));
        std::fs::write(folder.path().join("manifest.yaml"), manifest).unwrap();
    }
    for (name, bytes) in &files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut sources = yaml::load(folder.path()).unwrap();
    let of_one = files.len() == 1 && !names.contains(&"manifest");
    for file in &mut sources.files {
        let name = Path::new(&file.path).file_name().unwrap().to_str().unwrap();
        file.path = if of_one { format!("{case}.yaml") } else { format!("{case}/{name}") };
    }
    sources
}

/// What is answered, by all the steps that check.
fn answer(sources: &Sources) -> String {
    let (document, mut diagnostics) = document::read(sources);
    diagnostics.extend(document.iter().flat_map(check::run));
    diagnostic::render(&diagnostics, sources, false)
}

#[test]
fn every_case_is_answered_as_expected() {
    let cases = cases();
    assert!(cases.len() >= 77, "only {} cases were found", cases.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("diagnostics");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for path in cases {
        let case = path.file_stem().unwrap().to_str().unwrap();
        let answer = answer(&sources(case, &std::fs::read(&path).unwrap()));
        assert!(!answer.is_empty(), "{case}: nothing was found wrong");
        settings.bind(|| insta::assert_snapshot!(case, answer));
    }
}

/// A document that would overwhelm a careless reader is answered in a few lines.
fn answer_to(text: &str) -> String {
    let manifest = format!("{MANIFEST}files: [long]\n");
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
