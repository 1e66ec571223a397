//! The commands of the command line. Each command only calls other modules' steps.

use std::path::{Path, PathBuf};
#[cfg(feature = "tools")]
use std::process::ExitCode;

#[cfg(feature = "tools")]
pub mod bench;
#[cfg(feature = "tools")]
pub mod bump;
#[cfg(feature = "tools")]
pub mod coverage;
#[cfg(feature = "tools")]
pub mod diff;
#[cfg(feature = "tools")]
pub mod export;
#[cfg(feature = "tools")]
pub mod facts;
#[cfg(feature = "tools")]
pub mod fuzz;
#[cfg(feature = "tools")]
pub mod guest;
#[cfg(feature = "tools")]
pub mod header;
#[cfg(feature = "tools")]
pub mod mutants;
#[cfg(feature = "tools")]
pub mod reference;
pub mod regen;
#[cfg(feature = "tools")]
pub mod schema;
#[cfg(feature = "tools")]
pub mod test;
#[cfg(feature = "tools")]
pub mod verify;

/// The folder of the measured facts, in the workspace.
pub const FACTS: &str = "abi-yaml/facts";

/// Returns the root of the workspace.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Parses a release on the command line.
///
/// # Errors
/// If the text is not a release.
pub fn parse_release(text: &str) -> Result<crate::document::Release, String> {
    text.parse().map_err(|()| "expected a release such as 4.17".to_owned())
}

/// Returns cargo's target folder.
#[must_use]
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace_root().join("target"), PathBuf::from)
}

/// Returns the exit code of a command: 0 on success, 1 if a check failed, 2 if the command could
/// not run. In the last case, prints the reason.
#[cfg(feature = "tools")]
fn finish(result: Result<bool, String>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            why.lines().for_each(|line| eprintln!("error: {line}"));
            ExitCode::from(2)
        }
    }
}

/// Rejects a name that is not in `all`, and proposes the nearest one.
#[cfg(feature = "tools")]
fn known(kind: &str, names: &[String], all: &[&str]) -> Result<(), String> {
    let Some(unknown) = names.iter().find(|name| !all.contains(&name.as_str())) else {
        return Ok(());
    };
    let nearest = all
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, unknown), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(unknown.len()) / 2);
    Err(match nearest {
        Some((_, name)) => format!("expected a {kind}, found `{unknown}`; did you mean `{name}`?"),
        None => format!("expected a {kind}, found `{unknown}`; `--list` shows all"),
    })
}

#[cfg(all(test, feature = "tools"))]
mod tests {
    use super::known;

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let all = ["timer", "sched"];
        assert_eq!(known("program", &["sched".to_owned()], &all), Ok(()));
        for (name, end) in [("tiemr", "did you mean `timer`?"), ("zzzzzzz", "`--list` shows all")] {
            let error = known("program", &[name.to_owned()], &all).unwrap_err();
            assert!(error.contains(&format!("found `{name}`")) && error.ends_with(end), "{error}");
        }
    }
}
