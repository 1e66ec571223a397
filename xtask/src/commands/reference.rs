//! `cargo xtask reference`: writes the reference as static HTML.

use super::{export, finish, regen, target_folder};
use crate::reference;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `cargo xtask reference`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The pages need no server: open index.html in a browser. A query in the address is searched at \
once, as in index.html#q=evtchn.

Examples:
  cargo xtask reference                  writes target/reference
  cargo xtask reference --check          also checks the links, and searches with Chromium")]
pub struct Arguments {
    /// The folder of the pages; its HTML files of an earlier run are replaced.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Check the links, and the search in headless Chromium.
    #[arg(long)]
    check: bool,
    /// The folder of the description.
    #[arg(long, value_name = "DIR")]
    abi: Option<PathBuf>,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let abi = match export::resolved(arguments.abi.clone()) {
        Ok(abi) => abi,
        Err(failure) => return regen::failed(&failure),
    };
    let out = arguments.out.clone().unwrap_or_else(|| target_folder().join("reference"));
    finish(write(&reference::generate(&abi), &out, arguments.check).map(|()| true))
}

fn write(files: &reference::Files, out: &PathBuf, check: bool) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", out.display());
    fs::create_dir_all(out).map_err(failed)?;
    for entry in fs::read_dir(out).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "html") {
            fs::remove_file(path).map_err(failed)?;
        }
    }
    for (name, text) in files {
        fs::write(out.join(name), text).map_err(failed)?;
    }
    let bytes: usize = files.values().map(String::len).sum();
    println!(
        "reference: {} files, {} KB; open {}",
        files.len(),
        bytes / 1024,
        out.join("index.html").display()
    );
    if check {
        let count = reference::links(files).map_err(|broken| broken.join("\n"))?;
        println!("reference: {count} links lead somewhere");
        reference::in_browser(out)?;
        println!("reference: the search works in Chromium");
    }
    Ok(())
}
