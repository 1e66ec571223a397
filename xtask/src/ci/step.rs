//! One check: what it needs from the machine, and what it runs.

use std::path::Path;
use std::process::Command;

use crate::tools::Tool;

/// A check of the suite.
#[derive(Clone, Debug)]
pub struct Step {
    /// What to call it on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// What it cannot run without.
    pub needs: Vec<Tool>,
    /// Whether a machine without the tools is as good as any, so that `--no-skip` does not ask for
    /// them.
    pub optional: bool,
    /// The commands, all of which must succeed.
    pub calls: Vec<Call>,
}

/// A command of a step.
#[derive(Clone, Debug)]
pub struct Call {
    program: String,
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
        Self {
            program: env_cargo(),
            args: line.split_whitespace().map(str::to_owned).collect(),
            env: Vec::new(),
            folder: None,
        }
    }

    /// A call of this very program with the words of `line`.
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

    /// The call as a command, for a workspace at `root`.
    #[must_use]
    pub fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (*name, value)));
        command
            .current_dir(self.folder.map_or_else(|| root.to_owned(), |folder| root.join(folder)));
        command
    }
}

impl std::fmt::Display for Call {
    /// The line that somebody would type.
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

/// The cargo that runs us, so that a step uses the same toolchain.
fn env_cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}
