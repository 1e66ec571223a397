//! What verification says: small descriptions against small facts, drawn as the command draws them.

use std::collections::BTreeMap;
use xtask::document::Document;
use xtask::headers::diff::{self, State, show};
use xtask::headers::facts::{Extent, Facts, StructTable, Table, Text};
use xtask::headers::measure::Measured;
use xtask::headers::verify::{self, fresh};
use xtask::yaml::Sources;
use xtask::{diagnostic, document};

const MANIFEST: &str = r#"
releases: ["4.4", "4.5", "4.6"]
architectures:
  x86_64: { doc: 64-bit x86., pointer: 64, align_u64: 8, max_atomic: 64 }
  x86: { doc: 32-bit x86., pointer: 32, align_u64: 4, max_atomic: 32 }
files: [small]
"#;

const SMALL: &str = r#"
doc: A small subject.
header: xen.h
constants:
  - { name: LIMIT, type: u32, value: 9, doc: How many there can be. }
  - { name: LATE, type: u32, value: 1, since: "4.5", doc: What came later. }
strings:
  - { name: KEY, value: "key", since: "4.5", doc: A name in a store. }
words:
  flags:
    is: u32
    prefix: F_
    doc: Some flags.
    fields:
      - { name: top, bits: 31, doc: The highest bit. }
arguments:
  ask:
    doc: A question.
    fields:
      - { name: domain, type: u16, direction: in, doc: Whom it is about. }
      - { name: answer, type: u64, direction: out, doc: What came of it. }
      - { name: extra, type: u32, since: "4.6", direction: in, doc: A later addition. }
"#;

/// The facts that fit the description, changed by `change` in each release and on each
/// architecture.
fn facts(change: impl Fn(&mut Table)) -> Facts {
    let mut tables = Vec::new();
    for minor in 4..=6 {
        for (arch, answer) in [("x86_64", 8), ("x86", 4)] {
            let mut members = vec![("domain", 0, 2), ("_pad", 2, 2), ("answer", answer, 8)];
            let mut size = answer + 8;
            if minor == 6 {
                members.push(("extra", size, 4));
                size += if arch == "x86" { 4 } else { 8 };
            }
            let members = members
                .into_iter()
                .map(|(path, offset, size)| (path.to_owned(), Extent { offset, size }))
                .collect();
            let mut constants = BTreeMap::from([
                ("LIMIT".to_owned(), 9),
                ("F_top".to_owned(), if minor == 4 { -(1 << 31) } else { 1 << 31 }),
            ]);
            let mut texts = BTreeMap::new();
            if minor > 4 {
                constants.insert("LATE".to_owned(), 1);
                texts.insert("KEY".to_owned(), Text::String("key".into()));
            }
            let release = format!("4.{minor}").parse().expect("a release");
            let structs = BTreeMap::from([("ask".to_owned(), StructTable { size, members })]);
            let mut table = Table {
                release,
                interface_version: minor as u32,
                arch: arch.to_owned(),
                structs,
                constants,
                texts,
                places: BTreeMap::new(),
            };
            change(&mut table);
            tables.push(table);
        }
    }
    Facts::from_tables(&tables).expect("tables that go together")
}

fn description() -> (Sources, Document) {
    let sources = Sources::from_texts([("manifest", MANIFEST), ("small", SMALL)]);
    let (document, wrong) = document::read(&sources);
    assert_eq!(wrong, []);
    (sources, document.expect("no errors"))
}

/// What is said about facts that were changed, without the empty lines.
fn said(change: impl Fn(&mut Table)) -> String {
    let (sources, document) = description();
    let report = verify::run(&document, &facts(change));
    let diagnostics: Vec<_> = report.mismatches.iter().map(verify::Mismatch::diagnostic).collect();
    diagnostic::render(&diagnostics, &sources, false)
}

fn first_lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("error")).collect()
}

#[test]
fn what_fits_is_counted() {
    let (_, document) = description();
    let report = verify::run(&document, &facts(|_| {}));
    assert_eq!(report.mismatches, []);
    // LIMIT and F_top in six tables, LATE and KEY in four and absent in two; the member `extra`
    // absent in four.
    assert_eq!((report.comparisons.constants, report.comparisons.absences), (20, 8));
    assert_eq!(
        (report.comparisons.sizes, report.comparisons.members, report.comparisons.padding),
        (6, 14, 6)
    );
    assert_eq!(report.unchecked, []);
}

#[test]
fn a_mismatch_is_drawn_where_the_description_says_it() {
    let text = said(|table| {
        table.constants.insert("LIMIT".to_owned(), 10);
    });
    let expected = "\
error: `LIMIT` is not 9 (every release)
 --> small.yaml:5:38
  |
5 |   - { name: LIMIT, type: u32, value: 9, doc: How many there can be. }
  |                                      ^ 10 (0xa) in the headers

";
    assert_eq!(text, expected);
}

#[test]
fn a_name_is_looked_for_in_its_header() {
    let places = |header: &'static str| {
        said(move |table| {
            let names = ["LIMIT", "LATE", "F_top", "struct ask"];
            let header = if table.release.minor < 6 { "old.h" } else { header };
            table.places.extend(names.map(|name| (name.to_owned(), header.into())));
        })
    };
    assert_eq!(places("xen.h"), "");
    let moved = places("sched.h");
    assert_eq!(first_lines(&moved).len(), 4, "{moved}");
    assert!(moved.contains("error: `struct ask` is not in xen.h (Xen 4.6 on x86"), "{moved}");
    assert!(moved.contains("in sched.h of the newest headers"), "{moved}");
}

#[test]
fn existence_is_held_both_ways() {
    let early = said(|table| {
        table.constants.insert("LATE".to_owned(), 1);
    });
    assert_eq!(
        first_lines(&early),
        ["error: the headers have `LATE` where the description has it not (Xen 4.4)"]
    );
    let gone = said(|table| {
        table.constants.remove("LATE");
    });
    assert_eq!(first_lines(&gone), ["error: the headers have no `LATE` (Xen 4.5 and later)"]);
    assert!(gone.contains("the headers never have it"), "{gone}");
}

#[test]
fn members_are_held_by_offset_size_and_name() {
    let member = |path: &'static str, change: fn(&mut Extent)| {
        said(move |table| {
            let ask = table.structs.get_mut("ask").expect("there");
            ask.members
                .iter_mut()
                .filter(|(known, _)| known == path)
                .for_each(|(_, extent)| change(extent));
        })
    };
    assert_eq!(
        first_lines(&member("answer", |extent| extent.offset += 4)),
        [
            "error: `answer` of `struct ask` is not at byte 4 (every release on x86)",
            "error: `answer` of `struct ask` is not at byte 8 (every release on x86_64)"
        ]
    );
    assert_eq!(
        first_lines(&member("domain", |extent| extent.size = 4)),
        ["error: `domain` of `struct ask` is not 2 bytes long (every release)"]
    );
    // Padding that reaches into a field is no padding.
    assert_eq!(
        first_lines(&member("_pad", |extent| extent.offset = 1)),
        ["error: `struct ask` lacks the member `_pad`, 2 bytes at byte 1 in the headers (every \
             release)"]
    );
}

#[test]
fn a_member_is_no_padding_unless_it_is_called_so() {
    let text = said(|table| {
        let ask = table.structs.get_mut("ask").expect("there");
        ask.members
            .iter_mut()
            .filter(|(known, _)| known == "_pad")
            .for_each(|(path, _)| *path = "flags".to_owned());
    });
    assert_eq!(
        first_lines(&text),
        ["error: `struct ask` lacks the member `flags`, 2 bytes at byte 2 in the headers (every \
             release)"]
    );
}

#[test]
fn a_string_is_compared() {
    let changed = |of: fn(&mut Table)| {
        said(move |table| {
            if table.release.minor == 6 {
                of(table);
            }
        })
    };
    let text = changed(|table| {
        table.texts.insert("KEY".to_owned(), Text::String("lock".into()));
    });
    assert_eq!(first_lines(&text), ["error: `KEY` is not \"key\" (Xen 4.6)"]);
    assert!(text.contains("\"lock\" in the headers"), "{text}");
    let text = changed(|table| {
        table.texts.remove("KEY");
    });
    assert_eq!(first_lines(&text), ["error: the headers have no `KEY` (Xen 4.6)"]);
    let text = said(|table| {
        table.texts.insert("KEY".to_owned(), Text::String("key".into()));
    });
    let earlier = "error: the headers have `KEY` where the description has it not (Xen 4.4)";
    assert_eq!(first_lines(&text), [earlier]);
}

#[test]
fn what_is_not_described_is_listed_and_what_nobody_measured_too() {
    let (_, document) = description();
    let report = verify::run(
        &document,
        &facts(|table| {
            table.constants.insert("OTHER".to_owned(), 1);
            table.structs.insert("other".to_owned(), StructTable { size: 1, members: Vec::new() });
            table.texts.insert("WORD".to_owned(), Text::String("word".into()));
            table.texts.insert("CODE".to_owned(), Text::Macro { parameters: None, sum: 1 });
        }),
    );
    assert_eq!(
        (report.undescribed_strings, report.undescribed_macros),
        (vec!["WORD".to_owned()], vec!["CODE".to_owned()])
    );
    assert_eq!(
        (report.undescribed_constants, report.undescribed_structs),
        (vec!["OTHER".to_owned()], vec!["other".to_owned()])
    );
    let none = verify::run(&document, &Facts::default());
    assert_eq!(none.unmeasured.len(), 6);
    assert_eq!(none.unmeasured[0], "Xen 4.4 on x86_64");
}

#[test]
fn a_release_of_the_facts_that_the_manifest_lacks_is_named() {
    let (_, document) = description();
    let later = |table: &mut Table| {
        if table.release.minor == 6 {
            table.release.minor = 7;
        }
    };
    let report = verify::run(&document, &facts(later));
    assert_eq!(report.unlisted, ["Xen 4.7 on x86", "Xen 4.7 on x86_64"]);
    assert_eq!(report.unmeasured, ["Xen 4.6 on x86_64", "Xen 4.6 on x86"]);
    assert_eq!(verify::run(&document, &facts(|_| {})).unlisted, [""; 0]);
}

#[test]
fn headers_are_told_from_an_older_release_by_what_they_add() {
    const ADDED: [&str; 3] = ["A", "B", "C"];
    let kept = facts(|table| {
        table.interface_version = 9;
        table.constants.insert("F_top".to_owned(), 1);
        if table.release.minor > 4 {
            table.constants.extend(ADDED.map(|name| (name.to_owned(), 1)));
        }
    });
    let cell = kept.grid.cells().nth(2).expect("a cell of the second release");
    let Table { interface_version, structs, constants, texts, places, release, arch } =
        kept.table(cell);
    assert_eq!((release.minor, arch.as_str()), (5, "x86"));
    let mut measured = Measured {
        interface_version,
        structs,
        constants,
        texts,
        places,
        headers: Vec::new(),
        skipped: Vec::new(),
    };
    let found = |measured: &Measured| fresh::release(&[("x86", measured)], &kept);
    assert_eq!(found(&measured), Ok(release));
    let older = "4.4".parse().expect("a release");
    let agreement = fresh::compare(&measured.clone().into_table(older, "x86"), &kept);
    assert_eq!(agreement.expect("facts of 4.4").new, ["A", "B", "C", "LATE"]);
    measured.constants.remove("LATE");
    assert_eq!(found(&measured), Ok(older), "an update with some names of the next release");
    measured.constants.retain(|name, _| !ADDED.contains(&name.as_str()));
    assert_eq!(found(&measured), Ok(older));
}

/// The state of 4.6 after a change, with the constants and members in `xen.h`.
fn state(label: &str, change: impl Fn(&mut Table)) -> State {
    let (_, document) = description();
    let facts = facts(|table| {
        change(table);
        let names = table.constants.keys().cloned();
        let names = names.chain(table.texts.keys().cloned());
        let names = names.chain(table.structs.keys().map(|name| format!("struct {name}")));
        table.places = names.map(|name| (name, "xen.h".into())).collect();
    });
    let cells = facts.grid.cells().skip(4);
    let tables = cells.map(|cell| facts.table(cell)).collect();
    State { label: label.to_owned(), tables, parameters: diff::parameters(&document) }
}

/// The changes, without their headers and the closing line.
fn changes(from: &State, to: &State) -> String {
    let text = show::text(from, to, &diff::compare(from, to));
    let lines = text.lines().filter(|line| line.starts_with("  "));
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

fn member(table: &mut Table, path: &str, offset: u64, size: u64) {
    let ask = table.structs.get_mut("ask").expect("there");
    ask.members.retain(|(known, _)| known != path);
    ask.members.push((path.to_owned(), Extent { offset, size }));
}

#[test]
fn every_kind_of_change_has_its_consequence() {
    let old = state("old", |_| {});
    assert_eq!(show::text(&old, &old, &[]).lines().next(), Some("from old to old on x86, x86_64"));
    type Case = (&'static str, fn(&mut Table), &'static str);
    let cases: [Case; 17] = [
        (
            "added",
            |table| {
                table.constants.insert("NEW".to_owned(), 3);
            },
            "added   NEW = 3 [compatible, minor]\n",
        ),
        (
            "removed, on one architecture",
            |table| {
                if table.arch == "x86" {
                    table.constants.remove("LATE");
                }
            },
            "removed LATE was 1 on x86 [breaking, major]\n",
        ),
        (
            "renamed",
            |table| {
                table.constants.remove("LIMIT");
                table.constants.insert("LIMITS".to_owned(), 9);
            },
            "renamed LIMITS was `LIMIT`, with the same value 9 [breaking, major]\n",
        ),
        (
            "another value",
            |table| {
                table.constants.insert("LIMIT".to_owned(), 10);
            },
            "value   LIMIT 9 becomes 10 [breaking, major]\n",
        ),
        (
            "another text",
            |table| {
                table.texts.insert("KEY".to_owned(), Text::String("lock".into()));
            },
            "macro   KEY \"key\" becomes \"lock\" [breaking, major]\n",
        ),
        (
            "renamed text",
            |table| {
                table.texts.remove("KEY");
                table.texts.insert("KEYS".to_owned(), Text::String("key".into()));
            },
            "renamed KEYS was `KEY`, with the same text \"key\" [breaking, major]\n",
        ),
        (
            "removed text, and a macro that xen-pac does not have",
            |table| {
                table.texts.remove("KEY");
                let text = Text::Macro { parameters: Some("a".into()), sum: 1 };
                table.texts.insert("SWAP".to_owned(), text);
            },
            "removed KEY was \"key\" [breaking, major]\nadded   SWAP (a) #0000000000000001 \
             [compatible, patch]\n",
        ),
        (
            "a text that becomes code",
            |table| {
                let text = Text::Macro { parameters: None, sum: 1 };
                table.texts.insert("KEY".to_owned(), text);
            },
            "macro   KEY \"key\" becomes #0000000000000001 [breaking, major]\n",
        ),
        (
            "a text that becomes a number",
            |table| {
                table.texts.remove("KEY");
                table.constants.insert("KEY".to_owned(), 1);
            },
            "added   KEY = 1 [compatible, minor]\nremoved KEY was \"key\" [breaking, major]\n",
        ),
        (
            "a number that becomes a text",
            |table| {
                table.constants.remove("LATE");
                table.texts.insert("LATE".to_owned(), Text::String("late".into()));
            },
            "added   LATE \"late\" [compatible, minor]\nremoved LATE was 1 [breaking, major]\n",
        ),
        (
            "negative in C",
            |table| {
                table.constants.insert("F_top".to_owned(), -(1 << 31));
            },
            "",
        ),
        (
            "resized field",
            |table| member(table, "domain", 0, 4),
            "field   ask.domain 2 bytes at 0 become 4 bytes at 0 [breaking, major]\n",
        ),
        (
            "array without a length",
            |table| member(table, "domain", 0, 0),
            "field   ask.domain 2 bytes at 0 become a flexible array at 0 [breaking, major]\n",
        ),
        (
            "field in the padding",
            |table| member(table, "flags", 2, 1),
            "added   ask.flags 1 bytes at 2; if its direction is `in` or `both`, callers of \
             `new()` break [compatible, minor]\n",
        ),
        (
            "renamed field",
            |table| {
                let ask = table.structs.get_mut("ask").expect("there");
                ask.members[0].0 = "domid".to_owned();
            },
            "renamed ask.domid was `domain`, 2 bytes at 0 [breaking, major]\n",
        ),
        (
            "grown",
            |table| table.structs.get_mut("ask").expect("there").size += 100,
            "size    struct ask 16 bytes become 116 on x86 [compatible, minor]\n\
             size    struct ask 24 bytes become 124 on x86_64 [compatible, minor]\n",
        ),
        (
            "another struct, with members",
            |table| {
                member(table, "u", 2, 2);
                member(table, "u.low", 2, 1);
            },
            "added   ask.u 2 bytes at 2; if its direction is `in` or `both`, callers of `new()` \
             break [compatible, minor]\n",
        ),
    ];
    for (case, change, expected) in cases {
        assert_eq!(changes(&old, &state("new", change)), expected, "{case}");
    }
}

#[test]
fn a_field_that_new_takes_breaks_its_callers() {
    let mut old = state("old", |_| {});
    let new = old.clone();
    for table in &mut old.tables {
        table.structs.get_mut("ask").expect("there").members.retain(|(path, _)| path != "extra");
    }
    old.parameters.get_mut("ask").expect("described").retain(|field| field != "extra");
    let found = changes(&old, &new);
    let expected = "`new()` takes it, so that its callers break on x86 [breaking, major]";
    assert!(found.contains(expected), "{found}");
}

#[test]
fn what_only_a_newer_release_has_needs_a_check() {
    let old = state("old", |_| {});
    let mut new = state("new", |table| {
        table.constants.insert("N\"EW".to_owned(), 3);
    });
    for table in &mut new.tables {
        table.release.minor += 1;
    }
    let found = diff::compare(&old, &new);
    let closing =
        "1 changes: 0 breaking, 1 need a run-time check, 0 compatible; step for xen-pac: minor";
    assert_eq!(show::summary(&found), closing);
    let json = show::json(&old, &new, &found);
    for part in [
        r#"{ "header": "xen.h", "name": "N\"EW", "change": "added", "detail": "= 3", "#,
        r#""architectures": ["x86", "x86_64"], "consequence": "run-time check", "step": "minor" }"#,
    ] {
        assert!(json.contains(part), "{json}");
    }
    let row = "| added | `N\"EW` | = 3 | x86, x86_64 | run-time check | minor |";
    assert!(show::markdown(&old, &new, &found).contains(row));
}

#[test]
fn coverage_counts_what_is_for_guests_and_what_is_omitted() {
    let (_, document) = description();
    let facts = facts(|table| {
        for (name, header) in [("TOOLS", "domctl.h"), ("NEXT", "io/new.h"), ("LOST", "xen.h")] {
            table.constants.insert(name.to_owned(), 1);
            table.places.insert(name.to_owned(), header.into());
        }
        table.texts.insert("CODE".to_owned(), Text::Macro { parameters: None, sum: 1 });
        for name in ["LIMIT", "LATE", "F_top", "struct ask", "KEY", "CODE"] {
            table.places.insert(name.to_owned(), "xen.h".into());
        }
    });
    let rules =
        "[Tools.]\nheaders 1: domctl.h\n[For guests, and not described yet.]\nheaders 1: io/*";
    let rules = verify::Rules::read(rules).expect("rules");
    let report = verify::run(&document, &facts);
    let rows = verify::coverage(&document, &facts, &rules, &report, "x86").expect("measured");
    let part = |described, visible, omitted| verify::Part { described, visible, omitted };
    assert_eq!(rows["xen.h"].constants, part(3, 4, 0), "a constant without a reason is missing");
    assert_eq!((rows["xen.h"].structs, rows["xen.h"].fields), (part(1, 1, 0), part(4, 4, 0)));
    assert_eq!((rows["xen.h"].strings, rows["xen.h"].macros), (part(1, 1, 0), part(0, 1, 0)));
    assert_eq!(rows["io/new.h"].constants, part(0, 1, 0));
    assert_eq!(rows["domctl.h"].constants, part(0, 0, 1));
    let table = verify::coverage_table("x86", &rows);
    let total: Vec<&str> = table.lines().last().expect("a total").split_whitespace().collect();
    assert_eq!(total, ["total", "3/5", "1/1", "4/4", "1/1", "0/1", "1"]);
}
