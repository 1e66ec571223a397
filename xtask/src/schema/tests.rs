//! The generated files are fresh. The reader and the schema accept every file of the description,
//! and both refuse the same mistakes: for each key, other spellings, wrong values, and its absence.

use super::{files, modeline};
use crate::commands::workspace_root;
use crate::document;
use crate::document::language::{FILE, MANIFEST};
use crate::document::mapping::{Kind, Mapping};
use crate::yaml::Sources;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The validator, which is part of Debian's package python3-jsonschema.
const VALIDATOR: &str = "/usr/bin/jsonschema";

/// A step from a value to one inside it.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Item(usize),
}

/// A mapping of the language in a file of the description.
struct Found {
    root: &'static Mapping,
    file: String,
    path: Vec<Step>,
}

/// The mapping with the name, and the first place that has the key. If no place has the key, the
/// first place of the mapping.
type Places = BTreeMap<(&'static str, &'static str), (&'static Mapping, Found, bool)>;

/// The files of the description as data, by name.
fn description() -> BTreeMap<String, Value> {
    let folder = workspace_root().join("abi-yaml");
    let names = fs::read_dir(&folder).expect("the folder").filter_map(|entry| {
        let name = entry.expect("an entry").file_name().into_string().ok()?;
        name.strip_suffix(".yaml").map(str::to_owned)
    });
    let read = |name: String| {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("a file");
        (name, serde_yaml::from_str(&text).expect("YAML"))
    };
    names.map(read).collect()
}

fn root(file: &str) -> &'static Mapping {
    if file == "manifest" { &MANIFEST } else { &FILE }
}

/// Notes the places of a mapping and of all mappings in it.
fn walk(mapping: &'static Mapping, value: &Value, at: &Found, places: &mut Places) {
    for key in mapping.keys() {
        let there = !value[key.name].is_null();
        let known = places.get(&(mapping.name, key.name));
        if known.is_none_or(|(_, _, has)| there && !has) {
            let found = Found { root: at.root, file: at.file.clone(), path: at.path.clone() };
            places.insert((mapping.name, key.name), (mapping, found, there));
        }
        if there {
            inside(&key.kind, &value[key.name], at, Step::Key(key.name.to_owned()), places);
        }
    }
}

fn inside(kind: &Kind, value: &Value, at: &Found, step: Step, places: &mut Places) {
    let mut path = at.path.clone();
    path.push(step);
    let at = Found { root: at.root, file: at.file.clone(), path };
    match kind {
        Kind::Item(mapping) => walk(mapping, value, &at, places),
        Kind::List(one) => {
            for (index, value) in value.as_array().expect("a list").iter().enumerate() {
                inside(one, value, &at, Step::Item(index), places);
            }
        }
        Kind::Map(one) => {
            for (name, value) in value.as_object().expect("a map") {
                inside(one, value, &at, Step::Key(name.clone()), places);
            }
        }
        _ => {}
    }
}

/// Returns a file with no more than the way to a place needs: of lists and maps, one item.
fn excerpt(kind: &Kind, value: &Value, path: &[Step]) -> Value {
    match kind {
        Kind::Item(mapping) => {
            let entries = mapping.keys().filter(|key| !value[key.name].is_null()).map(|key| {
                let on = matches!(path.first(), Some(Step::Key(name)) if name == key.name);
                let rest = if on { &path[1..] } else { &[] };
                (key, excerpt(&key.kind, &value[key.name], rest), on)
            });
            // Of sections, only that on the way.
            let is_section = |kind: &Kind| matches!(kind, Kind::Map(_) | Kind::List(Kind::Item(_)));
            let kept = entries.filter(|(key, _, on)| {
                let needed = key.required || mapping.one_of.contains(&key.name);
                *on || needed || !is_section(&key.kind)
            });
            Value::Object(kept.map(|(key, value, _)| (key.name.to_owned(), value)).collect())
        }
        Kind::List(one @ Kind::Item(_)) => {
            let (index, rest) = match path {
                [Step::Item(index), rest @ ..] => (*index, rest),
                _ => (0, path),
            };
            value
                .as_array()
                .expect("a list")
                .get(index)
                .map_or(json!([]), |value| json!([excerpt(one, value, rest)]))
        }
        Kind::Map(one @ Kind::Item(_)) => {
            let map = value.as_object().expect("a map");
            let (name, rest) = match path {
                [Step::Key(name), rest @ ..] => (name.clone(), rest),
                _ => (map.keys().next().expect("an item").clone(), path),
            };
            let one = excerpt(one, &map[&name], rest);
            json!({ name: one })
        }
        _ => value.clone(),
    }
}

/// Returns the value at the end of a path that [`excerpt`] has shortened.
fn target<'v>(value: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(name) => &mut value[name],
        Step::Item(_) => &mut value[0],
    })
}

/// Values that a key of this kind cannot have.
fn wrong(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Text | Kind::Type => vec![json!(5), json!([]), json!(" ")],
        Kind::Ascii => vec![json!(5), json!("a\"b")],
        Kind::Integer => vec![json!("5"), json!(true), json!(1.5)],
        Kind::Unsigned => vec![json!("5"), json!(-1)],
        Kind::Count => vec![json!(0), json!(-1), json!([])],
        Kind::Boolean => vec![json!("true"), json!(1)],
        Kind::Release => vec![json!(4.5), json!("4"), json!("Xen 4.5")],
        Kind::Bits => vec![json!(64), json!("x"), json!([])],
        Kind::Choice(_) => vec![json!("another"), json!(5)],
        Kind::Numbers(_) => vec![json!(5), json!("32")],
        Kind::PerArch(one) => {
            let each = wrong(one).into_iter();
            let each = each.flat_map(|value| [value.clone(), json!({ "x86_64": value })]);
            each.chain([json!({})]).collect()
        }
        Kind::List(_) => vec![json!("x"), json!({ "x": 1 })],
        Kind::Map(_) | Kind::Item(_) => vec![json!("x"), json!([])],
    }
}

/// A file with a mistake, or without one.
struct Case {
    root: &'static Mapping,
    file: String,
    about: String,
    value: Value,
    is_wrong: bool,
}

fn cases() -> Vec<Case> {
    let description = description();
    let mut places = Places::new();
    let mut cases = Vec::new();
    for (file, value) in &description {
        let at = Found { root: root(file), file: file.clone(), path: Vec::new() };
        walk(root(file), value, &at, &mut places);
        cases.push(Case {
            root: root(file),
            file: file.clone(),
            about: format!("the whole {file}"),
            value: value.clone(),
            is_wrong: false,
        });
    }
    for ((name, key), (mapping, found, there)) in &places {
        let whole = excerpt(&Kind::Item(found.root), &description[&found.file], &found.path);
        let mut case = |about: &str, change: &dyn Fn(&mut Value)| {
            let mut value = whole.clone();
            change(target(&mut value, &found.path));
            let about = format!("{about}: `{key}` of `{name}` in {}", found.file);
            let is_wrong = value != whole;
            cases.push(Case { root: found.root, file: found.file.clone(), about, value, is_wrong });
        };
        case("an excerpt", &|_| {});
        case("another spelling", &|value| {
            let old = value.as_object_mut().expect("a mapping").remove(*key);
            value[format!("{key}s_")] = old.unwrap_or_else(|| json!("x"));
        });
        let kind = mapping.keys().find(|known| known.name == *key).expect("the key");
        for wrong in wrong(&kind.kind) {
            case(&format!("the value {wrong}"), &|value| value[*key] = wrong.clone());
        }
        if kind.required {
            assert!(there, "`{key}` of `{name}` is not always there");
            case("without", &|value| drop(value.as_object_mut().expect("a mapping").remove(*key)));
        }
        if mapping.one_of.contains(key) && *there {
            let remove =
                |value: &mut Value| drop(value.as_object_mut().map(|map| map.remove(*key)));
            case("without the one", &remove);
            for other in mapping.one_of.iter().filter(|other| *other != key) {
                case(&format!("also {other}"), &|value| value[*other] = value[*key].clone());
            }
        }
    }
    cases
}

/// What the reader finds wrong with the file of a case.
fn errors(case: &Case, manifest: &Value) -> Vec<String> {
    let text = case.value.to_string();
    let is_manifest = case.root.name == MANIFEST.name;
    let mut listed = manifest.clone();
    listed["files"] = json!(["subject"]);
    let (subject, manifest) =
        if is_manifest { ("{}".to_owned(), text) } else { (text, listed.to_string()) };
    let sources = Sources::from_texts([("manifest", &*manifest), ("subject", &*subject)]);
    let (_, errors) = document::read(&sources);
    // A manifest that is read alone has no files.
    let about = if is_manifest { "manifest" } else { "subject" };
    let errors = errors.into_iter().filter(|error| error.place.file == about);
    let errors = errors.filter(|error| !error.message.starts_with("there is no file `"));
    errors.map(|error| error.message).collect()
}

#[test]
fn the_reader_refuses_each_mistake_with_a_key() {
    let cases = cases();
    let manifest = &cases.iter().find(|case| case.file == "manifest").expect("one").value;
    for case in &cases {
        let errors = errors(case, manifest);
        let (about, value) = (&case.about, &case.value);
        assert_eq!(!errors.is_empty(), case.is_wrong, "{about}: {errors:?} in {value}");
    }
    assert!(cases.len() > 800, "only {} cases", cases.len());
}

#[test]
#[ignore = "needs the package python3-jsonschema"]
fn the_schema_refuses_each_mistake_with_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = cases();
    for (root, schema) in [(&MANIFEST, "manifest.json"), (&FILE, "file.json")] {
        let mut command = Command::new(VALIDATOR);
        command.args(["--output", "pretty"]);
        let of_root = cases.iter().enumerate().filter(|(_, case)| case.root.name == root.name);
        let of_root: Vec<_> = of_root.collect();
        for (index, case) in &of_root {
            let path = folder.path().join(format!("{index}.json"));
            fs::write(&path, case.value.to_string()).expect("a file is written");
            command.arg("-i").arg(path);
        }
        let schema = workspace_root().join("abi-yaml/schema").join(schema);
        let output = command.arg(schema).output().expect("the validator runs");
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        for (index, case) in of_root {
            let path = folder.path().join(format!("{index}.json"));
            let is = |what: &str| told.contains(&format!("==[{what}]===({})==", path.display()));
            let refused = is("ValidationError");
            assert!(refused != is("SUCCESS"), "no verdict: {}\n{told}", case.about);
            assert_eq!(refused, case.is_wrong, "{}: {:#}", case.about, case.value);
        }
    }
}

#[test]
fn generated_files_are_fresh_and_named_by_each_file() {
    let folder = workspace_root().join("abi-yaml");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    for (name, text) in files() {
        assert!(read(&folder.join(name)) == text, "{name} is stale; run `cargo xtask schema`");
    }
    for name in description().keys() {
        let text = read(&folder.join(format!("{name}.yaml")));
        let first = text.lines().next().unwrap_or("");
        assert_eq!(first, modeline(name), "{name}.yaml");
    }
}
