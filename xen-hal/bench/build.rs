//! Compiles the C twins as a C programmer would: optimised by `-O2`.

fn main() {
    println!("cargo::rerun-if-changed=c");
    let files = ["c/clock.c", "c/event.c", "c/grant.c", "c/hypercall.c", "c/ring.c"];
    // Whatever cargo's profile: -O2 is what the comparison is about.
    cc::Build::new()
        .files(files)
        .opt_level(2)
        .debug(true)
        .flag("-std=gnu11")
        .warnings_into_errors(true)
        .compile("twins");
}
