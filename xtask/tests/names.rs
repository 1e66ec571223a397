//! Descriptions made of nasty names: what is accepted compiles for each architecture, without
//! warnings.
//!
//! The host compiles for all three: in a copy of xen-pac, `target_arch` is replaced by what it is
//! on the architecture in question. Only the proofs of x86's layouts are left out there, because
//! the host's pointers are wider.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::layout::Layouts;
use xtask::yaml::Sources;
use xtask::{check, codegen, document};

/// The number of descriptions.
const DESCRIPTIONS: u64 = 600;

/// Keywords with a line, crates, what generated code uses itself, twins in another case, and some
/// names that are nothing special.
const NAMES: [&str; 80] = [
    "type_",
    "self_",
    "Self_",
    "match_",
    "crate_",
    "super_",
    "ref_",
    "gen_",
    "box_",
    "fn_",
    "core",
    "std",
    "alloc",
    "tock_registers",
    "u8",
    "u32",
    "usize",
    "bool",
    "str",
    "option",
    "some",
    "none",
    "ok",
    "err",
    "result",
    "default",
    "clone",
    "copy",
    "debug",
    "hash",
    "fmt",
    "eq",
    "register",
    "field",
    "field_value",
    "raw",
    "command",
    "layout",
    "access",
    "wide",
    "wide_",
    "block",
    "handle",
    "data",
    "bits",
    "from_ptr",
    "as_ptr",
    "encode",
    "decode",
    "variant",
    "is_valid",
    "name",
    "value",
    "values",
    "read",
    "index",
    "ptr",
    "made",
    "new",
    "zeroed",
    "t",
    "T",
    "_x",
    "x_",
    "x",
    "X",
    "x_t",
    "xY",
    "x_y",
    "XY",
    "a",
    "A",
    "a_b",
    "aB",
    "fn_mut",
    "word",
    "hypercall",
    "self_x",
    "x_COUNT",
    "from_x",
];

const MANIFEST: &str = r#"releases: ["4.8", "4.9"]
architectures:
  x86_64: { pointer: 64, align_u64: 8, max_atomic: 64, doc: A processor with wide words. }
  x86: { pointer: 32, align_u64: 4, max_atomic: 32, doc: A processor with narrow words. }
  aarch64: { pointer: 64, align_u64: 8, max_atomic: 64, doc: Another processor. }
"#;
const HYPERCALLS: &str = "doc: What is called.\nheader: xen.h\nenumerations:\n  hypercall_nr: { \
                          is: u32, prefix: __HYPERVISOR_, doc: Numbers of calls., values: [{ name: \
                          op, value: 1, doc: The only one here. }] }\n";

/// Xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len())]
    }
}

/// A file with one or two sections, in all of which the names are nasty.
fn description(random: &mut Random) -> String {
    let mut text = "doc: What the test is about.\nheader: xen.h\n".to_owned();
    let (first, second) = (random.below(5), random.below(5));
    for section in 0..5 {
        if section != first && section != second {
            continue;
        }
        let mut name = || random.name();
        let [a, b, c, d, e, f, g] = std::array::from_fn(|_| name());
        match section {
            0 => writeln!(
                text,
                "types: {{ {a}: {{ is: u32, doc: Some number. }} }}\nconstants: [{{ name: {b}, \
                 type: u32, value: 3, c: none, doc: Some length. }}]\nenumerations:\n  {c}: {{ is: \
                 u16, prefix: E_, doc: Some kinds., values: [{{ name: {d}, value: 1, c: none, doc: \
                 One kind. }}, {{ name: {e}, value: 2, c: none, doc: Some other. }}] }}"
            ),
            1 => writeln!(
                text,
                "words:\n  {a}: {{ is: u32, prefix: W_, doc: Some flags., fields: [{{ name: {b}, \
                 bits: 0, c: none, doc: One flag. }}, {{ name: {c}, bits: \"2:1\", c: none, doc: \
                 Two bits., values: [{{ name: {d}, value: 1, c: none, doc: One of them. }}] }}] \
                 }}\nblocks:\n  {e}: {{ doc: Memory we share., fields: [{{ name: {f}, type: {a}, \
                 access: bits, doc: Some bits. }}, {{ name: {g}, type: {a}, count: 2, access: \
                 plain, writer: xen, doc: Others of them. }}] }}"
            ),
            2 => writeln!(
                text,
                "encodings:\n  {a}: {{ is: u32, tag: \"31:24\", doc: How it goes., variants: [{{ \
                 name: {b}, tag: 1, c: none, doc: First form., fields: [{{ name: {c}, bits: \
                 \"7:0\", doc: Some number. }}, {{ name: {d}, bits: \"15:8\", max: 9, doc: Another \
                 number. }}] }}, {{ name: {e}, value: 0, c: none, doc: Nothing at all. }}] }}"
            ),
            3 => writeln!(
                text,
                "blocks:\n  {a}:\n    doc: Memory we share.\n    snapshots: {{ {b}: {{ doc: All of \
                 it., counter: {c}, members: {{ {d}: {e}, {f}: inner.{g} }} }} \
                 }}\n    fields:\n      - {{ name: {c}, type: u32, access: counter, doc: Moves on. \
                 }}\n      - {{ name: {e}, type: u64, access: versioned, doc: The time. \
                 }}\n      - {{ name: inner, type: of_{a}, doc: More memory. }}\n  of_{a}: {{ doc: \
                 Memory in memory., fields: [{{ name: {g}, type: u64, access: versioned, doc: More \
                 time. }}] }}"
            ),
            _ => writeln!(
                text,
                "arguments:\n  {a}:\n    doc: What is asked.\n    fields:\n      - {{ name: {b}, \
                 type: u32, direction: in, doc: Some number. }}\n      - {{ name: {c}, direction: \
                 out, doc: One of two., union: [{{ name: {d}, type: u64, doc: Either this. }}, {{ \
                 name: {e}, doc: Or these., struct: [{{ name: {f}, type: u8, doc: Half of it. }}] \
                 }}] }}\ncommands:\n  op: {{ doc: What can be asked., prefix: OP_, shape: \
                 argument, list: [{{ name: {g}, number: 1, argument: {a}, result: none, c: none, \
                 doc: The question. }}, {{ name: {d}, number: 2, shape: bare, result: value, c: \
                 none, doc: Another one. }}] }}"
            ),
        }
        .unwrap();
    }
    text
}

/// What a description becomes, if it is accepted: the text of its file, and that of the hypercalls.
fn generated(name: &str, text: &str) -> Option<[String; 2]> {
    let manifest = format!("{MANIFEST}files: [hypercall, {name}]\n");
    let sources = Sources::from_texts([
        ("manifest", manifest.as_str()),
        ("hypercall", HYPERCALLS),
        (name, text),
    ]);
    let (document, wrong) = document::read(&sources);
    let document = document.filter(|_| wrong.is_empty())?;
    let layouts = Layouts::new(&document);
    if !check::run_with(&document, &layouts).is_empty() {
        return None;
    }
    let files = codegen::generate(&document, &layouts)
        .unwrap_or_else(|wrong| panic!("accepted, and then {wrong:?}\n{text}"));
    let file = |path: &str| files.iter().find(|file| file.path == path).unwrap().text.clone();
    Some([file(&format!("{name}.rs")), file("hypercall.rs")])
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(String) -> String) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target, change);
        } else {
            std::fs::write(target, change(std::fs::read_to_string(entry.path()).unwrap())).unwrap();
        }
    }
}

/// The compiled tock-registers beside this test.
fn tock_registers() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libtock_registers-") && name.ends_with(".rlib")
    };
    let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_it);
    found.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
}

#[test]
fn accepted_names_compile_without_warnings() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut files = Vec::new();
    let mut hypercalls = String::new();
    for number in 0..DESCRIPTIONS {
        let name = format!("f{number}");
        let text = description(&mut random);
        if let Some([file, common]) = generated(&name, &text) {
            hypercalls = common;
            files.push((name, file));
        }
    }
    assert!(files.len() > 200, "only {} descriptions were accepted", files.len());
    let pac = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xen-pac/src");
    for arch in ["x86_64", "x86", "aarch64"] {
        let change = |text: String| {
            let text = ["x86_64", "x86", "aarch64"].iter().fold(text, |text, other| {
                let truth = if *other == arch { "all()" } else { "any()" };
                text.replace(&format!("target_arch = \"{other}\""), truth)
            });
            if arch != "x86" {
                return text;
            }
            text.replace("assert!(holds, \"{}\", otherwise);", "let _ = (holds, otherwise);")
                .replace(
                    "assert!(filled == size, \"{}\", name);",
                    "let _ = (filled == size, name);",
                )
        };
        let folder = tempfile::tempdir().unwrap();
        for part in ["access", "command.rs", "release.rs"] {
            let (from, to) = (pac.join(part), folder.path().join(part));
            if from.is_dir() {
                copy(&from, &to, &change);
            } else {
                std::fs::write(to, change(std::fs::read_to_string(from).unwrap())).unwrap();
            }
        }
        let mut root =
            "//! A test.\n#![no_std]\npub mod access;\npub mod command;\npub mod hypercall;\n\
                        pub mod release;\n"
                .to_owned();
        std::fs::write(folder.path().join("hypercall.rs"), change(hypercalls.clone())).unwrap();
        for (name, text) in &files {
            root += &format!("pub mod {name};\n");
            std::fs::write(folder.path().join(format!("{name}.rs")), change(text.clone())).unwrap();
        }
        std::fs::write(folder.path().join("lib.rs"), root).unwrap();
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-Dwarnings"])
            .args(["-Dmissing-docs", "-Aunexpected-cfgs", "--extern"])
            .arg(format!("tock_registers={}", tock_registers().display()))
            .arg("--out-dir")
            .arg(folder.path())
            .arg(folder.path().join("lib.rs"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let first: Vec<&str> = told.lines().take(60).collect();
        assert!(output.status.success(), "{arch}:\n{}", first.join("\n"));
    }
}

/// Runs a program, which must succeed if `expected` is empty, and else fail with these words.
fn run(command: &mut Command, expected: &[&str]) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), expected.is_empty(), "{told}");
    for words in expected {
        assert!(told.contains(words), "expected `{words}`:\n{told}");
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What Xen 4.13 has.
const OLD: &str = "#![deny(deprecated)]\n\
    pub fn used() -> (xen_pac::sched::ShutdownReason, u32) {\n    \
        let reset = xen_pac::sched::ShutdownReason::SOFT_RESET;\n    \
        (reset, <xen_pac::sched::command::Poll as xen_pac::command::Command>::NUMBER)\n}\n";

/// What it has not, and what later headers dropped.
const NEW: &str = "#![deny(deprecated)]\n\
    pub use xen_pac::version::command::Capabilities2;\n\
    pub const PARAM: xen_pac::hvm::HvmParam = xen_pac::hvm::HvmParam::PAE_ENABLED;\n\
    pub fn used(of: xen_pac::console_ring::XenconsInterface<'_>) {\n    \
        of.connection();\n}\n";

const WRONG: [&str; 4] = [
    "use of deprecated unit struct `xen_pac::version::command::Capabilities2`: since Xen 4.20",
    "use of deprecated associated constant `xen_pac::hvm::HvmParam::PAE_ENABLED`: the headers \
     dropped it after Xen 4.13",
    "use of deprecated method `xen_pac::console_ring::XenconsInterface::<'a>::connection`: since \
     Xen 4.21",
    "aborting due to 3 previous errors",
];

#[test]
fn a_consumer_sees_what_its_oldest_release_has() {
    let pac = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xen-pac");
    let folder = tempfile::tempdir().unwrap();
    let rustc = || {
        let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        command.args(["--edition=2024", "--out-dir"]).arg(folder.path());
        command
    };
    run(rustc().arg(pac.join("build.rs")), &[]);
    let build = || Command::new(folder.path().join("build"));
    let unknown = run(build().env("XEN_PAC_OLDEST", "4.3"), &[]);
    assert!(unknown.contains("cargo::error=XEN_PAC_OLDEST: expected one of 4.4, "), "{unknown}");
    let flags = |printed: &str, name: &str| -> Vec<String> {
        let lines = printed.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::to_owned).collect()
    };
    let all = run(build().env_remove("XEN_PAC_OLDEST"), &[]);
    assert_eq!(flags(&all, "cargo::rustc-cfg="), [""; 0], "without an oldest release");
    let old = run(build().env("XEN_PAC_OLDEST", "4.13"), &[]);
    let cfgs = flags(&old, "cargo::rustc-cfg=");
    assert_eq!(cfgs[0], "xen_before=\"4.14\"");

    let mut command = rustc();
    command.args(["--crate-name=xen_pac", "--crate-type=lib", "--emit=metadata", "-Dwarnings"]);
    command.args(cfgs.iter().flat_map(|cfg| ["--cfg", cfg]));
    for checked in flags(&old, "cargo::rustc-check-cfg=") {
        command.args(["--check-cfg", &checked]);
    }
    command.args([
        "--check-cfg",
        "cfg(orderings, test)",
        "--check-cfg",
        "cfg(feature, values(\"io\", \"simulated\"))",
    ]);
    command.arg("--extern").arg(format!("tock_registers={}", tock_registers().display()));
    run(command.arg(pac.join("src/lib.rs")), &[]);
    for (text, expected) in [(OLD, &[][..]), (NEW, &WRONG)] {
        let source = folder.path().join("consumer.rs");
        std::fs::write(&source, text).unwrap();
        let mut command = rustc();
        command.args(["--crate-type=lib", "--emit=metadata", "--extern"]);
        command.arg(format!("xen_pac={}", folder.path().join("libxen_pac.rmeta").display()));
        command.arg("-L").arg(tock_registers().parent().unwrap());
        run(command.arg(source), expected);
    }
}
