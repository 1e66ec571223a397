//! `cargo xtask reference`: writes the reference as static HTML.

use super::{export, finish, regen, target_folder};
use crate::reference;
use crate::replace::replace;
use std::fs;
use std::path::{Path, PathBuf};
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
    /// The folder of the pages: a new or empty one, or that of an earlier run.
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
    finish(write(&reference::generate(&abi), &out, arguments.check))
}

/// Returns the pages of an earlier run that no file replaces. A folder that has other files, but no
/// page of an earlier run, is an error, so no foreign file is replaced.
fn stale(files: &reference::Files, out: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", out.display());
    let (mut stale, mut other, mut own) = (Vec::new(), None, false);
    let entries = match fs::read_dir(out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(stale),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_page = path.extension().is_some_and(|ending| ending == "html")
            && fs::read_to_string(&path).is_ok_and(|text| text.contains(reference::MARK));
        own |= is_page;
        let name = path.file_name().and_then(|name| name.to_str());
        if is_page && !name.is_some_and(|name| files.contains_key(name)) {
            stale.push(path);
        } else if !is_page {
            other = Some(path);
        }
    }
    match other.filter(|_| !own) {
        None => Ok(stale),
        Some(other) => Err(format!(
            "{}: expected a new or empty folder, or one with pages of the reference; found {}",
            out.display(),
            other.display()
        )),
    }
}

fn write(files: &reference::Files, out: &Path, check: bool) -> Result<bool, String> {
    for path in stale(files, out)? {
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    for (name, text) in files {
        replace(&out.join(name), text).map_err(|error| format!("{}: {error}", out.display()))?;
    }
    let bytes: usize = files.values().map(String::len).sum();
    println!(
        "reference: {} files, {} KB; open {}",
        files.len(),
        bytes / 1024,
        out.join("index.html").display()
    );
    if check {
        match reference::links(files) {
            Ok(count) => println!("reference: {count} links lead somewhere"),
            Err(broken) => {
                broken.iter().for_each(|link| eprintln!("error: {link} leads nowhere"));
                return Ok(false);
            }
        }
        reference::in_browser(out)?;
        println!("reference: the search works in Chromium");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{reference, write};
    use std::fs;

    #[test]
    fn only_pages_of_the_reference_are_removed_and_no_foreign_folder_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let page = |name: &str| (name.to_owned(), format!("<!DOCTYPE html>{}", reference::MARK));
        let files = |names: &[&str]| names.iter().map(|name| page(name)).collect();
        let present = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let (notes, out) = (folder.path().join("notes.html"), folder.path());
        fs::write(&notes, "mine").unwrap();
        let refused = write(&files(&["index.html"]), out, false).unwrap_err();
        assert!(refused.contains("expected a new or empty folder"), "{refused}");
        assert_eq!(present(), ["notes.html"]);
        fs::remove_file(&notes).unwrap();
        write(&files(&["index.html", "old.h.html"]), out, false).unwrap();
        fs::write(&notes, "mine").unwrap();
        write(&files(&["index.html", "new.h.html"]), out, false).unwrap();
        assert_eq!(present(), ["index.html", "new.h.html", "notes.html"]);
        assert_eq!(fs::read_to_string(&notes).unwrap(), "mine");
    }
}
