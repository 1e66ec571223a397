//! The code of a hypercall is no longer than what the C compiler makes of inline assembly: counted
//! by `objdump`, in this very program and in one for 32-bit x86.
#![cfg(target_arch = "x86_64")]

use std::env;
use std::path::Path;
use std::process::Command;

use xen_hal_bench::calls::keep;

/// Where `cargo xtask test hypercalls-x86` has the 32-bit program built.
const PROGRAM_X86: &str = "../../target/cross/i686-unknown-linux-gnu/debug/hypercalls-x86";

/// The instructions of a function in a program, with their addresses.
fn code(program: &Path, function: &str) -> Vec<(u64, String)> {
    let mut objdump = Command::new("objdump");
    objdump
        .args(["--no-show-raw-insn", "-M", "intel"])
        .arg(format!("--disassemble={function}"))
        .arg(program);
    let output = objdump.output().expect("objdump, of binutils, comes with the C compiler");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let lines = text.lines().skip_while(|line| !line.ends_with(&format!("<{function}>:"))).skip(1);
    let code = lines.map_while(|line| line.split_once(":\t")).map(|(address, instruction)| {
        let address = u64::from_str_radix(address.trim(), 16).expect("an address");
        (address, instruction.trim().to_owned())
    });
    code.collect()
}

/// The instructions of a function in a program, up to the return.
fn instructions(program: &Path, function: &str) -> Vec<String> {
    let mut code: Vec<_> =
        code(program, function).into_iter().map(|(_, instruction)| instruction).collect();
    let end = code
        .iter()
        .position(|instruction| instruction.starts_with("ret"))
        .expect("the function returns");
    code.truncate(end + 1);
    code
}

/// How many instructions run from the one at `place` to the return, on the shortest way on which
/// `wanted` runs, if there is such a way. There must be no loop.
fn shortest(code: &[(u64, String)], place: usize, wanted: Option<&str>) -> Option<usize> {
    let (_, instruction) = code.get(place)?;
    let wanted = wanted.filter(|wanted| instruction != wanted);
    let (name, operand) = instruction.split_once(' ').unwrap_or((instruction, ""));
    if name == "ret" {
        return wanted.is_none().then_some(1);
    }
    let target = || {
        let address = u64::from_str_radix(operand.trim().split(' ').next()?, 16).ok()?;
        shortest(code, code.iter().position(|(other, _)| *other == address)?, wanted)
    };
    let next = || shortest(code, place + 1, wanted);
    let rest = match name {
        "jmp" => target(),
        _ if name.starts_with('j') => target().into_iter().chain(next()).min(),
        _ => next(),
    };
    Some(1 + rest?)
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
fn the_choice_at_run_time_costs_a_comparison_or_two() {
    keep();
    let program = env::current_exe().expect("a test runs from a file");
    for arguments in [1, 2, 5] {
        let code = code(&program, &format!("any_call{arguments}"));
        let direct = instructions(&program, &format!("ours_call{arguments}")).len();
        let [intel, amd] = ["vmcall", "vmmcall"].map(|wanted| {
            shortest(&code, 0, Some(wanted)).unwrap_or_else(|| panic!("{wanted} in {code:#?}"))
        });
        println!("{arguments} arguments: {direct} instructions, chosen {intel} and {amd}");
        // A comparison and its jump each; one more moves the fifth argument, which is on the stack.
        let stacked = usize::from(arguments == 5);
        assert!(intel <= direct + 2 + stacked && amd <= direct + 4 + stacked, "{code:#?}");
    }
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
