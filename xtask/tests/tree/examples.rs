//! Every example of xen-hal's documentation that makes hypercalls runs on the simulator, under the
//! storm.

use super::judge;
use std::fs;
use xtask::commands::workspace_root;

/// The examples of a source: where each begins, what follows its fence, and its lines.
fn examples(source: &str) -> Vec<(usize, &str, Vec<&str>)> {
    let mut found: Vec<(usize, &str, Vec<&str>)> = Vec::new();
    let mut open = false;
    for (index, line) in source.lines().enumerate() {
        let line = line.trim_start();
        let Some(text) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            open = false;
            continue;
        };
        match text.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                found.push((index + 1, language, Vec::new()));
            }
            None if open => {
                if let Some((_, _, lines)) = found.last_mut() {
                    lines.push(text);
                }
            }
            None => {}
        }
    }
    found
}

#[test]
fn examples_that_make_hypercalls_run_under_the_storm() {
    let root = workspace_root();
    let (mut found, mut stormy) = (Vec::new(), 0);
    let files = xtask::ci::files(&root).expect("a git checkout");
    for file in files.iter().filter(|file| file.starts_with("xen-hal/src/")) {
        let Ok(source) = fs::read_to_string(root.join(file)) else { continue };
        for (at, language, lines) in examples(&source) {
            let calls = lines.iter().any(|line| line.contains("Hypercall"));
            if !calls || language.contains("compile_fail") || file.ends_with("/testing.rs") {
                continue;
            }
            let called =
                |line: &&&str| line.contains("storm(") || line.contains("storm_with_dom0(");
            let hidden = lines.iter().filter(|line| line.trim_start().starts_with('#'));
            if !language.is_empty() || hidden.filter(called).count() == 0 {
                found.push(format!("{file}:{at}: expected a call of `xen_sim::storm`"));
            } else {
                stormy += 1;
            }
        }
    }
    judge("examples do not run under the storm", &found);
    assert!(stormy > 20, "only {stormy} examples were found");
}
