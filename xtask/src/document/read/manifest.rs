//! The manifest.

use super::context::{Errors, Keys};
use super::node::At;
use super::text::{clipped, suggest};
use crate::diagnostic::Diagnostic;
use crate::document::{Architecture, Manifest, Release, language};
use crate::yaml::{Place, Sources};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// As many architectures as a set of them can hold.
const MOST_ARCHITECTURES: usize = 32;

/// Returns the manifest, without which nothing else can be understood, and where in its list each
/// file stands.
pub(super) fn manifest(errors: &Errors, at: &At<'_>) -> Option<(Manifest, Vec<Place>)> {
    let keys = Keys::open(errors, at, &language::MANIFEST)?;
    let releases = keys.need(errors, "releases").and_then(|at| releases(errors, &at));
    let architectures =
        keys.need(errors, "architectures").and_then(|at| architectures(errors, &at));
    let files = keys.need(errors, "files").and_then(|at| files(errors, &at));
    let (files, places) = files?.into_iter().unzip();
    Some((Manifest { releases: releases?, architectures: architectures?, files }, places))
}

fn releases(errors: &Errors, at: &At<'_>) -> Option<Vec<Release>> {
    let items: Vec<_> = errors.need(at.items("a list of releases"))?.collect();
    let releases: Vec<_> = items
        .iter()
        .map(|item| errors.need(item.release()))
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<Option<_>>()?;
    for (index, pair) in releases.windows(2).enumerate().filter(|(_, pair)| pair[0] >= pair[1]) {
        let wrong = items[index + 1]
            .wrong(format!("the release {} does not come after {}", pair[1], pair[0]));
        errors.add_and_leave_out(
            wrong.label("must be later").help("list the oldest release first, and each once"),
        );
    }
    not_empty(errors, at, releases, "there is no release")
}

fn architectures(errors: &Errors, at: &At<'_>) -> Option<Vec<Architecture>> {
    let mapping = errors.need(at.mapping("a mapping of architectures"))?;
    if mapping.entries.len() > MOST_ARCHITECTURES {
        errors.add_and_leave_out(Diagnostic::new(
            at.place().as_key(),
            format!("there are more than {MOST_ARCHITECTURES} architectures"),
        ));
        return None;
    }
    let all: Vec<_> = mapping
        .entries
        .iter()
        .map(|entry| architecture(errors, &at.entry(entry), &entry.key))
        .collect();
    not_empty(errors, at, all.into_iter().collect::<Option<_>>()?, "there is no architecture")
}

fn architecture(errors: &Errors, at: &At<'_>, name: &str) -> Option<Architecture> {
    let keys = Keys::open(errors, at, &language::ARCHITECTURE)?;
    let doc = match keys.get("doc") {
        Some(doc) => errors.or(doc.text("a text that says what it is"), "").trim().to_owned(),
        None => {
            keys.missing(errors, "doc", "");
            String::new()
        }
    };
    let pointer = one_of(errors, &keys, "pointer", &language::POINTERS);
    let align_u64 = one_of(errors, &keys, "align_u64", &language::ALIGNMENTS);
    let max_atomic = one_of(errors, &keys, "max_atomic", &language::ATOMICS);
    Some(Architecture {
        name: name.to_owned(),
        doc,
        pointer_bytes: pointer? / 8,
        align_u64: align_u64?,
        max_atomic_bytes: max_atomic? / 8,
        place: at.place(),
    })
}

fn one_of(errors: &Errors, keys: &Keys<'_>, key: &'static str, allowed: &[u32]) -> Option<u32> {
    let at = keys.need(errors, key)?;
    let value = errors.need(at.integer())?;
    let known = allowed.iter().copied().find(|allowed| i128::from(*allowed) == value);
    if known.is_none() {
        let list: Vec<_> = allowed.iter().map(u32::to_string).collect();
        errors.add_and_leave_out(
            at.wrong(format!("`{key}` cannot be {value}"))
                .label(format!("must be {}", list.join(" or "))),
        );
    }
    known
}

fn files(errors: &Errors, at: &At<'_>) -> Option<Vec<(String, Place)>> {
    let mut files = Vec::new();
    let mut first = HashMap::new();
    for (index, item) in errors.need(at.items("a list of files"))?.enumerate() {
        let Some(name) = errors.need(item.text("the name of a file")) else { continue };
        if name == "manifest" {
            errors.add(
                item.wrong("the manifest lists itself").help("list only the files with items"),
            );
            continue;
        }
        match first.entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(index);
                files.push((name.to_owned(), item.place()));
            }
            Entry::Occupied(first) => {
                let wrong = item
                    .wrong(format!("the file `{}` is listed twice", clipped(name)))
                    .label("listed again");
                errors.add(wrong.related(at.place().item(*first.get()), "first listed here"));
            }
        }
    }
    not_empty(errors, at, files, "there is no file")
}

fn not_empty<T>(errors: &Errors, at: &At<'_>, list: Vec<T>, message: &str) -> Option<Vec<T>> {
    if list.is_empty() {
        errors.add_and_leave_out(Diagnostic::new(at.place().as_key(), message).label("empty"));
        return None;
    }
    Some(list)
}

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
