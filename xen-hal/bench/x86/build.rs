//! Compiles the C twins by `-O2`, and links a program that needs nothing but the kernel.

fn main() {
    println!("cargo::rerun-if-changed=../c");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    // Tuned as gcc does by itself: what `cc` asks for would make functions longer that keep
    // registers, and the comparison easier.
    let mut twins = cc::Build::new();
    twins
        .file("../c/hypercall_x86.c")
        .opt_level(2)
        .flag("-std=gnu11")
        .flag("-mtune=generic")
        .force_frame_pointer(false)
        .pic(false);
    twins.warnings_into_errors(true).compile("twins");
}
