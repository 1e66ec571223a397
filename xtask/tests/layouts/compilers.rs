//! The same types in C and in Rust, and what the compilers make of them.

use crate::generate::{Count, Kind, Member, Type, Types};
use object::{Object, ObjectSection, ObjectSymbol};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use xtask::document::Primitive;

#[derive(Clone, Copy)]
pub(crate) enum Compiler {
    /// A gcc and the flag that chooses the architecture.
    Gcc { program: &'static str, flag: &'static str },
    /// Rust's compiler, for a target.
    Rustc { target: &'static str },
}

pub(crate) enum Outcome {
    /// What the compiler says.
    Facts(Vec<u32>),
    /// Why it says nothing.
    Missing(String),
}

/// Compiles all types at once.
pub(crate) fn facts(types: &Types, compiler: Compiler) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder for the compiler's output");
    let object = folder.path().join("facts.o");
    let (mut command, source, name) = match compiler {
        Compiler::Gcc { program, flag } => {
            let mut command = Command::new(program);
            command.args(["-std=gnu11", "-ffreestanding", flag, "-c", "-o"]);
            (command, c_source(types), "facts.c")
        }
        Compiler::Rustc { target } => {
            let mut command =
                Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
            command.args([
                "--edition=2024",
                "--crate-type=lib",
                "--emit=obj",
                "-Awarnings",
                "--target",
                target,
                "-o",
            ]);
            (command, rust_source(types), "facts.rs")
        }
    };
    let source_file = folder.path().join(name);
    std::fs::write(&source_file, source).expect("room for the source");
    match command.arg(&object).arg(&source_file).output() {
        Err(error) => {
            Outcome::Missing(format!("{:?} cannot be run: {error}", command.get_program()))
        }
        Ok(output) if output.status.success() => Outcome::Facts(read(&object)),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let missing = [
                "may not be installed",
                "can't find crate for `core`",
                "not supported",
                "unrecognized command-line option",
            ];
            assert!(
                missing.iter().any(|text| said.contains(text)),
                "the compiler refuses the types: {said}"
            );
            Outcome::Missing(format!(
                "{:?} cannot compile for this target: {}",
                command.get_program(),
                said.lines().next().unwrap_or_default()
            ))
        }
    }
}

/// The array `facts` of an object file.
fn read(object: &Path) -> Vec<u32> {
    let bytes = std::fs::read(object).expect("an object file");
    let file = object::File::parse(&*bytes).expect("a well-formed object file");
    let symbol =
        file.symbols().find(|symbol| symbol.name() == Ok("facts")).expect("the array's symbol");
    let section =
        file.section_by_index(symbol.section_index().expect("a section")).expect("its section");
    let data = section.data().expect("its bytes");
    let start = usize::try_from(symbol.address() - section.address()).expect("an offset");
    let size = usize::try_from(symbol.size()).expect("a size");
    let words = data[start..start + size].chunks_exact(4);
    words.map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect()
}

fn c_source(types: &Types) -> String {
    let mut text = "#include <stddef.h>\n#include <stdint.h>\n".to_owned();
    let mut facts = String::new();
    for type_ in &types.all {
        let own = format!("{} {}", if type_.union { "union" } else { "struct" }, type_.name);
        writeln!(text, "{own} {{").expect("memory");
        write!(facts, "sizeof({own}), _Alignof({own}), ").expect("memory");
        for member in &type_.members {
            let count = match member.count {
                Count::One => String::new(),
                Count::Number(count) => format!("[{count}]"),
                Count::Flexible => "[]".to_owned(),
            };
            writeln!(text, "    {} {}{count};", c_type(types, member), member.name)
                .expect("memory");
            write!(facts, "offsetof({own}, {}), ", member.name).expect("memory");
        }
        text.push_str("};\n");
        facts.push('\n');
    }
    writeln!(text, "const uint32_t facts[] = {{\n{facts}}};").expect("memory");
    text
}

fn c_type(types: &Types, member: &Member) -> String {
    let name = match member.kind {
        Kind::Type(index) => {
            let inner = &types.all[index];
            return format!("{} {}", if inner.union { "union" } else { "struct" }, inner.name);
        }
        Kind::Handle => "void *",
        Kind::Primitive(primitive) => match primitive {
            Primitive::U8 => "uint8_t",
            Primitive::U16 => "uint16_t",
            Primitive::U32 => "uint32_t",
            Primitive::U64 => "uint64_t",
            Primitive::I8 => "int8_t",
            Primitive::I16 => "int16_t",
            Primitive::I32 => "int32_t",
            Primitive::I64 => "int64_t",
            Primitive::Char => "char",
            Primitive::Ulong => "unsigned long",
        },
    };
    name.to_owned()
}

fn rust_source(types: &Types) -> String {
    let mut text = "#![no_std]\nuse core::mem::{align_of, offset_of, size_of};\n".to_owned();
    let mut facts = String::new();
    let mut count = 0;
    for Type { name, union, members, .. } in &types.all {
        let keyword = if *union { "union" } else { "struct" };
        writeln!(text, "#[repr(C)] #[derive(Clone, Copy)] pub {keyword} {name} {{")
            .expect("memory");
        write!(facts, "size_of::<{name}>() as u32, align_of::<{name}>() as u32, ").expect("memory");
        count += 2 + members.len();
        for member in members {
            let element = rust_type(types, member);
            let whole = match member.count {
                Count::One => element,
                Count::Number(count) => format!("[{element}; {count}]"),
                Count::Flexible => format!("[{element}; 0]"),
            };
            writeln!(text, "    pub {}: {whole},", member.name).expect("memory");
            write!(facts, "offset_of!({name}, {}) as u32, ", member.name).expect("memory");
        }
        text.push_str("}\n");
        facts.push('\n');
    }
    writeln!(text, "#[unsafe(no_mangle)] pub static facts: [u32; {count}] = [\n{facts}];")
        .expect("memory");
    text
}

fn rust_type(types: &Types, member: &Member) -> String {
    let name = match member.kind {
        Kind::Type(index) => types.all[index].name.as_str(),
        Kind::Handle => "*mut u8",
        Kind::Primitive(primitive) => match primitive {
            Primitive::U8 | Primitive::Char => "u8",
            Primitive::U16 => "u16",
            Primitive::U32 => "u32",
            Primitive::U64 => "u64",
            Primitive::I8 => "i8",
            Primitive::I16 => "i16",
            Primitive::I32 => "i32",
            Primitive::I64 => "i64",
            Primitive::Ulong => "usize",
        },
    };
    name.to_owned()
}
