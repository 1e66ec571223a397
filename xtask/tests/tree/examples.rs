//! Every example of xen-hal's documentation that makes hypercalls runs on the simulator, under the
//! storm. The porting guide quotes programs that are compiled.

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

/// The blocks of Rust in a Markdown file: the line of each, and its lines without indentation.
fn rust_blocks(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut lines = text.lines().enumerate();
    let mut blocks = Vec::new();
    while let Some((at, line)) = lines.next() {
        if line == "```rust" {
            let block =
                lines.by_ref().map(|(_, line)| line.trim()).take_while(|line| *line != "```");
            blocks.push((at + 1, block.collect()));
        }
    }
    blocks
}

#[test]
fn the_porting_guide_quotes_the_examples() {
    let root = workspace_root();
    let folders = ["examples/guests/src/bin", "examples/guests/src", "xen-hal/sim/examples"];
    let programs: Vec<String> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder of examples"))
        .filter_map(|file| fs::read_to_string(file.expect("a file").path()).ok())
        .collect();
    let programs: Vec<Vec<&str>> =
        programs.iter().map(|program| program.lines().map(str::trim).collect()).collect();
    let guide = fs::read_to_string(root.join("xen-hal/docs/porting.md")).expect("the guide");
    let blocks = rust_blocks(&guide);
    let is_quoted = |block: &[&str]| {
        programs.iter().any(|program| program.windows(block.len()).any(|lines| lines == block))
    };
    let unknown = blocks.iter().filter(|(_, block)| block.is_empty() || !is_quoted(block));
    let unknown: Vec<_> =
        unknown.map(|(at, _)| format!("porting.md:{at}: expected lines of an example")).collect();
    judge("the guide's code is not in the examples", &unknown);
    // A reader who copies the blocks of the steps has a program that compiles.
    let steps = guide.split("## Per architecture").next().unwrap_or_default();
    let copied: Vec<&str> = rust_blocks(steps).into_iter().flat_map(|(_, block)| block).collect();
    let program = fs::read_to_string(root.join(folders[0]).join("port.rs")).expect("the program");
    let code = |line: &&str| !line.is_empty() && !line.starts_with("//!");
    let program: Vec<&str> = program.lines().map(str::trim).filter(code).collect();
    let copied: Vec<&str> = copied.into_iter().filter(code).collect();
    assert_eq!(copied, program, "the blocks of the steps are port.rs");
}
