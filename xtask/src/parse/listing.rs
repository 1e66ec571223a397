//! The manifest's list of files against the files that there are.

use super::errors::Errors;
use super::keys::{clipped, suggest};
use crate::diagnostic::Diagnostic;
use crate::document::{Manifest, Place};
use crate::source::Sources;

/// Reports each listed file that there is not, and each file that is not listed. `places` are those
/// of the manifest's files.
pub(super) fn compare(errors: &Errors, manifest: &Manifest, places: &[Place], sources: &Sources) {
    let unlisted: Vec<_> = sources
        .files
        .iter()
        .map(|file| file.name.as_str())
        .filter(|name| !listed(manifest, name))
        .collect();
    for (name, place) in manifest.files.iter().zip(places) {
        if sources.find(name).is_none() {
            let wrong = Diagnostic::new(
                place.clone(),
                format!("there is no file `{}.yaml`", clipped(name)),
            );
            errors.add_and_leave_out(suggest(
                wrong,
                name,
                unlisted.iter().copied(),
                "not listed are",
            ));
        }
    }
    for name in unlisted {
        let help = match name.strip_suffix(".yml") {
            Some(stem) => format!(
                "rename it to `{stem}.yaml`, and list `{stem}` under `files` in the manifest"
            ),
            None => format!("list `{name}` under `files` in the manifest, or remove the file"),
        };
        errors.add(
            Diagnostic::new(Place::root(name), "the manifest does not list this file").help(help),
        );
    }
}

fn listed(manifest: &Manifest, name: &str) -> bool {
    name == "manifest" || manifest.files.iter().any(|listed| listed == name)
}
