//! `cargo xtask test`.

use std::process::ExitCode;

use crate::ci::{self, Step};

/// What `cargo xtask test` can be told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these steps; without names, all of them.
    steps: Vec<String>,
    /// Say which steps there are, and stop.
    #[arg(long)]
    list: bool,
    /// First install what is missing, with apt, as root.
    #[arg(long)]
    install: bool,
    /// A step that cannot run for lack of a program has failed (Miri excepted).
    #[arg(long)]
    no_skip: bool,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let steps = match choose(&arguments.steps) {
        Ok(steps) => steps,
        Err(unknown) => {
            eprintln!("error: there is no step `{unknown}`; `cargo xtask test --list` names them");
            return ExitCode::from(2);
        }
    };
    if arguments.list {
        for step in &steps {
            println!("{:16} {}", step.name, step.about);
        }
        return ExitCode::SUCCESS;
    }
    if arguments.install {
        // Not fatal: the steps that still lack something say so themselves.
        ci::install_missing(&steps).unwrap_or_else(|why| eprintln!("warning: {why}"));
    }
    let tally = ci::run(&super::workspace_root(), &steps, arguments.no_skip);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The steps of those names, in the suite's order; all of them for no name.
fn choose(names: &[String]) -> Result<Vec<Step>, String> {
    let all = ci::all();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|step| step.name != **name)) {
        return Err(unknown.clone());
    }
    Ok(all
        .into_iter()
        .filter(|step| names.is_empty() || names.iter().any(|name| name == step.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn an_unknown_step_is_named() {
        assert_eq!(choose(&["fromat".to_owned()]).unwrap_err(), "fromat");
    }

    #[test]
    fn steps_keep_the_order_of_the_suite() {
        let chosen: Vec<_> = choose(&["verify".to_owned(), "format".to_owned()])
            .unwrap()
            .iter()
            .map(|step| step.name)
            .collect();
        assert_eq!(chosen, ["format", "verify"]);
    }
}
