//! The history of the description, replayed: cut to an old release and bumped from release to
//! release with the kept facts, it says the same about the headers of each release as the whole
//! description does. What a person judges is not compared: texts, groups, the types of fields,
//! access, direction, and which command takes which argument.

use super::edits;
use crate::document::{self, ArchId, Document, Release, ReleaseId};
use crate::headers::diff::{self, State};
use crate::headers::store;
use crate::headers::verify::{self, FILE, Rules};
use crate::layout::Layouts;
use crate::yaml::{self, Mapping, Node, Sources, Value};
use std::path::Path;

/// The release to which the description is cut.
const OLD: Release = Release { major: 4, minor: 6 };

#[test]
fn the_bumps_since_4_6_give_the_whole_description() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml");
    let sources = yaml::load(&folder).expect("the description");
    let whole = read(&sources);
    let facts = store::load(&folder.join("facts")).expect("the facts");
    let rules = std::fs::read_to_string(folder.join("facts").join(FILE)).expect("the rules");
    let rules = Rules::read(&rules).expect("rules");

    let mut sources = cut(&sources, &whole);
    let mut replayed = read(&sources);
    for release in whole.manifest.releases.iter().filter(|release| **release > OLD) {
        let proposal = edits(&sources, &replayed, &facts, &rules, *release).expect("edits");
        assert_eq!(proposal.left, [""; 0], "{release}");
        let after = proposal.applied(&sources);
        let texts: Vec<(&str, String)> =
            after.files.iter().map(|file| (file.name.as_str(), judged(&file.text))).collect();
        sources = Sources::from_texts(texts.iter().map(|(name, text)| (*name, text.as_str())));
        replayed = read(&sources);
    }
    for id in (0..whole.manifest.releases.len()).map(ReleaseId) {
        let (whole, replayed) = (state(&whole, id), state(&replayed, id));
        for (whole, replayed) in whole.tables.iter().zip(&replayed.tables) {
            assert_eq!(whole.places, replayed.places, "{} {}", whole.release, whole.arch);
        }
        assert_eq!(diff::compare(&whole, &replayed), []);
        assert_eq!(whole.tables, replayed.tables);
    }
}

/// What `cargo xtask diff` compares is enough to find every change.
#[test]
fn a_comparison_of_the_names_that_differ_finds_every_change() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml");
    let whole = read(&yaml::load(&folder).expect("the description"));
    let states: Vec<State> =
        (0..whole.manifest.releases.len()).map(|id| state(&whole, ReleaseId(id))).collect();
    let newest = states.len() - 1;
    for (from, to) in (0..newest).map(|id| (id, id + 1)).chain([(0, newest), (newest, 0)]) {
        let some = verify::different(&whole, ReleaseId(from), ReleaseId(to));
        let [old, new] = some.map(|tables| State { tables, ..State::default() });
        let found = diff::compare(&old, &new);
        assert_eq!(found, diff::compare(&states[from], &states[to]), "{from} {to}");
    }
}

/// Returns what a description says about the headers of a release.
fn state(document: &Document, release: ReleaseId) -> State {
    State { tables: verify::tables(document, release), ..State::default() }
}

fn read(sources: &Sources) -> Document {
    let (document, wrong) = document::read(sources);
    assert_eq!(wrong, []);
    document.expect("a whole description")
}

/// Answers what a person must judge: nothing that the headers say depends on it.
fn judged(text: &str) -> String {
    let mut parts = text.split("judge: \"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("doc: Judged.");
        out.push_str(part.split_once('"').map_or("", |(_, rest)| rest));
    }
    out
}

/// Returns the description as it was when [`OLD`] was the newest release.
fn cut(whole: &Sources, document: &Document) -> Sources {
    let cut = Cut { document, layouts: Layouts::new(document) };
    let mut texts: Vec<(String, String)> = Vec::new();
    for source in whole.files.iter().filter(|source| source.name != "manifest") {
        let root = yaml::read(&source.text).root.expect("YAML");
        let text = cut.node(&root, 0, &source.name).unwrap_or_default();
        // Something is left below a section.
        if text.contains("\n  ") {
            texts.push((source.name.clone(), text));
        }
    }
    let is_left = |line: &str| {
        let item = line.trim().trim_start_matches("- ").trim_matches('"');
        let is_file = |name: &str| whole.find(name).is_some();
        match item.parse::<Release>() {
            Ok(release) => release <= OLD,
            Err(()) => !is_file(item) || texts.iter().any(|(name, _)| name == item),
        }
    };
    let manifest = &whole.find("manifest").expect("the manifest").text;
    let manifest: Vec<&str> = manifest.lines().filter(|line| is_left(line)).collect();
    texts.insert(0, ("manifest".to_owned(), manifest.join("\n")));
    Sources::from_texts(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())))
}

struct Cut<'d> {
    document: &'d Document,
    layouts: Layouts<'d>,
}

/// The lists without which an item has no meaning.
const LISTS: [&str; 6] = ["values", "fields", "list", "variants", "union", "struct"];

impl Cut<'_> {
    /// Returns what stands behind the colon or the dash; `None` if nothing is left. `name` is the
    /// key of the node, empty for an item of a sequence.
    fn node(&self, node: &Node<'_>, indent: usize, name: &str) -> Option<String> {
        let lead = " ".repeat(indent);
        match &node.value {
            Value::Scalar { text, plain } => Some(format!(" {}", scalar(text, *plain))),
            Value::Sequence(items) if items.iter().all(|item| item.text().is_some()) => {
                let items: Vec<&str> = items.iter().filter_map(Node::text).collect();
                Some(format!(" [{}]", items.join(", ")))
            }
            Value::Sequence(items) => {
                let items = items.iter().filter_map(|item| self.node(item, indent + 2, ""));
                let lines: Vec<String> = items.map(|item| format!("\n{lead}-{item}")).collect();
                (!lines.is_empty()).then(|| lines.concat())
            }
            Value::Mapping(mapping) => {
                let entries = self.entries(mapping, indent, name)?;
                let is_flat = entries.iter().all(|(_, text)| !text.contains('\n'));
                let lines = entries.iter().map(|(key, text)| format!("{key}:{text}"));
                let lines: Vec<String> = lines.collect();
                Some(if is_flat && indent > 2 {
                    format!(" {{ {} }}", lines.join(", "))
                } else if name.is_empty() {
                    format!(" {}", lines.join(&format!("\n{lead}")))
                } else {
                    lines.iter().map(|line| format!("\n{lead}{line}")).collect()
                })
            }
        }
    }

    /// Returns the keys of an item that are left, with what stands behind their colons.
    fn entries<'m>(
        &self,
        mapping: &'m Mapping<'_>,
        indent: usize,
        name: &str,
    ) -> Option<Vec<(&'m str, String)>> {
        let release = |key: &str| mapping.get(key)?.value.text()?.parse::<Release>().ok();
        let is_later = |key| release(key).is_some_and(|release| release > OLD);
        if is_later("since") {
            return None;
        }
        let mut entries = Vec::new();
        for entry in &mapping.entries {
            let key = &*entry.key;
            match key {
                "until" if release(key) >= Some(OLD) => {}
                "honoured_since" | "named_since" if is_later(key) => {}
                // The replacement may be later.
                "superseded_by" => {}
                "c" if is_later("named_since") => {}
                "size" if mapping.get("fields").is_some() => entries.push((key, self.size(name)?)),
                _ => match self.node(&entry.value, indent + 2, key) {
                    Some(text) => entries.push((key, text)),
                    None if LISTS.contains(&key) => return None,
                    None => {}
                },
            }
        }
        if is_later("named_since") {
            entries.insert(1, ("c", " none".to_owned()));
        }
        (!entries.is_empty()).then_some(entries)
    }

    /// Returns the size of a struct in the old release, for each architecture.
    fn size(&self, name: &str) -> Option<String> {
        let manifest = &self.document.manifest;
        let release = manifest.find_release(OLD)?;
        let archs = (0..manifest.architectures.len()).map(ArchId);
        let sizes = archs.filter_map(|arch| {
            let layout = self.layouts.of(name, release, arch).ok()?;
            Some(format!("{}: {}", manifest.arch(arch).name, layout.size))
        });
        Some(format!(" {{ {} }}", sizes.collect::<Vec<_>>().join(", ")))
    }
}

fn scalar(text: &str, plain: bool) -> String {
    if plain && !text.contains([',', '[', ']', '{', '}', '\n', '"']) {
        return text.to_owned();
    }
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
    format!("\"{text}\"")
}
