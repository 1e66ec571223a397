//! `cargo xtask test`.

use std::process::ExitCode;

use crate::ci::{self, Step};

/// The arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The steps to run; by default, all.
    steps: Vec<String>,
    /// List the steps and stop.
    #[arg(long)]
    list: bool,
    /// First install missing tools with apt, as root.
    #[arg(long)]
    install: bool,
    /// Fail if a step lacks a tool, except for Miri.
    #[arg(long)]
    no_skip: bool,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    super::finish(choose(&arguments.steps).map(|steps| {
        if arguments.list {
            steps.iter().for_each(|step| println!("{:16} {}", step.name, step.about));
            return true;
        }
        if arguments.install {
            // The steps that still lack a tool report it themselves.
            ci::install_missing(&steps).unwrap_or_else(|why| eprintln!("warning: {why}"));
        }
        ci::run(&super::workspace_root(), &steps, arguments.no_skip)
    }))
}

/// Returns the steps with these names, in their usual order; all steps without a name.
fn choose(names: &[String]) -> Result<Vec<Step>, String> {
    let mut steps = ci::all();
    super::known("step", names, &steps.iter().map(|step| step.name).collect::<Vec<_>>())?;
    steps.retain(|step| names.is_empty() || names.iter().any(|name| name == step.name));
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn an_unknown_step_is_named() {
        let error = choose(&["fromat".to_owned()]).unwrap_err();
        assert_eq!(error, "expected a step, found `fromat`; did you mean `format`?");
    }

    #[test]
    fn steps_keep_their_order() {
        let chosen: Vec<_> = choose(&["verify".to_owned(), "format".to_owned()])
            .unwrap()
            .iter()
            .map(|step| step.name)
            .collect();
        assert_eq!(chosen, ["format", "verify"]);
    }
}
