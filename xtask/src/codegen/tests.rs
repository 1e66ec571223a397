//! What small descriptions become.

use super::{MARK, generate};
use crate::layout::Layouts;
use crate::yaml::Sources;
use crate::{check, document};

const MANIFEST: &str = r#"
releases: ["4.4", "4.5", "4.6"]
architectures:
  x86_64: { pointer: 64, align_u64: 8, max_atomic: 64, doc: A processor with wide words. }
  x86: { pointer: 32, align_u64: 4, max_atomic: 32, doc: A processor with narrow words. }
files: [sample]
"#;

/// Returns the text of the file that `sections` become, on one line.
fn rendered(sections: &str) -> String {
    let sample = format!("doc: Things for the tests of the renderer.\nheader: xen.h\n{sections}");
    let sources = Sources::from_texts([("manifest", MANIFEST), ("sample", &sample)]);
    let (document, mut wrong) = document::read(&sources);
    wrong.extend(document.iter().flat_map(check::run));
    assert!(wrong.is_empty(), "{}", crate::diagnostic::render(&wrong, &sources, false));
    let document = document.unwrap();
    let files = generate(&document, &Layouts::new(&document)).unwrap();
    let file = files.into_iter().find(|file| file.path == "sample.rs").unwrap();
    assert!(file.text.starts_with(&format!("{MARK}abi-yaml/sample.yaml. Do not edit.\n")));
    file.text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn a_value_of_an_enumeration_says_where_it_exists() {
    let text = rendered(
        r#"
enumerations:
  sort:
    is: u32
    prefix: SORT_
    doc: How a thing is meant to be used.
    values:
      - { name: old, value: 1, until: "4.5", doc: What was used before something better came. }
      - { name: new, value: 1, since: "4.6", doc: "Used [since] then." }
      - { name: narrow, value: 2, arch: [x86], doc: Found on the smaller processor. }
      - { name: late, value: 0x3, since: "4.5", honoured_since: "4.6", doc: What came later. }
      - { name: wide, value: 4, since: "4.5", arch: [x86_64], doc: Found on the wide processor. }
  early:
    is: u32
    prefix: EARLY_
    since: "4.6"
    honoured_since: "4.4"
    doc: What the hypervisor had before its headers named it.
    values:
      - { name: first, value: 0, doc: As old as its type. }
"#,
    );
    holds(
        &text,
        &[
            "pub struct Sort(pub u32);",
            "#[deprecated(note = \"the headers dropped it after Xen 4.5\")] pub const OLD: Self = \
            Self(1);",
            "Used \\[since\\] then.",
            "`SORT_new`. Since Xen 4.6.",
            "#[cfg(target_arch = \"x86\")] pub const NARROW: Self = Self(2);",
            // Its second name is not later than the value.
            "match self.0 { 0x3 => Some(crate::release::Release::new(4, 6)), #[cfg(target_arch = \
             \"x86_64\")] 4 => Some(crate::release::Release::new(4, 5)), _ => None, }",
            "match self.0 { 1 => Some(\"new\"), #[cfg(target_arch = \"x86\")] \
             2 => Some(\"narrow\"), 0x3 => Some(\"late\"), #[cfg(target_arch = \"x86_64\")] \
             4 => Some(\"wide\"), _ => None, }",
        ],
    );
    // A value of `early` is as old as its type.
    assert_eq!(text.matches("fn since").count(), 1, "{text}");
}

#[test]
fn padding_is_spelled_out_and_proved_for_each_architecture() {
    let text = rendered(
        r#"
arguments:
  request:
    doc: Asks for something that the tests never want.
    fields:
      - { name: kind, type: u32, direction: in, doc: Which of several things is wanted. }
      - { name: time, type: u64, direction: out, doc: When the answer was made. }
"#,
    );
    holds(
        &text,
        &[
            "#[doc(hidden)] #[cfg(target_arch = \"x86_64\")] pub _pad0: [u8; 4],",
            "#[inline] #[must_use] pub const fn new(kind: u32) -> Self \
             { Self { kind, ..Self::ZEROED } }",
            "| offset + size: x86_64 | x86 | field | type | direction |",
            "| 0 + 4 | 0 + 4 | `kind` | `u32` | in |",
            "| 8 + 8 | 4 + 8 | `time` | `u64` | out |",
            "| 16 | 12 | | | |",
            "crate::access::layout!(Request, \"request\": 16 { kind: 0, time: 8 });",
            "crate::access::layout!(Request, \"request\": 12 { kind: 0, time: 4 });",
            "crate::access::twin!(packed 4, struct Request: 12 { kind: u32 = 0, time: u64 = 4 });",
            "crate::access::twin!(natural, struct Request: 16 { kind: u32 = 0, time: Wide_ = 8 });",
        ],
    );
}

#[test]
fn a_block_gives_registers_and_snapshots() {
    let text = rendered(
        r#"
blocks:
  clock:
    doc: A clock that the other side keeps going.
    fields:
      - { name: version, type: u32, access: counter, doc: Odd while an update is under way. }
      - { name: ticks, type: u32, access: versioned, doc: How far the clock has come. }
      - { name: alarms, type: u32, count: 4, access: bits, doc: Which alarms have gone off. }
    snapshots:
      reading:
        doc: What the clock showed at one moment.
        counter: version
        members: { ticks: ticks }
"#,
    );
    holds(
        &text,
        &[
            "pub const ALARMS_COUNT: usize = 4;",
            "#[inline] #[must_use] pub fn alarms(self, index: usize) \
             -> Option<crate::access::Bits<'a, u32>> \
             { crate::access::element!(self.ptr, Bits, alarms, index) }",
            "pub fn reading(self) -> ClockReading",
            "pub fn reading_with<T>(self, mut read: impl FnMut() -> T) -> (ClockReading, T)",
            "pub struct ClockReading {",
        ],
    );
    assert!(!text.contains("pub fn ticks"), "a versioned field has no register of its own");
}

/// The parts of the guide's section on additions: the heading of each, and its examples.
fn guide() -> Vec<(String, Vec<String>)> {
    let path = crate::commands::workspace_root().join("abi-yaml/README.md");
    let text = std::fs::read_to_string(path).expect("the guide");
    let text = text.split("\n## How to add\n").nth(1).expect("the section");
    let text = text.split("\n## ").next().expect("its end");
    let parts = text.split("\n### ").skip(1).map(|part| {
        let (heading, rest) = part.split_once('\n').expect("a heading");
        let mut examples = vec![String::new()];
        for line in rest.lines() {
            match line.strip_prefix("    ") {
                Some(line) => examples.last_mut().expect("one").extend([line, "\n"]),
                None if examples.last().is_some_and(|last| !last.is_empty()) => {
                    examples.push(String::new());
                }
                None => {}
            }
        }
        examples.retain(|example| !example.is_empty());
        (heading.to_owned(), examples)
    });
    parts.collect()
}

#[test]
fn the_guides_examples_become_what_it_says() {
    let folder = crate::commands::workspace_root().join("abi-yaml");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let manifest = read("manifest.yaml");
    let manifest = manifest.split("\nfiles:").next().expect("the start");
    let manifest = format!("{manifest}\nfiles: [base, hypercall, example]\n");
    let (base, mut hypercall) = (read("base.yaml"), read("hypercall.yaml"));
    let (mut example, mut architecture, mut quotes) = (String::new(), Vec::new(), Vec::new());
    let headings = ["A file", "A type", "An argument", "A block", "An architecture"];
    let parts = guide();
    assert!(parts.iter().map(|(heading, _)| heading).eq(headings), "{parts:?}");
    for (heading, examples) in parts {
        match (heading.as_str(), examples.as_slice()) {
            ("A file", [file]) => example.push_str(file),
            ("An argument", [number, sections, made]) => {
                let (_, number) = number.split_once('\n').expect("the name of the file");
                let start = hypercall.find("hypercall_nr:").expect("the enumeration");
                let values = "    values:\n";
                let at = start + hypercall[start..].find(values).expect("values") + values.len();
                hypercall.insert_str(at, &format!("      {number}"));
                example.push_str(sections);
                quotes.extend(made.lines().map(str::to_owned));
            }
            ("A type" | "A block", [section, made]) => {
                example.push_str(section);
                quotes.extend(made.lines().map(str::to_owned));
            }
            ("An architecture", [entry, error]) => {
                architecture = vec![entry.clone(), error.clone()];
            }
            (_, examples) => panic!("{heading}: {examples:#?}"),
        }
    }
    let made = |manifest: &str, example: &str| {
        let texts = [
            ("manifest", manifest),
            ("base", &base),
            ("hypercall", &hypercall),
            ("example", example),
        ];
        crate::generate::from_sources(Sources::from_texts(texts)).map_err(|failure| match failure {
            crate::generate::Failure::Wrong(sources, wrong) => {
                crate::diagnostic::render(&wrong, &sources, false)
            }
            crate::generate::Failure::Load(error) => error.to_string(),
        })
    };
    let files = made(&manifest, &example).unwrap_or_else(|why| panic!("{why}")).files;
    let file = files.into_iter().find(|file| file.path == "example.rs").expect("a module");
    let text = file.text.split_whitespace().collect::<Vec<_>>().join(" ");
    holds(&text, &quotes.iter().map(String::as_str).collect::<Vec<_>>());
    // With the architecture, each map that has no value for it is named, and giving it mends that.
    let (_, entry) = architecture[0].split_once('\n').expect("the name of the file");
    let listed = manifest.replacen("architectures:\n", &format!("architectures:\n  {entry}"), 1);
    let error = made(&listed, &example).expect_err("maps without a value");
    holds(&error, &[architecture[1].trim()]);
    assert!(error.contains("example.yaml"), "{error}");
    let whole = example.replace("aarch64: u64", "aarch64: u64, riscv64: u64");
    let whole = whole.replace("aarch64: 16", "aarch64: 16, riscv64: 16");
    let whole = whole.replace("aarch64: 24", "aarch64: 24, riscv64: 24");
    let error = made(&listed, &whole).expect_err("maps of other files without a value");
    assert!(!error.contains("example.yaml"), "{error}");
}
