//! The manifest's list of files against the files that there are.

use super::errors::Errors;
use super::keys::suggest;
use crate::diagnostic::Diagnostic;
use crate::document::{Manifest, Place};
use crate::source::Sources;

/// Reports each listed file that there is not, and each file that is not listed.
pub(super) fn compare(errors: &Errors, manifest: &Manifest, sources: &Sources) {
    let unlisted: Vec<_> = sources.files.iter().map(|file| file.name.as_str()).filter(|name| !listed(manifest, name)).collect();
    for (index, name) in manifest.files.iter().enumerate().filter(|(_, name)| sources.find(name).is_none() || *name == "manifest") {
        let place = Place::root("manifest").key("files").item(index);
        let wrong = match name.as_str() {
            "manifest" => Diagnostic::new(place, "the manifest lists itself").help("list only the files with items"),
            _ => {
                suggest(Diagnostic::new(place, format!("there is no file `{name}.yaml`")), name, unlisted.iter().copied(), "not listed are")
            }
        };
        errors.add_and_leave_out(wrong);
    }
    for name in unlisted {
        let help = match name.strip_suffix(".yml") {
            Some(stem) => format!("rename it to `{stem}.yaml`, and list `{stem}` under `files` in the manifest"),
            None => format!("list `{name}` under `files` in the manifest, or remove the file"),
        };
        errors.add(Diagnostic::new(Place::root(name), "the manifest does not list this file").help(help));
    }
}

fn listed(manifest: &Manifest, name: &str) -> bool {
    name == "manifest" || manifest.files.iter().any(|listed| listed == name)
}
