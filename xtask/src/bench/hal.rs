//! Counts the instructions of the HAL's hot paths, and of the same algorithms in C.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::tools;

/// The paths that may need 5 % more instructions than C: they check what `memcpy` does not.
const COPIES: &str = "copy";

/// The paths whose other side is not the same algorithm: a bare executor without events.
const TASKS: &str = "resume";

/// Runs the benchmarks of `xen-hal/bench` and shows both sides' counts in a table.
///
/// # Errors
///
/// What is missing or failed. If the HAL needs more instructions than C, the paths and the table.
pub fn hal(root: &Path) -> Result<String, String> {
    if tools::VALGRIND.find().is_none() {
        return Err(tools::VALGRIND.missing());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut bench = Command::new(cargo);
    bench
        .args(["bench", "--quiet", "--locked", "--bench", "counts", "--features", "counts"])
        .current_dir(root.join("xen-hal/bench"))
        .stderr(Stdio::inherit());
    // Different options would make different code.
    bench
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("GUNGRAUN_COLOR", "never");
    let output = bench.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        return Err(
            "`cargo bench` failed in xen-hal/bench; the runner is installed by `cargo install \
             gungraun-runner --version 0.20.0`"
                .to_owned(),
        );
    }
    table(&String::from_utf8_lossy(&output.stdout))
}

/// Returns a table of both sides' counts from the runner's output.
fn table(printed: &str) -> Result<String, String> {
    let counts = counts(printed);
    let mut table = "| path | xen-hal | C, gcc -O2 | ratio |\n|---|---:|---:|---:|\n".to_owned();
    let (mut worse, mut pairs) = (Vec::new(), 0);
    for ((side, name), ours) in &counts {
        let Some(theirs) = counts.get(&("twins", name.clone())).filter(|_| *side == "ours") else {
            continue;
        };
        let ratio = *ours as f64 / *theirs as f64;
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {ours} | {theirs} | {ratio:.2} |");
        pairs += 1;
        let surplus = if name.starts_with(COPIES) { theirs / 20 } else { 0 };
        if *ours > theirs + surplus && !name.starts_with(TASKS) {
            worse.push(name.as_str());
        }
    }
    match (pairs * 2 == counts.len() && pairs > 0, worse.is_empty()) {
        (false, _) => Err(format!(
            "the runner's output has {} counts, and {pairs} pairs of them",
            counts.len()
        )),
        (true, false) => Err(format!("{table}\nmore instructions than in C: {}", worse.join(", "))),
        (true, true) => Ok(table),
    }
}

/// Returns the counts by side and path. Each is a line like `counts::masks::ours_mask mask:(...)`,
/// and below it a line that starts with `Instructions:`.
fn counts(printed: &str) -> BTreeMap<(&'static str, String), u64> {
    let mut counts = BTreeMap::new();
    let mut current = None;
    for line in printed.lines() {
        if let Some(name) = line
            .strip_prefix("counts::")
            .and_then(|line| line.split_once("::"))
            .map(|(_, name)| name)
        {
            let name = name.split(':').next().unwrap_or(name);
            current = ["ours", "twins"].into_iter().find_map(|side| {
                let path = name.strip_prefix(side)?.strip_prefix('_')?;
                Some((side, path.replace(' ', ", ")))
            });
        } else if let Some(rest) = line.trim_start().strip_prefix("Instructions:") {
            let digits: String =
                rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
            if let (Some(key), Ok(count)) = (current.take(), digits.parse()) {
                counts.insert(key, count);
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::table;

    fn printed(path: &str, ours: u64) -> String {
        format!(
            "counts::masks::ours_{path} quiet:(domain(false, false))\n  Instructions:      \
             {ours}|9   (x)\n  L1 Hits: 3|N/A\n\
             counts::masks::twins_{path} quiet:(domain(false, false))\n  Instructions:      \
             100|N/A   (x)\n"
        )
    }

    #[test]
    fn both_sides_are_found() {
        assert!(table(&printed("mask", 80)).unwrap().contains("| mask, quiet | 80 | 100 | 0.80 |"));
    }

    #[test]
    fn one_instruction_more_is_too_many() {
        assert!(table(&printed("resume", 300)).is_ok());
        for (path, most) in [("mask", 100), ("copy_in", 105)] {
            assert!(table(&printed(path, most)).is_ok());
            let why = table(&printed(path, most + 1)).unwrap_err();
            assert!(why.ends_with(&format!("more instructions than in C: {path}, quiet")), "{why}");
        }
    }

    #[test]
    fn half_a_pair_is_none() {
        assert!(table("").is_err());
        let lonely: String =
            printed("mask", 80).lines().take(2).map(|line| format!("{line}\n")).collect();
        assert!(table(&lonely).is_err());
    }
}
