//! Marks what the oldest release that a program supports does not have: the environment variable
//! `XEN_PAC_OLDEST` names it.

use std::env;

include!("src/generated/releases.rs");

fn main() {
    println!("cargo::rerun-if-changed=src/generated/releases.rs");
    println!("cargo::rerun-if-env-changed=XEN_PAC_OLDEST");
    let quoted: Vec<String> = RELEASES.iter().map(|release| format!("{release:?}")).collect();
    println!("cargo::rustc-check-cfg=cfg(xen_before, values({}))", quoted.join(", "));
    let Some(oldest) = env::var_os("XEN_PAC_OLDEST") else { return };
    match RELEASES.iter().position(|release| oldest == *release) {
        Some(at) => {
            for later in &quoted[at + 1..] {
                println!("cargo::rustc-cfg=xen_before={later}");
            }
        }
        None => {
            let oldest = oldest.to_string_lossy();
            let known = RELEASES.join(", ");
            println!("cargo::error=XEN_PAC_OLDEST: expected one of {known}; found `{oldest}`");
        }
    }
}
