//! Instructions of functions, as valgrind counts them.

use std::path::Path;
use std::process::Command;

use super::usage::measure;

/// The instructions of a regen of `abi`: all, and then those of each of `functions` with what it
/// calls.
///
/// # Errors
///
/// The run failed, or its record does not have a function.
pub(super) fn instructions(
    valgrind: &Path,
    this: &Path,
    abi: &Path,
    folder: &Path,
    functions: &[&str],
) -> Result<Vec<u64>, String> {
    let record = folder.join("callgrind.out");
    let options = ["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"];
    let mut command = Command::new(valgrind);
    command.args(options).arg(format!("--callgrind-out-file={}", record.display()));
    measure(
        command.arg(this).arg("regen").arg("--abi").arg(abi).arg("--out").arg(folder.join("out")),
    )?;
    let text = std::fs::read_to_string(&record)
        .map_err(|error| format!("{}: {error}", record.display()))?;
    let all = text.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
    let mut found = vec![all.ok_or("valgrind's record has no summary")?];
    for function in functions {
        found.push(
            inclusive(&text, function)
                .ok_or_else(|| format!("valgrind's record does not have `{function}`"))?,
        );
    }
    Ok(found)
}

/// What the calls of a function cost together, in the text of a record.
fn inclusive(record: &str, function: &str) -> Option<u64> {
    let mut lines = record.lines();
    let mut sum = None;
    while let Some(line) = lines.next() {
        if line.strip_prefix("cfn=") == Some(function) {
            // The number of calls, and then a position and the cost.
            let cost = lines.by_ref().find(|line| line.starts_with("calls=")).and(lines.next());
            let cost: u64 = cost?.split_ascii_whitespace().last()?.parse().ok()?;
            sum = Some(sum.unwrap_or(0) + cost);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::inclusive;

    #[test]
    fn calls_of_a_function_are_added() {
        let record = "fn=main\n10 5\ncfi=a.rs\ncfn=a::one\ncalls=1 3\n11 70\ncfn=a::two\n\
         calls=2 3\n12 200\ncfn=a::one\ncalls=4 3\n13 7\n";
        assert_eq!(inclusive(record, "a::one"), Some(77));
        assert_eq!(inclusive(record, "a::two"), Some(200));
        assert_eq!(inclusive(record, "a::three"), None);
    }
}
