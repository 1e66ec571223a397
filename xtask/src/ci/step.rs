//! A check: what it needs from the machine, and what it runs.

use std::path::Path;
use std::process::Command;

use crate::tools::Tool;

/// A check.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The tools that it needs.
    pub needs: Vec<Tool>,
    /// Whether it may be skipped even with `--no-skip`.
    pub optional: bool,
    /// The commands, all of which must succeed.
    pub calls: Vec<Call>,
}

/// A call of cargo.
#[derive(Clone, Debug)]
pub struct Call {
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    folder: Option<&'static str>,
}

impl Step {
    /// The first tool that the machine lacks.
    #[must_use]
    pub fn lacks(&self) -> Option<Tool> {
        self.needs.iter().find(|tool| tool.find().is_none()).copied()
    }
}

impl Call {
    /// A call of cargo with the words of `line`.
    #[must_use]
    pub fn cargo(line: &str) -> Self {
        let args = line.split_whitespace().map(str::to_owned).collect();
        Self { args, env: Vec::new(), folder: None }
    }

    /// A call of this program with the words of `line`.
    #[must_use]
    pub fn xtask(line: &str) -> Self {
        Self::cargo(&format!("run --quiet --package xtask -- {line}"))
    }

    /// The call with an environment variable.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    /// The call made in a folder of the workspace.
    #[must_use]
    pub fn inside(mut self, folder: &'static str) -> Self {
        self.folder = Some(folder);
        self
    }

    /// The call as a command, for a workspace at `root`; by the cargo that runs this program, so
    /// that a step uses the same toolchain.
    #[must_use]
    pub fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (*name, value)));
        command
            .current_dir(self.folder.map_or_else(|| root.to_owned(), |folder| root.join(folder)));
        command
    }
}

impl std::fmt::Display for Call {
    /// The line to type in a shell.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(folder) = self.folder {
            write!(out, "cd {folder} && ")?;
        }
        for (name, value) in &self.env {
            write!(out, "{name}='{value}' ")?;
        }
        write!(out, "cargo {}", self.args.join(" "))
    }
}
