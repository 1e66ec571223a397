//! `cargo xtask regen`.

use super::workspace_root;
use crate::codegen::output::{self, Lock, OutputError, Plan};
use crate::diagnostic;
use crate::generate::{self, Failure, Output};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The command that fixes the findings of `--check`.
const MENDS: &str = "cargo xtask regen";

/// The maximum number of errors that are shown. Of further errors, only the number is shown.
const MOST_ERRORS: usize = 50;

/// The arguments of `cargo xtask regen`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The whole description is read, checked and rendered before anything is written. If it has errors, \
all errors are reported and no file changes. Files that are up to date are not written, generated \
files without a source are removed, and other files are not touched.

Examples:
  cargo xtask regen                          generates xen-pac
  cargo xtask regen --check                  shows what is stale; exits with 1 if anything is
  cargo xtask regen --abi DIR --out DIR      works on copies")]
pub struct Arguments {
    /// Write nothing; show what would change, and exit with 1 if anything would change.
    #[arg(long)]
    check: bool,
    /// The folder of the description.
    #[arg(long, value_name = "DIR")]
    abi: Option<PathBuf>,
    /// The folder of the generated files.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let start = Instant::now();
    let abi = arguments.abi.clone().unwrap_or_else(|| shown(&workspace_root().join("abi-yaml")));
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| shown(&workspace_root().join("xen-pac/src/generated")));
    let output = match generate::from_folder(&abi) {
        Ok(output) => output,
        Err(failure) => return failed(&failure),
    };
    let _lock = (!arguments.check).then(|| Lock::of(&out));
    let plan = match Plan::new(&output.files, &out) {
        Ok(plan) => plan,
        Err(error) => return refused(&error),
    };
    if arguments.check {
        return judge(&plan, &output, start.elapsed());
    }
    if let Err(error) = output::apply(&plan) {
        return refused(&error);
    }
    for name in &plan.foreign {
        eprintln!(
            "\x1b[1;33mwarning\x1b[0m: `{}` was not generated; it is not touched",
            out.join(name).display()
        );
    }
    if !plan.is_empty() {
        println!("regen: {}", output::summary(&plan));
    }
    println!("{}", closing(&plan, &output, start.elapsed()));
    ExitCode::SUCCESS
}

fn judge(plan: &Plan, output: &Output, time: Duration) -> ExitCode {
    if plan.is_empty() {
        println!(
            "regen --check: {} items in {} files are up to date, {}",
            output.items,
            output.files.len(),
            seconds(time)
        );
        return ExitCode::SUCCESS;
    }
    print!("{}", output::diff(plan));
    let count = plan.changes.len();
    let (files, are) = if count == 1 { ("file", "is") } else { ("files", "are") };
    eprintln!("\x1b[1;31merror\x1b[0m: {count} generated {files} {are} stale; run `{MENDS}`");
    ExitCode::FAILURE
}

fn closing(plan: &Plan, output: &Output, time: Duration) -> String {
    format!(
        "regen: {} items in {} files: {} written, {} removed, {} unchanged, {}",
        output.items,
        output.files.len(),
        plan.written(),
        plan.removed(),
        plan.unchanged,
        seconds(time)
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

pub(super) fn failed(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Load(error) => eprintln!("\x1b[1;31merror\x1b[0m: {error}"),
        Failure::Wrong(sources, wrong) => {
            let colour = std::io::stderr().is_terminal();
            eprintln!("{}", diagnostic::render_first(wrong, sources, colour, MOST_ERRORS));
            let (count, errors) = (wrong.len(), if wrong.len() == 1 { "error" } else { "errors" });
            let shown = if count > MOST_ERRORS {
                format!(", of which the first {MOST_ERRORS} are shown")
            } else {
                String::new()
            };
            eprintln!(
                "\x1b[1;31merror\x1b[0m: {count} {errors} in the description{shown}; \
                 nothing was written"
            );
        }
    }
    ExitCode::FAILURE
}

fn refused(error: &OutputError) -> ExitCode {
    eprintln!("\x1b[1;31merror\x1b[0m: {error}");
    ExitCode::FAILURE
}

/// Returns a path for output, relative to the current directory if it is inside.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).map_or_else(|_| path.to_owned(), Path::to_owned)
}
