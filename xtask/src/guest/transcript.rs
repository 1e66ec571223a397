//! The transcript that a scenario printed, and the recorded one of an earlier run on real Xen.
//!
//! A recorded transcript is a file of lines. The first names the hypervisor that it was recorded
//! on, behind a `#`; it is not part of the comparison, so that a newer build of the hypervisor that
//! answers alike passes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use similar::{ChangeTag, TextDiff};

use super::console::Line;
use super::platform::Platform;
use super::verdict::Verdict;

/// The prefix of a line of a transcript.
const MARK: &str = "| ";
/// The prefix of the guest's line with the number of lines that it wrote.
const WRITTEN: &str = "guest: lines written: ";
/// The prefix of the line about the hypervisor.
pub(super) const RECORDED_ON: &str = "# Recorded on Xen ";

/// The lines of a program that are its transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The marked lines on Xen's console.
    Marked,
    /// All lines on the guest's own console, which dom0 serves.
    OwnConsole,
}

/// A transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The version that the hypervisor printed.
    pub hypervisor: Option<String>,
    /// The lines.
    pub lines: Vec<String>,
    /// How many lines the guest wrote, if it prints that: a console may lose some.
    pub written: Option<usize>,
}

/// Returns the path of a program's recorded transcript.
#[must_use]
pub fn path(workspace: &Path, platform: Platform, program: &str) -> PathBuf {
    workspace
        .join("examples/conformance/transcripts")
        .join(platform.to_string())
        .join(format!("{program}.txt"))
}

impl Transcript {
    /// Takes the transcript from the lines of a console.
    #[must_use]
    pub fn from_console(console: &[Line], source: Source) -> Self {
        let mut printed = Self::default();
        for line in console {
            match line {
                Line::Guest(_, text) if source == Source::Marked => {
                    printed.lines.extend(text.strip_prefix(MARK).map(str::to_owned));
                    let written = text.strip_prefix(WRITTEN).and_then(|count| count.parse().ok());
                    printed.written = printed.written.or(written);
                }
                Line::Hypervisor(text) => {
                    printed.hypervisor = printed.hypervisor.or_else(|| version(text));
                }
                line if source == Source::OwnConsole => {
                    printed.lines.extend(line.own_console().map(str::to_owned));
                }
                _ => {}
            }
        }
        printed
    }

    /// Reads what was recorded; `None` if nothing was.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Self {
        let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
        match head.strip_prefix(RECORDED_ON) {
            Some(hypervisor) => Self {
                hypervisor: Some(hypervisor.to_owned()),
                lines: rest.lines().map(str::to_owned).collect(),
                written: None,
            },
            None => Self { lines: text.lines().map(str::to_owned).collect(), ..Self::default() },
        }
    }

    /// Writes the transcript to a file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, self.to_text())
    }

    fn to_text(&self) -> String {
        let head = self.hypervisor.iter().map(|hypervisor| format!("{RECORDED_ON}{hypervisor}\n"));
        head.chain(self.lines.iter().map(|line| format!("{line}\n"))).collect()
    }

    /// True if the console lost lines of the guest.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.written.is_some_and(|written| written != self.lines.len())
    }

    /// Compares the transcript with the recorded one.
    #[must_use]
    pub fn judge(&self, recorded: Option<&Self>) -> Verdict {
        let Some(recorded) = recorded else { return Verdict::Unrecorded };
        let same = self
            .lines
            .iter()
            .zip(&recorded.lines)
            .take_while(|(told, recorded)| told == recorded)
            .count();
        if same == self.lines.len().max(recorded.lines.len()) {
            Verdict::Success
        } else {
            Verdict::Differs(same + 1)
        }
    }

    /// Returns the lines that were not recorded (`+`), and those that were not printed (`-`), with
    /// a few lines around each.
    #[must_use]
    pub fn diff(&self, recorded: &Self) -> String {
        let (old, new) = (recorded.lines.join("\n") + "\n", self.lines.join("\n") + "\n");
        let mut out = String::new();
        for hunk in TextDiff::from_lines(&old, &new).unified_diff().context_radius(3).iter_hunks() {
            for line in hunk.iter_changes() {
                let sign = match line.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                // Writing to a string cannot fail.
                let _ = writeln!(out, "{sign} {}", line.value().trim_end_matches('\n'));
            }
        }
        out
    }
}

/// Returns the version in Xen's first line: the release and the package's version, without the
/// compiler and the date.
fn version(line: &str) -> Option<String> {
    let said = line.strip_prefix("Xen version ")?;
    let end = said.find(')').map_or(said.len(), |end| end + 1);
    Some(said[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Source, Transcript, Verdict};
    use crate::guest::console::Line;

    fn told(lines: &[&str]) -> Transcript {
        Transcript {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            ..Transcript::default()
        }
    }

    #[test]
    fn only_marked_lines_of_the_guest_count() {
        let console = [
            "(XEN) Xen version 4.17.7 (Debian 4.17.7-1) (pkg@debian) (gcc) debug=n",
            "(d0) | one",
            "| no",
            "(d0) guest: lines written: 2",
            "(d0) guest: success",
            "(d0) | two",
            "console: three",
        ];
        let printed = Transcript::from_console(&console.map(Line::parse), Source::Marked);
        assert_eq!(printed.hypervisor.as_deref(), Some("4.17.7 (Debian 4.17.7-1)"));
        assert_eq!(printed.lines, ["one", "two"]);
        assert!(!printed.is_cut());
        let cut: Vec<Line> = console[1..4].iter().copied().map(Line::parse).collect();
        assert!(Transcript::from_console(&cut, Source::Marked).is_cut());
    }

    #[test]
    fn a_guest_s_own_console_is_another_source() {
        let console = ["(d1) | one", "dom0: two", "console: three", "(d1) guest: success"];
        let printed = Transcript::from_console(&console.map(Line::parse), Source::OwnConsole);
        assert_eq!(printed.lines, ["three"]);
        assert!(!printed.is_cut());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x86_64-dom0-4.17/any.txt");
        assert_eq!(Transcript::read(&path).unwrap(), None);
        let transcript = Transcript {
            hypervisor: Some("4.17.7 (Debian)".into()),
            ..told(&["one", "# two", ""])
        };
        transcript.write(&path).unwrap();
        assert_eq!(Transcript::read(&path).unwrap(), Some(transcript));
    }

    #[test]
    fn the_hypervisor_is_not_compared() {
        let recorded = Transcript { hypervisor: Some("4.17.6".into()), ..told(&["one"]) };
        assert_eq!(told(&["one"]).judge(Some(&recorded)), Verdict::Success);
    }

    #[test]
    fn any_other_line_is_a_difference() {
        let recorded = told(&["one", "two"]);
        assert_eq!(told(&["one", "2"]).judge(Some(&recorded)), Verdict::Differs(2));
        assert_eq!(told(&["one"]).judge(Some(&recorded)), Verdict::Differs(2));
        assert_eq!(told(&["one", "two", "three"]).judge(Some(&recorded)), Verdict::Differs(3));
        assert_eq!(told(&[]).judge(Some(&recorded)), Verdict::Differs(1));
        assert_eq!(told(&["one"]).judge(None), Verdict::Unrecorded);
        assert_eq!(told(&["one", "2"]).diff(&recorded), "  one\n- two\n+ 2\n");
    }
}
