//! `cargo xtask header`.

use super::{finish, workspace_root};
use crate::codegen::{c_header, c_library};
use crate::commands::regen;
use crate::diagnostic::Diagnostic;
use crate::generate;
use crate::replace::replace;
use crate::yaml::{self, Place};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `cargo xtask header`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write nothing; exit with 1 if a header is stale.
    #[arg(long)]
    check: bool,
    /// The folder of the description.
    #[arg(long, value_name = "DIR")]
    abi: Option<PathBuf>,
    /// The header of the description.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let abi = arguments.abi.clone().unwrap_or_else(|| workspace_root().join("abi-yaml"));
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| workspace_root().join("xen-pac/include/xen_guest.h"));
    let made = yaml::load(&abi).map_err(generate::Failure::Load).and_then(|sources| {
        generate::checked(sources, |document, layouts| {
            c_header::generate(document, layouts)
                .map_err(|why| vec![Diagnostic::new(Place::root("manifest"), why)])
        })
    });
    let header = match made {
        Ok(header) => header,
        Err(failure) => return regen::failed(&failure),
    };
    let written = write(&header, &out, arguments.check);
    finish(written.and_then(|fresh| Ok(library(arguments.check)? && fresh)))
}

/// The files of the C library, in the order of the header's parts.
const LIBRARY: [&str; 6] =
    ["port.rs", "lib.rs", "events.rs", "clock.rs", "grants.rs", "console.rs"];

/// Writes the header of the C library.
fn library(check: bool) -> Result<bool, String> {
    let folder = workspace_root().join("xen-hal/capi");
    let mut files = Vec::new();
    for name in LIBRARY {
        let path = folder.join("src").join(name);
        let text = fs::read_to_string(&path);
        files.push((name, text.map_err(|error| format!("{}: {error}", path.display()))?));
    }
    write(&c_library::generate(&files)?, &folder.join("include/xen_hal.h"), check)
}

fn write(header: &str, out: &PathBuf, check: bool) -> Result<bool, String> {
    let shown = out.display();
    if fs::read_to_string(out).is_ok_and(|old| old == header) {
        println!("header: {shown} is up to date");
        return Ok(true);
    }
    if check {
        eprintln!("error: {shown} is stale; run `cargo xtask header`");
        return Ok(false);
    }
    replace(out, header).map_err(|error| format!("{shown}: {error}"))?;
    println!("header: {shown} written, {} lines", header.lines().count());
    Ok(true)
}
