//! `cargo xtask export`: prints the resolved ABI as data.

use super::{finish, regen, workspace_root};
use crate::export::{self, Abi};
use crate::generate::{self, Failure};
use crate::replace::replace;
use crate::yaml;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `cargo xtask export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The export holds every item of the description: values, layouts and availability are resolved for \
each architecture and range of releases. abi-yaml/README.md describes the keys. The same \
description gives the same text.

Examples:
  cargo xtask export > abi.json
  cargo xtask export --format yaml --out abi.yaml
  cargo xtask export | jq '.files[].structs[] | select(.name == \"vcpu_info\") | .layouts'")]
pub struct Arguments {
    /// The form of the text.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Write this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The folder of the description.
    #[arg(long, value_name = "DIR")]
    abi: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
    Yaml,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let abi = match resolved(arguments.abi.clone()) {
        Ok(abi) => abi,
        Err(failure) => return regen::failed(&failure),
    };
    finish(write(arguments, &abi).map(|()| true))
}

/// Reads, checks and resolves the description.
pub(super) fn resolved(folder: Option<PathBuf>) -> Result<Abi, Failure> {
    let folder = folder.unwrap_or_else(|| workspace_root().join("abi-yaml"));
    let sources = yaml::load(&folder).map_err(Failure::Load)?;
    generate::checked(sources, |document, layouts| Ok(export::resolve(document, layouts)))
}

fn write(arguments: &Arguments, abi: &Abi) -> Result<(), String> {
    let text = match arguments.format {
        Format::Json => export::json(abi)?,
        Format::Yaml => export::yaml(abi)?,
    };
    match &arguments.out {
        Some(path) => replace(path, text).map_err(|error| format!("{}: {error}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}
