//! Hands the architecture's linker script to the linker of any guest that depends on this crate.

use std::path::Path;
use std::{env, fs};

/// The name by which a guest's linker arguments call the script.
const SCRIPT: &str = "xen-rt.x";

fn main() {
    let variable = |name: &str| env::var(name).expect("cargo sets it");
    let script = format!("link/{}.ld", variable("CARGO_CFG_TARGET_ARCH"));
    let out = variable("OUT_DIR");
    fs::copy(&script, Path::new(&out).join(SCRIPT))
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rerun-if-changed=build.rs");
}
