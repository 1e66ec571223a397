//! The code of a hypercall is no longer than what the C compiler makes of inline assembly: counted in this very program by `objdump`.
#![cfg(target_arch = "x86_64")]

use std::env;
use std::hint::black_box;
use std::process::Command;

use xen_hal_bench::hypercall::{ours_call1, ours_call2, ours_call5, twin};

/// The instructions of a function, up to the return.
fn instructions(function: &str) -> Vec<String> {
    let program = env::current_exe().expect("a test runs from a file");
    let mut objdump = Command::new("objdump");
    objdump.args(["--no-show-raw-insn", "-M", "intel"]).arg(format!("--disassemble={function}")).arg(program);
    let output = objdump.output().expect("objdump, of binutils, comes with the C compiler");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let lines = text.lines().skip_while(|line| !line.ends_with(&format!("<{function}>:"))).skip(1);
    let code = lines.filter_map(|line| line.split_once(":\t")).map(|(_, instruction)| instruction.trim().to_owned());
    let mut code: Vec<_> = code.collect();
    let end = code.iter().position(|instruction| instruction.starts_with("ret")).expect("the function returns");
    code.truncate(end + 1);
    code
}

#[test]
fn a_hypercall_is_as_short_as_in_c() {
    // The linker keeps what is used.
    black_box((ours_call1 as *const (), ours_call2 as *const (), ours_call5 as *const ()));
    black_box((twin::twin_call1 as *const (), twin::twin_call2 as *const (), twin::twin_call5 as *const ()));
    for arguments in [1, 2, 5] {
        let [ours, theirs] = ["ours", "twin"].map(|side| instructions(&format!("{side}_call{arguments}")));
        println!("{arguments} arguments: {} instructions, in C {}", ours.len(), theirs.len());
        assert!(ours.iter().any(|instruction| instruction == "vmcall"), "{ours:?}");
        assert!(ours.len() <= theirs.len(), "{ours:#?} and in C {theirs:#?}");
    }
}
