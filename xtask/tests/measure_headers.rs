//! A small header tree, written for this test, is measured with every C compiler that is here.

use std::fs;
use std::path::Path;
use xtask::headers::MeasureError;
use xtask::headers::compiler::{TARGETS, Target};
use xtask::headers::facts::Extent;
use xtask::headers::measure::{Measured, measure};
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
