//! The C headers of the description and of the library, in the hands of C compilers.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use xtask::commands::workspace_root;
use xtask::document::VariantKind;
use xtask::{codegen::c_header, generate, yaml};

const STRICT: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-ffreestanding", "-c"];

/// The compilers, with the options that select a language and an architecture. ISO C++ has no
/// flexible arrays.
const COMPILERS: [(&str, [&str; 3]); 4] = [
    ("gcc", ["-std=c11", "-Wpedantic", "-m64"]),
    ("gcc", ["-std=c11", "-Wpedantic", "-m32"]),
    ("aarch64-linux-gnu-gcc", ["-std=c11", "-Wpedantic", "-O2"]),
    ("g++", ["-xc++", "-std=c++17", "-m64"]),
];

/// Plays Xen: keeps the registers, and returns 77.
const XEN: &str = r#"
volatile unsigned long registers[6];
__asm__(".text\nxen:\n movq %rax, registers(%rip)\n movq %rdi, registers+8(%rip)\n"
        " movq %rsi, registers+16(%rip)\n movq %rdx, registers+24(%rip)\n"
        " movq %r10, registers+32(%rip)\n movq %r8, registers+40(%rip)\n"
        " movl $77, %eax\n ret\n");
#define XEN_HYPERCALL "call xen"
"#;

/// The header, and lines of C that check each example of an encoding.
fn header() -> (String, String) {
    let sources = yaml::load(&workspace_root().join("abi-yaml")).unwrap();
    let made = generate::checked(sources, |document, layouts| {
        let mut checks = String::new();
        for encoding in document.files.iter().flat_map(|file| &file.encodings) {
            for variant in &encoding.variants {
                let VariantKind::Fields { fields, example: Some((whole, values)), .. } =
                    &variant.kind
                else {
                    continue;
                };
                let name = format!("xen_{}_{}", encoding.head.name, variant.head.name);
                let given: String =
                    fields.iter().map(|field| format!(", {}U", values[&field.name])).collect();
                let wide: String = fields.iter().map(|_| ", UINT64_MAX").collect();
                let x86 = document.manifest.find_arch("x86_64").unwrap();
                if variant.head.availability.archs.contains(x86) {
                    writeln!(
                        checks,
                        "    CHECK({name}(&v{given}) && v == {whole}U);\n    \
                         CHECK(!{name}(&v{wide}) && v == {whole}U);"
                    )
                    .unwrap();
                }
            }
        }
        Ok((c_header::generate(document, layouts).unwrap(), checks))
    });
    made.unwrap_or_else(|_| panic!("the description is wrong"))
}

fn compile(folder: &Path, compiler: &str, options: &[&str], source: &str) -> Output {
    std::fs::write(folder.join("test.c"), source).unwrap();
    let mut command = Command::new(compiler);
    command.current_dir(folder).args(options).args(["test.c", "-I.", "-o", "test"]);
    command.output().unwrap()
}

#[test]
#[ignore = "needs C compilers; the step c-header runs it"]
fn every_layout_holds_on_every_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let (guest, _) = header();
    let hal = workspace_root().join("xen-hal/capi/include/xen_hal.h");
    let hal = std::fs::read_to_string(hal).unwrap();
    // Proofs that no longer hold.
    let broken_guest = guest.replacen(
        "XEN_OFFSET(struct evtchn_send, port, 0)",
        "XEN_OFFSET(struct evtchn_send, port, 4)",
        1,
    );
    let broken_hal = hal.replacen("XEN_CLOCK_SIZE 64", "XEN_CLOCK_SIZE 68", 1);
    assert!(guest != broken_guest && hal != broken_hal);
    let cases = [
        (&guest, &hal, None),
        (&broken_guest, &hal, Some("evtchn_send")),
        (&guest, &broken_hal, Some("xen_clock")),
    ];
    for (compiler, language) in COMPILERS {
        for (guest, hal, broken) in cases {
            std::fs::write(folder.path().join("xen_guest.h"), guest).unwrap();
            std::fs::write(folder.path().join("xen_hal.h"), hal).unwrap();
            let options = [&STRICT[..], &language].concat();
            let include = "#include \"xen_guest.h\"\n#include \"xen_hal.h\"\n";
            let output = compile(folder.path(), compiler, &options, include);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), broken.is_none(), "{compiler}: {errors}");
            assert!(errors.contains(broken.unwrap_or_default()), "{compiler}: {errors}");
        }
    }
}

#[test]
#[ignore = "needs C compilers; the step c-header runs it"]
fn examples_are_encoded_and_calls_pass_their_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let (header, checks) = header();
    assert!(checks.lines().count() >= 4, "{checks}");
    std::fs::write(folder.path().join("xen_guest.h"), header).unwrap();
    let source = format!(
        "{XEN}#include \"xen_guest.h\"\n\
         #define CHECK(holds) if (!(holds)) return __LINE__\n\
         int main(void)\n{{\n    uint64_t v;\n{checks}\
         \x20   volatile unsigned long *r = registers;\n\
         \x20   CHECK(xen_hypercall5(7, 1, 2, 3, 4, 5) == 77);\n\
         \x20   for (unsigned long i = 1; i < 6; i++) CHECK(r[i] == i);\n\
         \x20   CHECK(xen_hypercall2(8, 21, 22) == 77 && r[0] == 8 && r[1] == 21 && r[2] == 22);\n\
         \x20   struct evtchn_send send = {{ 3 }};\n\
         \x20   CHECK(xen_evtchnop_send(&send) == 77 && r[0] == 32 && r[1] == 4);\n\
         \x20   CHECK(r[2] == (unsigned long)&send);\n\
         \x20   CHECK(xen_schedop_yield() == 77 && r[0] == 29 && r[1] == 0);\n\
         \x20   return 0;\n}}\n"
    );
    for level in ["-O0", "-O2"] {
        let options = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-mno-red-zone", level];
        let output = compile(folder.path(), "gcc", &options, &source);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line = Command::new(folder.path().join("test")).status().unwrap().code();
        assert_eq!(line, Some(0), "the line that failed at {level}, modulo 256");
    }
}
