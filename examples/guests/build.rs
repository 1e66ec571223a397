//! Compiles the hot paths in C for the guests `figures` and `rates`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "figures")]
    compile();
}

#[cfg(feature = "figures")]
fn compile() {
    println!("cargo::rerun-if-changed=c");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let (compiler, flag) = match arch.as_str() {
        "aarch64" => ("aarch64-linux-gnu-gcc", "-mno-outline-atomics"),
        "x86" => ("gcc", "-m32"),
        // A handler runs on the stack of what it interrupts.
        _ => ("gcc", "-mno-red-zone"),
    };
    let flags = [
        "-O2",
        "-std=gnu11",
        "-ffreestanding",
        "-fno-pic",
        "-fno-stack-protector",
        "-fno-asynchronous-unwind-tables",
        "-mgeneral-regs-only",
        "-Wall",
        "-Wextra",
        "-Werror",
        flag,
    ];
    let mut build = cc::Build::new();
    build.compiler(compiler).no_default_flags(true).file("c/figures.c");
    if arch != "aarch64" {
        build.file("c/block.c").file("c/net.c");
    }
    build.include("../../xen-pac/include");
    flags.into_iter().for_each(|flag| {
        build.flag(flag);
    });
    build.compile("figures");
}
