//! What a bump proposes, by kind of change: small headers of three architectures, and the text of
//! the description after it.

use super::{Proposal, propose};
use crate::document;
use crate::headers::facts::{Extent, Facts, StructTable, Table, Text};
use crate::headers::verify::Rules;
use crate::yaml::Sources;
use std::collections::BTreeMap;

const MANIFEST: &str = r#"
releases: ["4.4"]
architectures:
  x86_64: { doc: 64-bit x86., pointer: 64, align_u64: 8, max_atomic: 64 }
  x86: { doc: 32-bit x86., pointer: 32, align_u64: 4, max_atomic: 32 }
  aarch64: { doc: 64-bit Arm., pointer: 64, align_u64: 8, max_atomic: 64 }
files: [small]
"#;

const SMALL: &str = r#"doc: A small subject.
header: xen.h
constants:
  - { name: LIMIT, type: u32, value: 9, doc: How many there can be. }
strings:
  - { name: KEY, value: "key", doc: A name in a store. }
enumerations:
  state:
    is: u32
    prefix: STATE_
    doc: Where it stands.
    values:
      - { name: ready, value: 0, doc: It can begin. }
arguments:
  ask:
    doc: A question.
    fields:
      - { name: number, type: u32, direction: in, doc: Which one. }
# The operations.
commands:
  event_channel_op:
    doc: Questions.
    prefix: ASKOP_
    shape: argument
    list:
      - { name: first, number: 0, argument: ask, result: none, doc: Asks. }
"#;

const RULES: &str = "[C's own.]\nstructs 1: *_sring\nconstants 1: TRC_*\n";

/// The headers that the description fits.
fn table(minor: u32, arch: &str) -> Table {
    let place = |name: &str| (name.to_owned(), "xen.h".into());
    let constants = ["LIMIT", "STATE_ready", "ASKOP_first"];
    Table {
        release: format!("4.{minor}").parse().expect("a release"),
        interface_version: minor,
        arch: arch.to_owned(),
        structs: BTreeMap::from([("ask".to_owned(), members(&[("number", 0, 4)]))]),
        constants: constants.map(str::to_owned).into_iter().zip([9, 0, 0]).collect(),
        texts: BTreeMap::from([("KEY".to_owned(), Text::String("key".into()))]),
        places: constants.into_iter().chain(["KEY", "struct ask"]).map(place).collect(),
    }
}

fn members(list: &[(&str, u64, u64)]) -> StructTable {
    let member = |(path, offset, size): &(&str, u64, u64)| {
        ((*path).to_owned(), Extent { offset: *offset, size: *size })
    };
    let size = list.iter().map(|(_, offset, size)| offset + size).max().unwrap_or(0);
    StructTable { size, members: list.iter().map(member).collect() }
}

impl Table {
    fn constant(&mut self, name: &str, value: i128) {
        self.constants.insert(name.to_owned(), value);
        self.places.insert(name.to_owned(), "xen.h".into());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.texts.insert(name.to_owned(), Text::String(text.into()));
        self.places.insert(name.to_owned(), "xen.h".into());
    }

    fn members(&mut self, name: &str, list: &[(&str, u64, u64)]) {
        self.structs.insert(name.to_owned(), members(list));
        self.places.insert(format!("struct {name}"), "xen.h".into());
    }
}

/// What is proposed for headers of 4.5 that differ from those of 4.4 by `change`.
fn proposed(change: fn(&mut Table)) -> Proposal {
    let sources = Sources::from_texts([("manifest", MANIFEST), ("small", SMALL)]);
    let (document, wrong) = document::read(&sources);
    assert_eq!(wrong, []);
    let mut tables = Vec::new();
    for minor in [4, 5] {
        for arch in ["x86_64", "x86", "aarch64"] {
            let mut table = table(minor, arch);
            if minor == 5 {
                change(&mut table);
            }
            tables.push(table);
        }
    }
    let facts = Facts::from_tables(&tables).expect("tables that go together");
    let rules = Rules::read(RULES).expect("rules");
    let release = "4.5".parse().expect("a release");
    propose(&sources, &document.expect("no errors"), &facts, &rules, release).expect("a proposal")
}

/// A change of the headers, and a text of the description with what it becomes.
type Row = (fn(&mut Table), &'static str, &'static str);

const ROWS: &[Row] = &[
    (|_| {}, "", ""),
    (
        |table| table.constant("LIMIT", if table.arch == "x86" { 5 } else { 7 }),
        "  - { name: LIMIT, type: u32, value: 9, doc: How many there can be. }\n",
        "  - { name: LIMIT, until: \"4.4\", type: u32, value: 9, doc: How many there can be. }\n  \
         - { name: LIMIT, since: \"4.5\", type: u32, value: { aarch64: 7, x86: 5, x86_64: 7 }, \
         doc: How many there can be. }\n",
    ),
    (
        |table| {
            if table.arch == "aarch64" {
                table.constants.remove("LIMIT");
            }
        },
        "  - { name: LIMIT, type: u32, value: 9, doc: How many there can be. }\n",
        "  - { name: LIMIT, until: \"4.4\", type: u32, value: 9, doc: How many there can be. }\n  \
         - { name: LIMIT, arch: [x86, x86_64], since: \"4.5\", type: u32, value: 9, doc: How many \
         there can be. }\n",
    ),
    (
        |table| {
            if table.arch == "aarch64" {
                table.constant("STATE_cold", 1);
            }
        },
        "It can begin. }\n",
        "It can begin. }\n      - { name: cold, value: 1, since: \"4.5\", arch: [aarch64], judge: \
         \"doc\" }\n",
    ),
    (
        |table| table.text("KEY", "lock"),
        "  - { name: KEY, value: \"key\", doc: A name in a store. }\n",
        "  - { name: KEY, until: \"4.4\", value: \"key\", doc: A name in a store. }\n  - { name: \
         KEY, since: \"4.5\", value: \"lock\", doc: A name in a store. }\n",
    ),
    (
        |table| {
            table.texts.remove("KEY");
        },
        "{ name: KEY,",
        "{ name: KEY, until: \"4.4\",",
    ),
    (
        |table| table.text("DOOR", "door"),
        "A name in a store. }\n",
        "A name in a store. }\n  - { name: DOOR, value: \"door\", since: \"4.5\",\n      judge: \
         \"doc\" }\n",
    ),
    (
        |table| table.members("ask", &[("number", 0, 4), ("name", 4, 12)]),
        "Which one. }\n",
        "Which one. }\n      - { name: name, type: u8, count: 12, since: \"4.5\", direction: in,\n\
         \x20         judge: \"type, direction, doc\" }\n",
    ),
    (
        |table| {
            let size = if table.arch == "x86" { 4 } else { 8 };
            table.members("ask", &[("number", 0, 4), ("address", size, size)]);
        },
        "Which one. }\n",
        "Which one. }\n      - { name: address, type: ulong, since: \"4.5\", direction: in,\n\
         \x20         judge: \"type, direction, doc\" }\n",
    ),
    (
        |table| {
            if table.arch != "aarch64" {
                table.members("ask", &[("number", 0, 4), ("port", 4, 4)]);
            }
        },
        "Which one. }\n",
        "Which one. }\n      - { name: port, type: u32, since: \"4.5\", arch: [x86, x86_64], \
         direction: in,\n          judge: \"type, direction, doc\" }\n",
    ),
    (
        |table| table.members("ask", &[("number", 0, 8)]),
        "      - { name: number, type: u32, direction: in, doc: Which one. }\n",
        "      - { name: number, until: \"4.4\", type: u32, direction: in, doc: Which one. }\n\
         \x20     - { name: number, since: \"4.5\", type: u64, direction: in, doc: Which one. }\n",
    ),
    (
        |table| table.constant("LONELY", -5),
        "How many there can be. }\n",
        "How many there can be. }\n  - { name: LONELY, type: i32, value: -5, since: \"4.5\",\n\
         \x20     judge: \"type, doc\" }\n",
    ),
    (
        |table| table.text("KEY", if table.arch == "x86" { "a" } else { "b" }),
        "  - { name: KEY, value: \"key\", doc: A name in a store. }\n",
        "  - { name: KEY, until: \"4.4\", value: \"key\", doc: A name in a store. }\n  - { name: \
         KEY, since: \"4.5\", value: { aarch64: \"b\", x86: \
         \"a\", x86_64: \"b\" }, doc: A name in a store. }\n",
    ),
    // What a rule leaves out is not added.
    (|table| table.members("ask_sring", &[("req", 0, 4)]), "", ""),
    (|table| table.constant("TRC_late", 4), "", ""),
];

#[test]
fn each_kind_of_change_becomes_an_edit() {
    for (index, (change, old, new)) in ROWS.iter().enumerate() {
        let proposal = proposed(*change);
        let text = proposal.texts.get("small").map_or(SMALL, String::as_str);
        assert_eq!(text, SMALL.replacen(old, new, usize::from(!old.is_empty())), "row {index}");
        assert_eq!(proposal.left, [""; 0], "row {index}");
        assert!(proposal.texts["manifest"].contains("[\"4.4\", \"4.5\"]"), "row {index}");
    }
}

/// A command with its argument: a struct that one architecture does not have, with a union, a
/// struct inside, and an array behind its end.
#[test]
fn a_new_command_takes_the_new_struct_of_its_name() {
    let proposal = proposed(|table| {
        table.constant("ASKOP_second", 1);
        if table.arch != "x86" {
            table.members(
                "ask_second",
                &[
                    ("what", 0, 8),
                    ("what.port", 0, 4),
                    ("what.pci", 0, 8),
                    ("what.pci.bus", 0, 4),
                    ("what.pci.slot", 4, 4),
                    ("rest", 8, 0),
                ],
            );
        }
    });
    let text = &proposal.texts["small"];
    let argument = r#"
  ask_second:
    since: "4.5"
    arch: [aarch64, x86_64]
    judge: "block or argument, doc"
    fields:
      - name: what
        direction: in
        judge: "direction, doc"
        union:
          - { name: port, type: u32,
              judge: "type, doc" }
          - name: pci
            judge: "doc"
            struct:
              - { name: bus, type: u32,
                  judge: "type, doc" }
              - { name: slot, type: u32,
                  judge: "type, doc" }
      - { name: rest, type: u8, count: flexible, direction: in,
          judge: "type, direction, doc" }
# The operations.
"#;
    assert!(text.contains(&format!("Which one. }}\n{argument}")), "{text}");
    let command = "Asks. }\n      - { name: second, number: 1, since: \"4.5\", argument: \
                   ask_second, result: none,\n          judge: \"argument, result, hazard, doc\" }";
    assert!(text.contains(command), "{text}");
    let sources = Sources::from_texts([
        ("manifest", proposal.texts["manifest"].as_str()),
        ("small", text.as_str()),
    ]);
    let (_, wrong) = document::read(&sources);
    let judged = wrong.iter().filter(|wrong| wrong.message.starts_with("left to judge: ")).count();
    assert_eq!((judged, proposal.left), (8, Vec::new()), "{wrong:?}");
}

/// Headers with every kind of change at once: what a person has left to write is a text for each
/// new item, and the edited description says what the headers say.
#[test]
fn a_release_with_every_kind_of_change_leaves_only_texts() {
    let proposal = proposed(|table| {
        table.constant("LIMIT", 12);
        table.constants.remove("STATE_ready");
        table.constant("STATE_cold", 3);
        table.constant("ASKOP_later", 7);
        table.constant("LONELY", 0xffff_ffff);
        table.text("KEY", "lock");
        table
            .members("ask", &[("number", 0, 8), ("row", 8, 24), ("row_2", 32, 8), ("tail", 40, 8)]);
        table.members("ask_later", &[("buffer", 0, 8), ("buffer.p", 0, 8), ("rest", 8, 0)]);
        if table.arch == "x86" {
            table.members("ask_later", &[("buffer", 0, 4), ("buffer.p", 0, 4), ("rest", 4, 0)]);
        }
        table.constant("NEW_VERSION", 2);
        table.members("new_ring", &[("index", 0, 4), ("data", 4, 512)]);
        table.text("NEW_KEY", &"k".repeat(70));
        for name in ["NEW_VERSION", "struct new_ring", "NEW_KEY"] {
            table.places.insert(name.to_owned(), "io/9new-ring.h".into());
        }
        table.places.insert("ASKOP_first".to_owned(), "ask.h".into());
    });
    assert_eq!(proposal.left, [""; 0]);
    let text = &proposal.texts["small"];
    for part in [
        "      - { name: ready, until: \"4.4\", value: 0, doc: It can begin. }\n      - { name: \
         cold, value: 3, since: \"4.5\", judge: \"doc\" }\n",
        "  - { name: LONELY, type: u32, value: 0xFFFFFFFF, since: \"4.5\",\n",
        "      - { name: row, type: u8, count: 24, since: \"4.5\", direction: in,\n",
        "      - { name: tail, type: u64, since: \"4.5\", direction: in,\n",
        "      - { name: buffer, type: handle, direction: in,\n",
        "      - { name: first, header: ask.h, number: 0, argument: ask, result: none, doc: Asks. \
         }\n",
        "      - { name: later, number: 7, since: \"4.5\", argument: ask_later, result: none,\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let new = &proposal.texts["xen_9new_ring"];
    let expected = format!(
        "judge: \"doc\"\nheader: io/9new-ring.h\n\nconstants:\n  - {{ name: NEW_VERSION, type: \
         u32, value: 2, since: \"4.5\",\n      judge: \"type, doc\" }}\n\nstrings:\n  - {{ name: \
         NEW_KEY, since: \"4.5\",\n      value: \"{}\",\n      judge: \"doc\" }}\n\narguments:\n  \
         new_ring:\n    since: \"4.5\"\n",
        "k".repeat(70)
    );
    assert!(new.starts_with(&expected), "{new}");
    let marks = proposal.texts.values().map(|text| text.matches("judge:").count());
    assert_eq!(marks.sum::<usize>(), 15);
}

/// What no rule of the bump answers is left to a person, as the difference to the headers.
#[test]
fn what_is_not_mechanical_is_named() {
    type Row = (fn(&mut Table), &'static [&'static str]);
    let rows: [Row; 2] = [
        (
            |table| table.constant("STATE_ready", if table.arch == "x86" { 2 } else { 3 }),
            &[
                "small.yaml: `STATE_ready` is not 0 (Xen 4.5 on aarch64 and x86_64): 3 in the \
                 headers",
                "small.yaml: `STATE_ready` is not 0 (Xen 4.5 on x86): 2 in the headers",
            ],
        ),
        (
            |table| {
                let text = Text::Macro { parameters: None, sum: 1 };
                table.texts.insert("SWAP".to_owned(), text);
                table.places.insert("SWAP".to_owned(), "xen.h".into());
            },
            &["`SWAP` of xen.h is a new macro: give the reason in facts/undescribed.txt"],
        ),
    ];
    for (change, left) in rows {
        let proposal = proposed(change);
        assert_eq!(proposal.left, left);
        assert!(!proposal.texts.contains_key("small"), "{left:?}");
    }
}
