//! `cargo xtask bench`.

use std::path::Path;
use std::process::ExitCode;

use crate::document::Document;
use crate::yaml::Sources;
use crate::{bench, document, yaml};

/// The arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to measure.
    what: What,
    /// The number of runs of each side; the median is shown.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// A measurement.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// A full regen, compared with svd2rust and rustfmt.
    Regen,
    /// A cold `cargo check` of xen-pac, compared with that of svd2rust's crate.
    Check,
    /// The instructions of the HAL's hot paths, compared with C; fails if the HAL needs more.
    Hal,
    /// The simulator's hypercalls per second, on one processor.
    Sim,
    /// A regen of the description, and of descriptions 4 and 16 times as large.
    Linear,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    match measure(arguments) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<String, String> {
    let root = super::workspace_root();
    let load = || description(&root.join("abi-yaml"));
    match arguments.what {
        What::Regen => bench::regen(&load()?.1, &root, arguments.runs),
        What::Check => bench::check(&load()?.1, &root, arguments.runs),
        What::Hal => bench::hal(&root),
        What::Sim => bench::sim(&root),
        What::Linear => {
            let (sources, document) = load()?;
            bench::linear(&sources, &document, &root, arguments.runs)
        }
    }
}

fn description(folder: &Path) -> Result<(Sources, Document), String> {
    let sources = yaml::load(folder).map_err(|error| error.to_string())?;
    let (document, wrong) = document::read(&sources);
    let document = document.filter(|_| wrong.is_empty());
    document
        .map(|document| (sources, document))
        .ok_or_else(|| "the description has errors; `cargo xtask regen` shows them".to_owned())
}
