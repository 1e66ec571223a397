//! Cases: reduced programs with what real Xen prints for them, a file for each platform. The tests
//! of the package `conformance` run them on the simulator.
//!
//! ```text
//! # Recorded on Xen 4.17.7 (Debian 4.17.7-1)
//!
//! ## the name of a case
//! > flip_mask 0x3
//! > yield
//! 0 done +m3
//! 1 0x0
//! ```

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::super::platform::Platform;
use super::super::transcript::RECORDED_ON;
use crate::replace::replace;

const NAME: &str = "## ";
const STEP: &str = "> ";

/// A reduced program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<String>,
    /// What it prints.
    pub(super) lines: Vec<String>,
}

/// The cases of a platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cases {
    pub(super) hypervisor: Option<String>,
    pub(super) list: Vec<Case>,
}

impl Case {
    /// Returns the words of its plan.
    pub(super) fn words(&self) -> String {
        format!("case={}", self.steps.join("/"))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{NAME}{}", self.name)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{STEP}{step}"))?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Cases {
    fn path(workspace: &Path, platform: Platform) -> PathBuf {
        workspace.join("examples/conformance/cases").join(format!("{platform}.txt"))
    }

    /// Reads the cases of a platform: none if there is no file.
    pub(super) fn read(workspace: &Path, platform: Platform) -> Result<Self, String> {
        let path = Self::path(workspace, platform);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| format!("{}: {error}", path.display()))?,
        };
        Self::parse(&text).map_err(|line| {
            format!("{}: expected a case before its lines, found `{line}`", path.display())
        })
    }

    fn parse(text: &str) -> Result<Self, &str> {
        let mut cases = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(hypervisor) = line.strip_prefix(RECORDED_ON) {
                cases.hypervisor = Some(hypervisor.to_owned());
            } else if let Some(name) = line.strip_prefix(NAME) {
                cases.list.push(Case { name: name.to_owned(), ..Case::default() });
            } else {
                let case = cases.list.last_mut().ok_or(line)?;
                match line.strip_prefix(STEP) {
                    Some(step) => case.steps.push(step.to_owned()),
                    None => case.lines.push(line.to_owned()),
                }
            }
        }
        Ok(cases)
    }

    /// Writes the cases of a platform.
    pub(super) fn write(&self, workspace: &Path, platform: Platform) -> Result<(), String> {
        let path = Self::path(workspace, platform);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        written
            .and_then(|()| replace(&path, self.to_string()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Cases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hypervisor) = &self.hypervisor {
            writeln!(f, "{RECORDED_ON}{hypervisor}")?;
        }
        self.list.iter().try_for_each(|case| {
            f.write_char('\n')?;
            case.fmt(f)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Cases};

    #[test]
    fn what_is_written_is_read_again() {
        let case = Case {
            name: "a name".to_owned(),
            steps: vec!["yield".to_owned(), "send 0x1".to_owned()],
            lines: vec!["0 0x0".to_owned(), "end of 2 steps".to_owned()],
        };
        let cases =
            Cases { hypervisor: Some("4.17".to_owned()), list: vec![case.clone(), case.clone()] };
        assert_eq!(Cases::parse(&cases.to_string()), Ok(cases.clone()));
        assert_eq!(case.words(), "case=yield/send 0x1");
        assert_eq!(Cases::parse("0 0x0"), Err("0 0x0"));
    }
}
