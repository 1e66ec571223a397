//! The real description with random mistakes: it is never a panic, takes no longer than it should,
//! and is told of in words.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use xtask::yaml::Sources;
use xtask::{check, diagnostic, document};

/// How many wrong descriptions are tried; `MUTATIONS` in the environment asks for another number.
const RUNS: u64 = 400;

/// What a scalar may become, besides any other scalar of the file.
const SCALARS: [&str; 30] = [
    "",
    "0",
    "-1",
    "1",
    "31",
    "64",
    "0xFFFFFFFFFFFFFFFF",
    "18446744073709551616",
    "9223372036854775808",
    "u8",
    "u64",
    "i32",
    "ulong",
    "handle",
    "flexible",
    "none",
    "bits",
    "versioned",
    "counter",
    "plain",
    "\"63:0\"",
    "\"0:1\"",
    "\"4.4\"",
    "\"4.20\"",
    "4.10",
    "[x86]",
    "[]",
    "{}",
    "{ x86: 1 }",
    "type",
];

/// The files of the description, as names and texts.
fn description() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml");
    let names = fs::read_dir(&folder).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".yaml").map(str::to_owned)
    });
    let mut files: Vec<_> = names
        .map(|name| (name.clone(), fs::read_to_string(folder.join(name + ".yaml")).unwrap()))
        .collect();
    files.sort();
    files
}

/// A description of three files: what the others are built on, and one of the others. Less text
/// gives time for more mistakes.
fn excerpt(files: &[(String, String)], random: &mut Random) -> Vec<(String, String)> {
    let mut names: BTreeSet<&str> = ["base", "hypercall"].into();
    let others: Vec<&str> =
        files.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "manifest").collect();
    names.insert(others[random.below(others.len())]);
    let manifest = &files.iter().find(|(name, _)| name == "manifest").expect("a manifest").1;
    let list: Vec<&str> = names.iter().copied().collect();
    let head = manifest.split("\nfiles:").next().expect("what comes before the files");
    let mut excerpt =
        vec![("manifest".to_owned(), format!("{head}\nfiles: [{}]\n", list.join(", ")))];
    excerpt.extend(files.iter().filter(|(name, _)| names.contains(name.as_str())).cloned());
    excerpt
}

/// What is said of a description.
fn answer(files: &[(String, String)]) -> (Vec<String>, String) {
    let sources =
        Sources::from_texts(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let (document, mut diagnostics) = document::read(&sources);
    diagnostics.extend(document.iter().flat_map(check::run));
    let drawn = diagnostic::render(&diagnostics, &sources, false);
    (diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect(), drawn)
}

#[test]
fn mistakes_are_told_of_and_never_cause_a_panic() {
    let runs =
        std::env::var("MUTATIONS").map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let files = description();
    let (mut told, mut kinds) = (0, BTreeSet::new());
    // What is said of an excerpt without a mistake: it may refer to files that it lacks.
    let mut without = HashMap::new();
    for seed in 1..=runs {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut excerpt = excerpt(&files, &mut random);
        let names = excerpt[0].1.clone();
        without.entry(names.clone()).or_insert_with(|| answer(&excerpt).0);
        for _ in 0..=random.below(3) {
            let at = random.below(excerpt.len());
            excerpt[at].1 = mistake(&excerpt[at].1, &mut random);
        }
        let start = Instant::now();
        let Ok((messages, drawn)) = catch_unwind(AssertUnwindSafe(|| answer(&excerpt))) else {
            panic!("seed {seed} causes a panic; its description is\n{excerpt:#?}");
        };
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "seed {seed} takes {:?}",
            start.elapsed()
        );
        assert!(drawn.matches("error: ").count() >= messages.len(), "seed {seed}: each is drawn");
        told += u64::from(messages != without[&names]);
        kinds.extend(messages.iter().map(|message| kind(message)));
    }
    assert!(told * 2 > runs, "only {told} of {runs} mistakes were noticed");
    assert!(
        kinds.len() as u64 > runs.min(RUNS) / 10,
        "only {} kinds of answer: {kinds:?}",
        kinds.len()
    );
    println!("{told} of {runs} mistakes were noticed, and told of in {} ways", kinds.len());
}

/// A message without what it names.
fn kind(message: &str) -> String {
    let fixed: String = message.split('`').step_by(2).collect();
    fixed.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// A text with one mistake more.
fn mistake(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = random.below(lines.len());
    match random.below(8) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[random.below(lines.len())].clone()),
        2 => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        3 => lines[at] = without_key(&lines[at], random),
        4 => lines[at].insert_str(0, "  "),
        5 => {
            let other = scalars(&lines[random.below(lines.len())].clone(), random)
                .map(|(_, scalar)| scalar);
            lines[at] = with_scalar(&lines[at], &other.unwrap_or_default(), random);
        }
        _ => lines[at] = with_scalar(&lines[at], SCALARS[random.below(SCALARS.len())], random),
    }
    lines.join("\n") + "\n"
}

/// A line of a flow mapping that lacks one of its entries.
fn without_key(line: &str, random: &mut Random) -> String {
    let mut entries: Vec<&str> = line.split(", ").collect();
    if entries.len() > 2 {
        entries.remove(1 + random.below(entries.len() - 2));
    }
    entries.join(", ")
}

/// A line of which one scalar is another.
fn with_scalar(line: &str, scalar: &str, random: &mut Random) -> String {
    match scalars(line, random) {
        Some((start, old)) => format!("{}{scalar}{}", &line[..start], &line[start + old.len()..]),
        None => line.to_owned(),
    }
}

/// A scalar of a line, and where it begins.
fn scalars(line: &str, random: &mut Random) -> Option<(usize, String)> {
    let starts: Vec<usize> = line.match_indices(": ").map(|(at, _)| at + 2).collect();
    let start = *starts.get(random.below(starts.len().max(1)))?;
    let rest = &line[start..];
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    Some((start, rest[..end].trim_end().to_owned()))
}

/// Xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % limit as u64).expect("less than the limit")
    }
}

/// A description of one file and no release but one.
fn one_file(sections: &str) -> Vec<(String, String)> {
    let manifest = "releases: [\"4.8\"]\nfiles: [base]\n\
     architectures:\n  x86: { pointer: 32, align_u64: 4, max_atomic: 32, doc: A processor. }\n";
    let text = format!("doc: What the test is about.\nheader: xen.h\n{sections}");
    vec![("manifest".to_owned(), manifest.to_owned()), ("base".to_owned(), text)]
}

#[test]
fn many_mistakes_take_time_in_proportion() {
    let many = |section: &str, count: usize, line: fn(usize, usize) -> String| {
        let lines: String = (0..count).map(|index| line(index, count)).collect();
        one_file(&format!("{section}\n{lines}"))
    };
    let unknown = many("types:", 10_000, |index, _| {
        format!("  type{index}: {{ is: tipe{index}, doc: One of many. }}\n")
    });
    let chain = many("types:", 5_000, |index, count| {
        format!("  t{index}: {{ is: t{}, doc: One of many. }}\n", (index + 1) % count)
    });
    let circle = many("blocks:", 5_000, |index, count| {
        format!(
            "  b{index}: {{ doc: One of many., fields: [{{ name: f, type: b{}, doc: The next. }}] \
             }}\n",
            (index + 1) % count
        )
    });
    let twice = many("constants:", 5_000, |index, _| {
        format!("  - {{ name: ONE, type: u32, value: {index}, doc: One of many. }}\n")
    });
    for (what, description, expected) in [
        ("unknown", unknown, 10_000),
        ("chain", chain, 1),
        ("circle", circle, 1),
        ("twice", twice, 4_999),
    ] {
        let start = Instant::now();
        let found = answer(&description).0.len();
        assert!(start.elapsed() < Duration::from_secs(30), "{what} takes {:?}", start.elapsed());
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn without_mistakes_nothing_is_told() {
    let (messages, drawn) = answer(&description());
    assert!(messages.is_empty(), "{drawn}");
}
