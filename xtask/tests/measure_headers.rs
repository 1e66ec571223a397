//! A small header tree, written for this test, is measured with every C compiler that is here.

use std::fs;
use std::path::Path;
use std::process::Command;
use xtask::headers::MeasureError;
use xtask::headers::compiler::{TARGETS, Target};
use xtask::headers::facts::{Extent, Facts};
use xtask::headers::measure::{Measured, measure};
use xtask::headers::store;
use xtask::headers::tree::Tree;

const XEN_H: &str = r#"
#ifndef SMALL_XEN_H
#define SMALL_XEN_H
#define __XEN_LATEST_INTERFACE_VERSION__ 0x00040e00
#define PLAIN 7
#define NEGATIVE (-3)
#define TOP_BIT (1ULL << 63)
#define SHIFTED (PLAIN << 4)
#define SIZE_OF_PAIR sizeof(struct pair)
#define LONG_BITS (8 * (int)sizeof(long))
#define TEXT "no number"
#define FLOATING 1.5
#define UNBALANCED )
#define UNKNOWN_NAME (some_variable + 1)
#define FUNCTION(x) (x)
#define GONE 1
#undef GONE
#define EMPTY
enum state { STATE_BAD = -1, STATE_GOOD = 1 };
typedef struct { unsigned char *p; } __guest_handle_u8;
struct pair { unsigned char small; unsigned long long wide; };
struct outer {
    union { unsigned int number; struct { unsigned short low, high; } halves; };
    struct pair inner;
    struct pair row[3];
    unsigned int first : 3, second : 5;
    __guest_handle_u8 handle;
    char tail[];
};
typedef struct { char bytes[16]; } nameless_t;
struct only_declared;
#endif
"#;

const TOOLS_H: &str = "#ifndef TOOLS\n#error for the tools only\n#endif\n#define FOR_TOOLS 1\n";
const EXTRA_H: &str = "#include \"../xen.h\"\n#define EXTRA 2\n";

fn tree(folder: &Path) -> Tree {
    for (name, text) in [
        ("xen.h", XEN_H),
        ("tools.h", TOOLS_H),
        ("io/extra.h", EXTRA_H),
        ("foreign/other.h", "#define FOREIGN 1\n"),
    ] {
        let path = folder.join("include/public").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    }
    Tree::find(folder).expect("the headers are below it")
}

/// Measures with every compiler that is here; each with its name.
fn everywhere() -> Vec<(String, &'static Target, Measured)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tree = tree(folder.path());
    let mut all = Vec::new();
    for target in &TARGETS {
        for program in [None, Some("clang")] {
            if let Ok(compiler) = target.compiler(program) {
                all.push((
                    format!("{compiler} for {}", target.arch),
                    target,
                    measure(&tree, target, &compiler).expect("measured"),
                ));
            }
        }
    }
    assert!(!all.is_empty(), "there is no C compiler at all");
    all
}

fn extent(measured: &Measured, struct_: &str, path: &str) -> (u64, u64) {
    let members = &measured.structs[struct_].members;
    let Extent { offset, size } = members
        .iter()
        .find(|(known, _)| known == path)
        .unwrap_or_else(|| panic!("{struct_}.{path}"))
        .1;
    (offset, size)
}

#[test]
fn macros_and_enumerators_become_constants() {
    for (compiler, target, measured) in everywhere() {
        let x86 = target.arch == "x86";
        let constants = [
            ("PLAIN", 7),
            ("NEGATIVE", -3),
            ("TOP_BIT", 1 << 63),
            ("SHIFTED", 112),
            ("SIZE_OF_PAIR", if x86 { 12 } else { 16 }),
            ("LONG_BITS", if x86 { 32 } else { 64 }),
            ("STATE_BAD", -1),
            ("STATE_GOOD", 1),
            ("EXTRA", 2),
        ];
        let expected = constants
            .into_iter()
            .map(|(name, value): (&str, i128)| (name.to_owned(), value))
            .collect();
        assert_eq!(measured.constants, expected, "{compiler}");
        assert_eq!(measured.interface_version, 0x0004_0e00, "{compiler}");
        let texts: Vec<(&str, String)> =
            measured.texts.iter().map(|(name, text)| (name.as_str(), text.to_string())).collect();
        let names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
        let expected = ["FLOATING", "FUNCTION", "TEXT", "UNBALANCED", "UNKNOWN_NAME"];
        assert_eq!(names, expected, "{compiler}");
        assert_eq!(texts[2].1, "\"no number\"", "{compiler}");
        assert!(texts[1].1.starts_with("(x) #"), "{compiler}: {}", texts[1].1);
        for (name, header) in
            [("PLAIN", "xen.h"), ("EXTRA", "io/extra.h"), ("struct pair", "xen.h")]
        {
            assert_eq!(&*measured.places[name], header, "{compiler}: {name}");
        }
    }
}

#[test]
fn structs_are_laid_out_as_each_architecture_does() {
    for (compiler, target, measured) in everywhere() {
        let x86 = target.arch == "x86";
        let names: Vec<&String> = measured.structs.keys().collect();
        assert_eq!(names, ["nameless_t", "outer", "pair"], "{compiler}");
        assert_eq!(extent(&measured, "pair", "wide"), (if x86 { 4 } else { 8 }, 8), "{compiler}");
        let outer = |path| extent(&measured, "outer", path);
        assert_eq!((outer("number"), outer("halves.high")), ((0, 4), (2, 2)), "{compiler}");
        assert_eq!(outer("inner.wide"), if x86 { (8, 8) } else { (16, 8) }, "{compiler}");
        assert_eq!(outer("row"), if x86 { (16, 36) } else { (24, 48) }, "{compiler}");
        assert_eq!(
            (outer("first"), outer("second")),
            if x86 { ((52, 4), (52, 4)) } else { ((72, 4), (72, 4)) },
            "{compiler}"
        );
        assert_eq!(outer("handle.p"), if x86 { (56, 4) } else { (80, 8) }, "{compiler}");
        assert_eq!(outer("tail"), if x86 { (60, 0) } else { (88, 0) }, "{compiler}");
    }
}

#[test]
fn headers_for_others_are_left_out_and_named() {
    for (compiler, _, measured) in everywhere() {
        assert_eq!(measured.headers, ["xen.h", "io/extra.h"], "{compiler}");
        let [(name, said)] = measured.skipped.as_slice() else {
            panic!("{compiler}: {:?}", measured.skipped)
        };
        assert_eq!(name, "tools.h", "{compiler}");
        assert!(said.contains("for the tools only"), "{compiler}: {said}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(matches!(Tree::find(folder.path()), Err(MeasureError::NoHeaders(_))));
    let none = TARGETS[0].compiler(Some("no-such-compiler")).expect_err("there is no such program");
    assert_eq!(
        none.to_string(),
        "no C compiler for x86_64 is here; `no-such-compiler` cannot compile for it"
    );
}

#[test]
fn a_header_that_cannot_be_compiled_is_an_error_and_not_a_panic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("xen.h"), "struct {{{").expect("written");
    let tree = Tree::find(folder.path()).expect("it has a xen.h");
    let (target, compiler) = TARGETS
        .iter()
        .find_map(|target| Some((target, target.compiler(None).ok()?)))
        .expect("a C compiler");
    let error = measure(&tree, target, &compiler).expect_err("no C");
    assert!(matches!(&error, MeasureError::Header { header, .. } if header == "xen.h"), "{error}");
}

const MANIFEST: &str = r#"# Oldest first.
releases: ["4.4"] # one
architectures:
  ARCH: { doc: A processor., pointer: 64, align_u64: 8, max_atomic: 64 }
files: [small]
"#;

const SMALL: &str = r#"doc: A small subject.
header: xen.h
constants:
  # How many there can be.
  - { name: LIMIT, type: u32, value: 9, doc: A limit. } # at most
  - { name: GOING, type: u32, value: 1, doc: What goes soon. }
enumerations:
  state:
    is: u32
    prefix: STATE_
    doc: A state.
    values:
      - { name: ready, value: 0, doc: It can begin. }
      # The last.
arguments:
  ask:
    doc: A question.
    size: 4
    fields:
      - { name: number, type: u32, direction: in, doc: Which one. }
commands:
  event_channel_op:
    doc: Questions.
    prefix: ASK_
    shape: argument
    list:
      - { name: first, number: 0, argument: ask, result: none, doc: Asks. }
"#;

const SMALL_H: &str = "#define __XEN_LATEST_INTERFACE_VERSION__ 1\n#define LIMIT 9\n\
                       #define GOING 1\n#define STATE_ready 0\n#define ASK_first 0\n\
                       struct ask { unsigned int number; };\n";

const LATER_H: &str = "#define __XEN_LATEST_INTERFACE_VERSION__ 1\n#define LIMIT 12\n\
                       #define STATE_ready 0\n#define STATE_busy 1\n#define ASK_first 0\n\
                       #define ASK_second 1\n#define LONELY 5\n#define SWAP(a) (-(a))\n\
                       struct ask { unsigned int number, more; };\n";

/// What the bump adds to the constants, and behind the last state, field and command.
const LONELY: &str = r#"
  - { name: LONELY, type: u32, value: 5, since: "4.5",
      judge: "type, doc" }
enumerations"#;
const BUSY: &str = r#"It can begin. }
      - { name: busy, value: 1, since: "4.5", judge: "doc" }
"#;
const MORE: &str = r#"Which one. }
      - { name: more, type: u32, since: "4.5", direction: in,
          judge: "type, direction, doc" }
"#;
const SECOND: &str = r#"Asks. }
      - { name: second, number: 1, since: "4.5", result: none,
          judge: "argument, result, hazard, doc" }
"#;

/// A folder with a description of 4.4, its facts, and the headers of 4.5 in `later`.
fn before_a_bump() -> (tempfile::TempDir, &'static str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    };
    let (target, compiler) = TARGETS
        .iter()
        .find_map(|target| Some((target, target.compiler(None).ok()?)))
        .expect("a C compiler");
    write("abi/manifest.yaml", &MANIFEST.replace("ARCH", target.arch));
    write("abi/small.yaml", SMALL);
    write("abi/README.md", "Kept.");
    write("old/xen.h", SMALL_H);
    write("later/xen.h", LATER_H);
    let tree = Tree::find(&folder.path().join("old")).expect("headers");
    let table = measure(&tree, target, &compiler).expect("measured");
    let table = table.into_table("4.4".parse().expect("a release"), target.arch);
    let facts = Facts::from_tables(&[table]).expect("one table");
    store::save(&facts, &folder.path().join("abi/facts")).expect("written");
    (folder, target.arch)
}

/// Runs xtask with these arguments in the folder; whether it succeeded, and all that it printed.
fn xtask(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("UTF-8"))
}

/// Runs a bump with these arguments.
fn bump(folder: &Path, arch: &str, arguments: &[&str]) -> (bool, String) {
    xtask(folder, &[&["bump", "--abi", "abi", "--arch", arch], arguments].concat())
}

/// Every file of the description, by name.
fn description(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in [folder.join("abi"), folder.join("abi/facts")] {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                files.push((path.display().to_string(), fs::read_to_string(path).expect("text")));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_bump_edits_in_place_and_marks_what_is_left() {
    let (folder, arch) = before_a_bump();
    let old = description(folder.path());
    let arguments = ["--headers", "later", "--release", "4.5"];
    let (done, patch) = bump(folder.path(), arch, &[&arguments[..], &["--dry-run"]].concat());
    assert!(
        done && patch.contains("+  - { name: LIMIT, since: \"4.5\", type: u32, value: 12, "),
        "{patch}"
    );
    assert_eq!(description(folder.path()), old, "a dry run writes nothing");

    let (done, said) = bump(folder.path(), arch, &arguments);
    assert!(
        done && said.contains("to decide by hand:\n  `SWAP` of xen.h is a new macro"),
        "{said}"
    );
    let expected = SMALL
        .replace(
            "  - { name: LIMIT, type: u32, value: 9, doc: A limit. } # at most\n",
            "  - { name: LIMIT, until: \"4.4\", type: u32, value: 9, doc: A limit. } # at most\n  \
             - { name: LIMIT, since: \"4.5\", type: u32, value: 12, doc: A limit. } # at most\n",
        )
        .replace("\nenumerations", LONELY)
        .replace("name: GOING,", "name: GOING, until: \"4.4\",")
        .replace("It can begin. }\n", BUSY)
        .replace("size: 4", "size: 8")
        .replace("Which one. }\n", MORE)
        .replace("Asks. }\n", SECOND);
    let read = |name: &str| fs::read_to_string(folder.path().join("abi").join(name)).expect("text");
    assert_eq!(read("small.yaml"), expected);
    let manifest = MANIFEST.replace("ARCH", arch).replace("[\"4.4\"]", "[\"4.4\", \"4.5\"]");
    assert_eq!((read("manifest.yaml"), read("README.md")), (manifest, "Kept.".to_owned()));

    let after = description(folder.path());
    let (done, said) = bump(folder.path(), arch, &arguments);
    assert!(done && said.contains("nothing changes"), "{said}");
    assert_eq!(description(folder.path()), after, "a second run changes nothing");
    let sources = xtask::yaml::load(&folder.path().join("abi")).expect("a description");
    let (_, wrong) = xtask::document::read(&sources);
    let judged = wrong.iter().filter(|wrong| wrong.message.starts_with("left to judge: "));
    assert_eq!(judged.count(), 4, "regen refuses each mark: {wrong:?}");

    // The facts that were measured serve as well as the headers.
    fs::rename(folder.path().join("abi/facts"), folder.path().join("measured")).expect("moved");
    fs::create_dir(folder.path().join("abi/facts")).expect("created");
    old.iter().for_each(|(path, text)| fs::write(path, text).expect("written"));
    // From within the folder, whose path then has no name.
    let here = ["bump", "--abi", ".", "--facts", "../measured", "--release", "4.5"];
    let (done, said) = xtask(&folder.path().join("abi"), &[&here[..], &["--arch", arch]].concat());
    assert!(done, "{said}");
    assert_eq!(description(folder.path()), after);
}

#[test]
fn a_bump_that_fails_leaves_the_description_as_it_was() {
    let (folder, arch) = before_a_bump();
    fs::create_dir(folder.path().join("broken")).expect("created");
    fs::write(folder.path().join("broken/xen.h"), "int 5;\n").expect("written");
    let old = description(folder.path());
    for (headers, release, compiler, why) in [
        ("broken", "4.5", None, "xen.h does not compile"),
        ("nowhere", "4.5", None, "nowhere: no such directory"),
        ("nowhere", "4.4", None, "nowhere: no such directory"),
        ("later/xen.h", "4.5", None, "later/xen.h is a file; expected a directory of headers"),
        ("later", "4.3", None, "expected a release after 4.4, found 4.3"),
        ("later", "4.5", Some("no-such-compiler"), "no C compiler for"),
    ] {
        let mut arguments = vec!["--headers", headers, "--release", release];
        arguments.extend(compiler.iter().flat_map(|compiler| ["--cc", compiler]));
        let (done, said) = bump(folder.path(), arch, &arguments);
        assert!(!done && said.contains(why), "{said}");
        assert_eq!(description(folder.path()), old, "{why}");
    }
    // What an interrupted run left beside the folder does not matter.
    fs::create_dir(folder.path().join(".abi.bump")).expect("created");
    assert!(bump(folder.path(), arch, &["--headers", "later", "--release", "4.5"]).0);
    assert!(!folder.path().join(".abi.bump").exists());
}

#[test]
fn broken_input_is_named_and_nothing_is_written() {
    let (folder, arch) = before_a_bump();
    let write = |name: &str, text: &str| {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).expect("created");
        fs::write(folder.path().join(name), text).expect("written");
    };
    write("broken/xen.h", "int 5;\n");
    write("empty/xen.h", "");
    let facts =
        |name: &str| fs::read_to_string(folder.path().join("abi/facts").join(name)).unwrap();
    for name in ["releases.txt", "constants.txt", "macros.txt", "structs.txt"] {
        write(&format!("mixed/{name}"), &facts(name));
    }
    write("mixed/releases.txt", &facts("releases.txt").replace("4.4 ", "4.5 0x1 x86\n4.4 "));
    let all_commands = [
        "diff 4.19 headers:HEADERS CC",
        "coverage --abi abi --headers HEADERS CC",
        "facts measure HEADERS --release 4.5 --abi abi CC",
        "bump --abi abi --headers HEADERS --release 4.5 CC",
    ];
    let check = |line: &str, why: &str| {
        let old = description(folder.path());
        let (done, said) = xtask(folder.path(), &line.split(' ').collect::<Vec<_>>());
        assert!(!done && said.contains(why), "{line}: {said}");
        assert_eq!(description(folder.path()), old, "{line}");
    };
    for line in all_commands {
        for (headers, cc, why) in [
            ("broken", "", "xen.h does not compile"),
            ("nowhere", "", "nowhere: no such directory"),
            ("abi", "", "there is no xen.h in abi"),
            ("empty", "", "empty/xen.h is not Xen's public header: it does not define `__XEN_L"),
            ("later", " --cc no-such-compiler", "no C compiler for"),
        ] {
            let cc = format!("--arch {arch}{cc}");
            check(&line.replace("HEADERS", headers).replace("CC", &cc), why);
        }
    }
    for (line, why) in [
        ("diff 4.19 9.9", "the manifest has no release 9.9"),
        (
            "diff 4.19 four",
            "expected a release such as 4.17, git:REVISION, `.`, headers:DIR or facts:DIR, found \
             `four`",
        ),
        ("diff git:no-such-revision .", "git: fatal: Not a valid object name no-such-revision"),
        ("diff 4.19 facts:nowhere", "nowhere/releases.txt: No such file"),
        ("diff 4.19 facts:abi/facts@9.9", "there are no facts of Xen 9.9"),
        ("diff 4.19 facts:mixed", "releases.txt:3: expected a release after the one before"),
        ("facts measure later --release four --abi abi", "invalid value 'four'"),
        ("bump --abi abi --facts mixed --release 4.6", "releases.txt:3: expected a release after"),
        ("bump --abi abi --facts abi/facts --release 4.6", "there are no facts of Xen 4.6"),
        ("bump --abi abi --headers later --release 4.3", "expected a release after 4.4, found 4.3"),
    ] {
        check(line, why);
    }
    write("abi/facts/constants.txt", "LIMIT 9\n");
    for line in ["diff 4.19 facts:abi/facts", "coverage --abi abi"].into_iter().chain(all_commands)
    {
        let line = line.replace("HEADERS", "later").replace("CC", &format!("--arch {arch}"));
        if !line.contains("headers:") && !line.starts_with("coverage --abi abi --headers") {
            check(&line, "constants.txt:1: expected a last line `end`");
        }
    }
}
