//! Measures the cost of a regen as the description grows: the cost of an item must not depend on
//! the number of items.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::multiply;
use super::usage::{Usage, instructions, measure, median};
use crate::document::Document;
use crate::tools::find_program;
use crate::yaml::Sources;

/// The sizes of the measured descriptions, as multiples of the real one.
const TIMES: [usize; 3] = [1, 4, 16];

/// The steps whose instructions are counted, with the names of their functions.
const STEPS: [(&str, &str); 3] = [
    ("read", "xtask::document::read::document"),
    ("check", "xtask::check::run_with"),
    ("codegen", "xtask::codegen::generate"),
];

/// Regenerates the description, and larger ones of the same kind; returns a table, with the
/// instructions of each step where valgrind is installed.
///
/// # Errors
///
/// A folder cannot be written, or something that was measured failed.
pub fn linear(
    sources: &Sources,
    document: &Document,
    root: &Path,
    runs: usize,
) -> Result<String, String> {
    let folder = root.join("target/bench/linear");
    let valgrind = find_program("valgrind");
    let mut table = format!(
        "Medians of {runs} runs; in brackets, each row's cost for one copy of the description, as \
         a part of the first row's.\n\n\
         | copies | items | processor | instructions: all | read | check | codegen |\n\
         |---|---|---|---|---|---|---|\n"
    );
    let mut first: Option<Row> = None;
    for times in TIMES {
        let larger = multiply(sources, document, times);
        let abi = folder.join(format!("abi-yaml-{times}"));
        write(&larger, &abi)?;
        let regen = |program: &mut Command| {
            measure(
                program.arg("regen").arg("--abi").arg(&abi).arg("--out").arg(folder.join("out")),
            )
        };
        let row = Row {
            times,
            items: items(&larger),
            usage: median(runs, || regen(&mut Command::new(this()?)))?,
            instructions: match &valgrind {
                Some(valgrind) => instructions(
                    valgrind,
                    &this()?,
                    &abi,
                    &folder,
                    &STEPS.map(|(_, function)| function),
                )?,
                None => Vec::new(),
            },
        };
        let first = first.get_or_insert_with(|| row.clone());
        let _ = writeln!(table, "{}", row.text(first));
    }
    if valgrind.is_none() {
        table.push_str("\nvalgrind is not installed, so no instructions were counted\n");
    }
    Ok(table)
}

/// The cost of one size.
#[derive(Clone)]
struct Row {
    times: usize,
    items: usize,
    usage: Usage,
    /// The instructions of the whole run, then those of each step; empty without valgrind.
    instructions: Vec<u64>,
}

impl Row {
    fn text(&self, first: &Self) -> String {
        // Times and counts are small enough for a float to hold them exactly.
        #[allow(clippy::cast_precision_loss, reason = "a ratio with two digits is shown")]
        let part = |one: f64, base: f64| one / base / (self.times as f64 / first.times as f64);
        let (cpu, base) = (self.usage.cpu.as_secs_f64(), first.usage.cpu.as_secs_f64());
        let mut text =
            format!("| {} | {} | {cpu:.3} s ({:.2}) |", self.times, self.items, part(cpu, base));
        for (count, base) in self.instructions.iter().zip(&first.instructions) {
            #[allow(clippy::cast_precision_loss, reason = "millions are shown")]
            let (count, base) = (*count as f64 / 1e6, *base as f64 / 1e6);
            let _ = write!(text, " {count:.1} M ({:.2}) |", part(count, base));
        }
        if self.instructions.is_empty() {
            text.push_str(&" - |".repeat(1 + STEPS.len()));
        }
        text
    }
}

fn items(sources: &Sources) -> usize {
    crate::document::read(sources).0.map_or(0, |document| crate::codegen::items(&document))
}

fn this() -> Result<PathBuf, String> {
    std::env::current_exe()
        .map_err(|error| format!("cannot find the path of this program: {error}"))
}

/// Writes a description to a folder, from which it can be read again.
fn write(sources: &Sources, folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for file in &sources.files {
        let path = folder.join(format!("{}.yaml", file.name));
        std::fs::write(&path, &file.text)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
