//! Links the guest programs with the runtime's own script and nothing of the host.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = format!("{folder}/link/{arch}.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=-T{script}");
    // A hosted target is linked through the C compiler, which brings its startup files, libraries
    // and defaults unless told otherwise.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        for argument in [
            "-nostartfiles",
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
            "-Wl,-z,norelro",
        ] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
