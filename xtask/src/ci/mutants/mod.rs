//! Deliberate mistakes in the HAL, each a patch in `xen-hal/mutants`, and the tests that must find
//! them. A copy of the workspace contains all of them, and an environment variable chooses the one
//! that a program makes.
//!
//! A patch starts with a sentence and one `Found-by:` line for each test. A unified diff follows,
//! which changes only bodies of functions in `xen-hal/src`. Line numbers are ignored: the text that
//! a hunk removes, with its context, must occur in the file exactly once. White space may differ.

mod copy;
mod merge;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use super::fuzz;

pub use copy::{Copy, Find};

/// The folder of the patches.
pub const FOLDER: &str = "xen-hal/mutants";

/// A deliberate mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The name of its file, without `.patch`.
    pub name: String,
    /// What is wrong with the patched code.
    pub about: String,
    /// The tests that must find it.
    pub found_by: Vec<Finder>,
    hunks: Vec<Hunk>,
}

/// A test that finds a mutant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finder {
    /// `cargo test` with this package and target, and the tests of this name.
    Test {
        /// `-p PACKAGE`, and `--lib` or `--test NAME`.
        target: Vec<String>,
        /// All tests of the target without a name.
        name: Option<String>,
    },
    /// `cargo xtask fuzz` with this target.
    Fuzz(String),
}

/// A change of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hunk {
    file: String,
    old: String,
    new: String,
}

/// The reason why a mutant was not found, or could not be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Finder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test { target, name } => {
                let words = target.iter().chain(name).map(String::as_str).collect::<Vec<_>>();
                write!(out, "cargo test {}", words.join(" "))
            }
            Self::Fuzz(target) => write!(out, "cargo xtask fuzz {target}"),
        }
    }
}

/// Reads all mutants, in the order of their names.
///
/// # Errors
///
/// If a file is not a valid mutant.
pub fn load(root: &Path) -> Result<Vec<Mutant>, String> {
    let folder = root.join(FOLDER);
    let explain = |error| format!("{}: {error}", folder.display());
    let mut mutants = Vec::new();
    for entry in fs::read_dir(&folder).map_err(explain)? {
        let path = entry.map_err(explain)?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&path).map_err(explain)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            mutants.push(
                Mutant::parse(&name, &text).map_err(|why| format!("{}: {why}", path.display()))?,
            );
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

impl Mutant {
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let (head, diff) = text
            .split_once("\n--- ")
            .ok_or("expected a unified diff behind the `Found-by:` lines, found none")?;
        let found_by = head
            .lines()
            .filter_map(|line| line.strip_prefix("Found-by: "))
            .map(Finder::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if found_by.is_empty() {
            return Err("expected a line `Found-by: cargo test ...`, found none".to_owned());
        }
        let about = head.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let hunks = hunks(diff)?;
        Ok(Self { name: name.to_owned(), about, found_by, hunks })
    }

    /// Returns the files it changes.
    fn files(&self) -> BTreeSet<&str> {
        self.hunks.iter().map(|hunk| hunk.file.as_str()).collect()
    }

    /// Returns the text of a file with this mutant's changes.
    fn apply(&self, file: &str, text: &str) -> Result<String, Fault> {
        let mut text = text.to_owned();
        for hunk in self.hunks.iter().filter(|hunk| hunk.file == file) {
            text = hunk.apply(&text).map_err(|why| self.stale(file, &why))?;
        }
        Ok(text)
    }

    fn stale(&self, file: &str, why: &dyn fmt::Display) -> Fault {
        let patch = format!("{FOLDER}/{}.patch", self.name);
        Fault(format!(
            "{patch} does not apply to {file}: {why}\n\
             Make the mistake ({}) by hand, replace the patch's diff by the output of\n\
             `git diff -U1 {file}`, and undo it with `git checkout {file}`.",
            self.about.trim_end_matches('.'),
        ))
    }
}

impl Finder {
    fn parse(line: &str) -> Result<Self, String> {
        if let Some(target) = line.strip_prefix("cargo xtask fuzz ")
            && fuzz::TARGETS.contains(&target)
        {
            return Ok(Self::Fuzz(target.to_owned()));
        }
        let words: Vec<_> = line.split_whitespace().collect();
        let (count, name) = match words[..] {
            ["cargo", "test", "-p", _, "--lib", ref name @ ..] => (5, name),
            ["cargo", "test", "-p", _, "--test", _, ref name @ ..] => (6, name),
            _ => (0, &words[..]),
        };
        if count == 0 || name.len() > 1 {
            return Err(format!(
                "expected `cargo test -p PACKAGE`, `--lib` or `--test TARGET`, and at most one \
                 name, or `cargo xtask fuzz TARGET` with a target of {}; found `{line}`",
                fuzz::TARGETS.join(", ")
            ));
        }
        let target = words[2..count].iter().map(|word| (*word).to_owned()).collect();
        Ok(Self::Test { target, name: name.first().map(|name| (*name).to_owned()) })
    }
}

/// The hunks of a unified diff whose first `--- ` has been read.
fn hunks(diff: &str) -> Result<Vec<Hunk>, String> {
    let (mut file, mut hunks) = (String::new(), Vec::<Hunk>::new());
    for line in diff.lines() {
        if let Some(name) = line.strip_prefix("+++ ") {
            file = name.strip_prefix("b/").unwrap_or(name).trim_end().to_owned();
        } else if line.starts_with("@@ ") {
            hunks.push(Hunk { file: file.clone(), ..Hunk::default() });
        } else if let Some(hunk) = hunks.last_mut() {
            let (kind, text) = line.split_at_checked(1).unwrap_or((" ", ""));
            for (side, other) in [(&mut hunk.old, "+"), (&mut hunk.new, "-")] {
                if kind != other && [" ", "+", "-"].contains(&kind) {
                    side.push_str(text);
                    side.push('\n');
                }
            }
        }
    }
    if hunks.iter().any(|hunk| hunk.old == hunk.new || hunk.file.is_empty()) || hunks.is_empty() {
        return Err("expected hunks that change a file, found a diff without".to_owned());
    }
    if let Some(hunk) = hunks.iter().find(|hunk| !hunk.file.starts_with("xen-hal/src/")) {
        return Err(format!("expected a file in xen-hal/src, found {}", hunk.file));
    }
    Ok(hunks)
}

impl Hunk {
    /// Returns the text with the hunk's old text replaced.
    fn apply(&self, text: &str) -> Result<String, String> {
        let packed = |text: &str| -> (String, Vec<usize>) {
            text.char_indices()
                .filter(|(_, letter)| !letter.is_whitespace())
                .flat_map(|(at, letter)| (0..letter.len_utf8()).map(move |_| (at, letter)))
                .fold((String::new(), Vec::new()), |(mut all, mut places), (at, letter)| {
                    if places.last() != Some(&at) {
                        all.push(letter);
                    }
                    places.push(at);
                    (all, places)
                })
        };
        let (all, places) = packed(text);
        let (old, _) = packed(&self.old);
        let mut matches = all.match_indices(&old).map(|(at, _)| at);
        let first = matches.next();
        let others = matches.count();
        let Some(first) = first.filter(|_| others == 0 && !old.is_empty()) else {
            let count = first.map_or(0, |_| 1 + others);
            return Err(format!("expected one place with\n{}found {count}", self.old));
        };
        let (start, last) = (places[first], places[first + old.len() - 1]);
        let end = last + text[last..].chars().next().map_or(0, char::len_utf8);
        Ok(format!("{}{}{}", &text[..start], self.new.trim(), &text[end..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
The counter is off\nby one.\n\nFound-by: cargo test -p a --lib counts\n\
Found-by: cargo xtask fuzz clock\n\n--- a/xen-hal/src/a.rs\n+++ b/xen-hal/src/a.rs\n\
@@ -1,2 +1,2 @@\n fn count() {\n-    n + 1\n+    n\n }\n";

    fn mutant() -> Mutant {
        Mutant::parse("off-by-one", PATCH).unwrap()
    }

    #[test]
    fn a_patch_has_its_sentence_and_its_tests() {
        let mutant = mutant();
        assert_eq!(mutant.about, "The counter is off by one.");
        let found_by: Vec<_> = mutant.found_by.iter().map(ToString::to_string).collect();
        assert_eq!(found_by, ["cargo test -p a --lib counts", "cargo xtask fuzz clock"]);
        assert_eq!(mutant.files(), BTreeSet::from(["xen-hal/src/a.rs"]));
    }

    #[test]
    fn what_is_not_a_mutant_is_refused() {
        for (wrong, why) in [
            (PATCH.replace("Found-by", "By"), "expected a line `Found-by"),
            (PATCH.replace("fuzz clock", "fuzz clocks"), "expected `cargo test"),
            (PATCH.replace("--lib counts", "--lib counts twice"), "expected `cargo test"),
            (PATCH.replace("--lib", "--bins"), "expected `cargo test"),
            (PATCH.replace("+    n\n", "+    n + 1\n"), "expected hunks that change"),
            (PATCH.replace("--- a", "-- a"), "expected a unified diff"),
            (PATCH.replace("xen-hal/src", "xen-pac/src"), "expected a file in xen-hal/src"),
        ] {
            let error = Mutant::parse("wrong", &wrong).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn a_hunk_is_found_whatever_its_white_space_and_place() {
        let hunk = &mutant().hunks[0];
        for (text, changed) in [
            ("é\nfn count() {\n    n + 1\n}\nrest", "é\nfn count() {\n    n\n}\nrest"),
            ("mod a {\n  fn count() { n + 1 }\n}", "mod a {\n  fn count() {\n    n\n}\n}"),
        ] {
            assert_eq!(hunk.apply(text).unwrap(), changed);
        }
        for (text, count) in [("fn count() {}", 0), ("fn count(){n+1} fn count(){n+1}", 2)] {
            let error = hunk.apply(text).unwrap_err();
            assert!(error.ends_with(&format!("found {count}")), "{error}");
        }
    }

    #[test]
    fn a_stale_patch_is_named() {
        let file = "xen-hal/src/a.rs";
        let error = mutant().apply(file, "fn count() { n + 2 }").unwrap_err().to_string();
        assert!(error.contains("xen-hal/mutants/off-by-one.patch does not apply"), "{error}");
        assert!(error.contains("git diff -U1 xen-hal/src/a.rs"), "{error}");
        let changed = mutant().apply(file, "fn count() { n + 1 }").unwrap();
        assert_eq!(changed, "fn count() {\n    n\n}");
    }

    #[test]
    fn every_mutant_applies_to_the_workspace() {
        let root = crate::commands::workspace_root();
        let mutants = load(&root).unwrap();
        assert!(mutants.len() >= 20);
        let mutants: Vec<_> = mutants.iter().collect();
        let files = merge::merge(&root, &mutants).unwrap_or_else(|fault| panic!("{fault}"));
        let all: String = files.into_values().collect();
        for number in 0..mutants.len() {
            assert!(all.contains(&format!("crate::mutant::is({number}usize)")));
        }
    }
}
