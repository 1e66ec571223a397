//! `cargo xtask schema`: writes the JSON Schemas of the description and the list of its keys.

use super::{finish, workspace_root};
use crate::replace::replace;
use crate::schema;
use std::fs;
use std::process::ExitCode;

/// The arguments of `cargo xtask schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first line of each YAML file names its schema, so that editors with a YAML language server \
complete keys, show their documentation, and mark mistakes. The schemas and abi-yaml/KEYS.md are \
made of the tables of keys that the reader uses (xtask/src/document/language.rs).")]
pub struct Arguments {
    /// Write nothing; exit with 1 if a file is stale.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    finish(write(arguments.check))
}

fn write(check: bool) -> Result<bool, String> {
    let folder = workspace_root().join("abi-yaml");
    let mut fresh = true;
    for (name, text) in schema::files() {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            println!("schema: abi-yaml/{name} is up to date");
        } else if check {
            eprintln!("error: abi-yaml/{name} is stale; run `cargo xtask schema`");
            fresh = false;
        } else {
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent)
                .and_then(|()| replace(&path, text))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            println!("schema: abi-yaml/{name} written");
        }
    }
    Ok(fresh)
}
