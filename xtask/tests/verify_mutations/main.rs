//! Changes one thing of the description at a time, in memory, and sees verification fail each time.
//!
//! By default some changes of each kind are tried, spread over the whole description; with
//! `XTASK_MUTATIONS=all` in the environment, all.

mod change;
mod walk;

use change::{Change, Claims, changes};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use walk::walk;
use xtask::document::Document;
use xtask::headers::facts::Facts;
use xtask::headers::{store, verify};
use xtask::layout::Symbols;
use xtask::{document, yaml};

/// How many changes of each kind are tried by default.
const OF_EACH: usize = 15;

/// Kinds of which the description must have some.
const KINDS: [&str; 15] = [
    "since",
    "until",
    "named_since",
    "arch added",
    "arch removed",
    "constant",
    "enumeration value",
    "bits",
    "bit field value",
    "encoding's tag",
    "command number",
    "size",
    "field's type",
    "field's count",
    "fields' order",
];

/// A change and where to make it.
struct Mutation {
    file: usize,
    point: usize,
    name: String,
    change: Change,
}

fn description() -> (Document, Facts) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml");
    let sources = yaml::load(&folder).expect("the description can be read");
    let (document, wrong) = document::read(&sources);
    assert_eq!(wrong, [], "the description parses");
    (
        document.expect("a description without errors"),
        store::load(&folder.join("facts")).expect("the facts can be read"),
    )
}

fn mutations(document: &Document) -> BTreeMap<&'static str, Vec<Mutation>> {
    let names = Symbols::new(document);
    let mut found: BTreeMap<&'static str, Vec<Mutation>> = BTreeMap::new();
    let mut claims = Claims::default();
    walk(&mut document.clone(), &mut |_, _, point| claims.add(&point));
    let mut index = 0;
    walk(&mut document.clone(), &mut |file, name, point| {
        for change in changes(&point, &names, &claims) {
            found.entry(change.kind(&point)).or_default().push(Mutation {
                file,
                point: index,
                name: name.to_owned(),
                change,
            });
        }
        index += 1;
    });
    found
}

fn mutated(document: &Document, mutation: &Mutation) -> Document {
    let mut changed = document.clone();
    let mut index = 0;
    walk(&mut changed, &mut |_, _, point| {
        if index == mutation.point {
            mutation.change.apply(point);
        }
        index += 1;
    });
    changed
}

/// Returns the description with which verification compares only the structs of a file: it leaves
/// out a struct that has no name in C.
fn part(whole: &Document, file: usize) -> Document {
    let here = &whole.files[file].structs;
    let compared: BTreeSet<_> = here.iter().filter_map(|item| item.head.c.as_ref()).collect();
    let mut part = whole.clone();
    for item in part.files.iter_mut().flat_map(|file| &mut file.structs) {
        item.head.c = item.head.c.take().filter(|name| compared.contains(name));
    }
    part
}

/// Returns whether verification fails. First compares only the structs of the changed file, which
/// takes a sixth of the time: where that fails, so does the whole.
fn is_noticed(document: &Document, mutation: &Mutation, facts: &Facts) -> bool {
    let whole = mutated(document, mutation);
    let part = part(&whole, mutation.file);
    [part, whole].iter().any(|changed| !verify::run(changed, facts).mismatches.is_empty())
}

#[test]
fn every_small_change_makes_verification_fail() {
    let (document, facts) = description();
    assert_eq!(
        verify::run(&document, &facts).mismatches,
        [],
        "the description holds before it is changed"
    );
    for (index, file) in document.files.iter().enumerate() {
        let mismatches = verify::run(&part(&document, index), &facts).mismatches;
        assert_eq!(mismatches, [], "the structs of `{}` hold alone", file.name);
    }
    let all = std::env::var_os("XTASK_MUTATIONS").is_some_and(|wanted| wanted == "all");
    let mut survivors = Vec::new();
    let mut tried = 0;
    let mut out = std::io::stderr();
    let mutations = mutations(&document);
    for kind in KINDS {
        assert!(mutations.contains_key(kind), "nothing of the kind `{kind}` can be changed");
    }
    for (kind, mutations) in &mutations {
        let step = if all { 1 } else { mutations.len().div_ceil(OF_EACH) };
        let chosen: Vec<&Mutation> = mutations.iter().step_by(step).collect();
        for mutation in &chosen {
            if !is_noticed(&document, mutation, &facts) {
                survivors.push(format!("{kind}: {} {:?}", mutation.name, mutation.change));
            }
        }
        tried += chosen.len();
        writeln!(out, "mutations: {:5} of {:5} tried: {kind}", chosen.len(), mutations.len())
            .expect("stderr");
    }
    writeln!(out, "mutations: {tried} tried, {} went unnoticed", survivors.len()).expect("stderr");
    assert_eq!(survivors, Vec::<String>::new());
}
