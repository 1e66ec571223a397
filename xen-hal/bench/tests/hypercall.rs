//! The code of a hypercall is no longer than what the C compiler makes of inline assembly: counted
//! by `objdump`, in this very program and in one for 32-bit x86.
#![cfg(target_arch = "x86_64")]

use std::env;
use std::path::Path;
use std::process::Command;

use xen_hal_bench::calls::keep;

/// Where `cargo xtask test hypercalls-x86` has the 32-bit program built.
const PROGRAM_X86: &str = "target/cross/i686-unknown-linux-gnu/release/hypercalls-x86";

/// The instructions of a function in a program, up to the return.
fn instructions(program: &Path, function: &str) -> Vec<String> {
    let mut objdump = Command::new("objdump");
    objdump
        .args(["--no-show-raw-insn", "-M", "intel"])
        .arg(format!("--disassemble={function}"))
        .arg(program);
    let output = objdump.output().expect("objdump, of binutils, comes with the C compiler");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let lines = text.lines().skip_while(|line| !line.ends_with(&format!("<{function}>:"))).skip(1);
    let code = lines
        .filter_map(|line| line.split_once(":\t"))
        .map(|(_, instruction)| instruction.trim().to_owned());
    let mut code: Vec<_> = code.collect();
    let end = code
        .iter()
        .position(|instruction| instruction.starts_with("ret"))
        .expect("the function returns");
    code.truncate(end + 1);
    code
}

/// Compares the functions of both sides.
fn as_short_as_in_c(program: &Path) {
    for arguments in [1, 2, 5] {
        let [ours, theirs] =
            ["ours", "twin"].map(|side| instructions(program, &format!("{side}_call{arguments}")));
        println!("{arguments} arguments: {} instructions, in C {}", ours.len(), theirs.len());
        assert!(ours.iter().any(|instruction| instruction == "vmcall"), "{ours:?}");
        assert!(ours.len() <= theirs.len(), "{ours:#?} and in C {theirs:#?}");
    }
}

#[test]
fn a_hypercall_is_as_short_as_in_c() {
    keep();
    as_short_as_in_c(&env::current_exe().expect("a test runs from a file"));
}

#[test]
#[ignore = "a program for 32-bit x86 must have been built: `cargo xtask test hypercalls-x86`"]
fn on_32_bit_x86_too() {
    as_short_as_in_c(Path::new(PROGRAM_X86));
}

#[test]
#[ignore = "as above"]
fn the_32_bit_program_runs_both_forms_of_the_sequence() {
    let crowded = instructions(Path::new(PROGRAM_X86), "crowded");
    let calls = || crowded.windows(3).filter(|code| code[1] == "call   eax");
    // Which calls get which form is the compiler's choice; if one form is gone, the function must
    // be made to want it again.
    let exchanged = |code: &[String]| code[0] == "xchg   esi,ebp" && code[2] == code[0];
    assert!(calls().any(exchanged), "{crowded:#?}");
    assert!(
        calls().any(|code| !code.iter().any(|instruction| instruction.starts_with("xchg"))),
        "{crowded:#?}"
    );
}
