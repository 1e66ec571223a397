//! Layouts of random structs, as `resolve` computes them and as compilers do: gcc for each
//! architecture that it can compile for, and rustc.
//!
//! Each compiler is run once, on all structs together; what it says of sizes, alignments and
//! offsets is read from its object file. A compiler that is not installed is named and left out;
//! rustc is always there.

mod compilers;
mod describe;
mod generate;

use compilers::{Compiler, Outcome};
use generate::Types;
use xtask::document::ReleaseId;
use xtask::layout::{Layout, Layouts};

/// How many structs and unions are compared with each compiler.
const TYPES: usize = 600;

/// Sizes, alignments and offsets in one order: for each type its size, its alignment, and the
/// offset of each member.
type Facts = Vec<u32>;

/// What `resolve` says.
fn computed(types: &Types, arch: &str) -> Facts {
    let document = describe::document(types);
    let arch = document.manifest.find_arch(arch).expect("an architecture of the manifest");
    let layouts = Layouts::new(&document);
    let mut facts: Vec<Option<Facts>> = vec![None; types.all.len()];
    for (index, type_) in types.all.iter().enumerate().filter(|(_, type_)| !type_.inline) {
        let layout = layouts
            .of(&type_.name, ReleaseId(0), arch)
            .unwrap_or_else(|error| panic!("{}: {error}", type_.name));
        collect(types, index, &layout, &mut facts);
    }
    facts
        .into_iter()
        .flat_map(|facts| facts.expect("each type is named or lies in one that is"))
        .collect()
}

fn collect(types: &Types, index: usize, layout: &Layout, facts: &mut Vec<Option<Facts>>) {
    let mut own = vec![layout.size, layout.align];
    own.extend(layout.fields.iter().map(|field| field.offset));
    facts[index] = Some(own);
    for (member, field) in types.all[index].members.iter().zip(&layout.fields) {
        if let (generate::Kind::Type(inner), Some(layout)) = (&member.kind, &field.inner) {
            collect(types, *inner, layout, facts);
        }
    }
}

/// Compares, and tells whether the compiler was there.
fn agree(compiler: Compiler, arch: &str, seed: u64) -> bool {
    let types = generate::types(seed, TYPES);
    match compilers::facts(&types, compiler) {
        Outcome::Facts(measured) => {
            let computed = computed(&types, arch);
            assert_eq!(computed.len(), measured.len());
            let mut place = types.all.iter().flat_map(|type_| {
                let members =
                    type_.members.iter().map(|member| format!("{}.{}", type_.name, member.name));
                [format!("sizeof {}", type_.name), format!("alignof {}", type_.name)]
                    .into_iter()
                    .chain(members)
                    .collect::<Vec<_>>()
            });
            for (computed, measured) in computed.iter().zip(&measured) {
                let place = place.next().expect("a place for each fact");
                assert_eq!(computed, measured, "{place} on {arch}, seed {seed}");
            }
            assert!(computed.len() > 3 * TYPES, "only {} facts", computed.len());
            true
        }
        Outcome::Missing(why) => {
            eprintln!("skipped: {why}");
            false
        }
    }
}

#[test]
fn gcc_agrees_on_x86_64() {
    agree(Compiler::Gcc { program: "gcc", flag: "-m64" }, "x86_64", 1);
}

#[test]
fn gcc_agrees_on_x86() {
    agree(Compiler::Gcc { program: "gcc", flag: "-m32" }, "x86", 2);
}

#[test]
fn gcc_agrees_on_aarch64() {
    agree(Compiler::Gcc { program: "aarch64-linux-gnu-gcc", flag: "-O0" }, "aarch64", 3);
}

#[test]
fn rustc_agrees_wherever_it_can_compile_for() {
    let targets = [
        ("x86_64-unknown-linux-gnu", "x86_64"),
        ("x86_64-unknown-none", "x86_64"),
        ("i686-unknown-linux-gnu", "x86"),
        ("aarch64-unknown-none-softfloat", "aarch64"),
        ("aarch64-unknown-linux-gnu", "aarch64"),
    ];
    let compared = targets
        .into_iter()
        .zip(4..)
        .filter(|((target, arch), seed)| agree(Compiler::Rustc { target }, arch, *seed))
        .count();
    assert!(
        compared > 0 || !cfg!(target_os = "linux"),
        "on Linux this test was itself compiled for one of the targets"
    );
}

/// A generator that never makes what is hard would prove nothing.
#[test]
fn the_generator_makes_what_is_hard() {
    let types = generate::types(1, TYPES);
    let count = |wanted: fn(&generate::Type) -> bool| {
        types.all.iter().filter(|type_| wanted(type_)).count()
    };
    assert!(
        count(|type_| type_.union) > 50
            && count(|type_| type_.inline) > 50
            && count(|type_| type_.members.is_empty()) > 5
    );
    assert!(
        count(|type_| type_.members.iter().any(|member| member.count == generate::Count::Flexible))
            > 10
    );
    let x86 = computed(&types, "x86");
    assert_ne!(x86, computed(&types, "x86_64"), "architectures must differ");
}
