//! `cargo xtask test`.

use std::process::ExitCode;

use crate::ci::{self, Step};

/// The arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The steps to run; by default, all but those that `--list` marks with `by name`.
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
    let steps = choose(&arguments.steps, arguments.list);
    super::finish(steps.map(|steps| {
        if arguments.list {
            for Step { name, about, by_name, .. } in &steps {
                println!("{name:16} {}{about}", if *by_name { "(by name) " } else { "" });
            }
            return true;
        }
        if arguments.install {
            // The steps that still lack a tool report it themselves.
            ci::install_missing(&steps).unwrap_or_else(|why| eprintln!("warning: {why}"));
        }
        ci::run(&super::workspace_root(), &steps, arguments.no_skip)
    }))
}

/// Returns the steps with these names, in their usual order. Without a name, returns all steps, of
/// which those that run only by name are left out unless the steps are listed.
fn choose(names: &[String], list: bool) -> Result<Vec<Step>, String> {
    let mut steps = ci::all();
    super::known("step", names, &steps.iter().map(|step| step.name).collect::<Vec<_>>())?;
    let is_named = |step: &Step| names.iter().any(|name| name == step.name);
    steps.retain(|step| is_named(step) || names.is_empty() && (list || !step.by_name));
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn an_unknown_step_is_named() {
        let error = choose(&["fromat".to_owned()], false).unwrap_err();
        assert_eq!(error, "expected a step, found `fromat`; did you mean `format`?");
    }

    #[test]
    fn a_step_by_name_runs_only_if_it_is_named() {
        let has = |names: &[String], list| {
            let steps = choose(names, list).unwrap();
            steps.iter().any(|step| step.name == "scenarios-aarch64")
        };
        assert_eq!([has(&[], false), has(&[], true)], [false, true]);
        assert!(has(&["scenarios-aarch64".to_owned()], false));
    }

    #[test]
    fn steps_keep_their_order() {
        let chosen: Vec<_> = choose(&["verify".to_owned(), "format".to_owned()], false)
            .unwrap()
            .iter()
            .map(|step| step.name)
            .collect();
        assert_eq!(chosen, ["format", "verify"]);
    }
}
