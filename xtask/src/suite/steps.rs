//! The list of steps.

use super::{Call, Step};
use crate::tools::{Tool, known};

const BUILD_STD: &str = "-Zbuild-std=core --target";

/// Every step, cheap ones first.
#[must_use]
pub fn all() -> Vec<Step> {
    [sources(), proofs(), guests(), optional()].concat()
}

fn sources() -> Vec<Step> {
    vec![
        step(
            "format",
            "the code is formatted",
            &[known::FMT],
            vec![
                Call::cargo("fmt --all --check"),
                Call::cargo("fmt --all --check").inside("examples/guest"),
                Call::cargo("fmt --all --check").inside("xen-hal/bench"),
            ],
        ),
        step(
            "clippy",
            "no warning from the compiler or from clippy",
            &[known::CLIPPY],
            vec![
                Call::cargo("clippy --workspace --all-targets -- -D warnings"),
                // The workspace's example turns on `simulated`; alone, the crates are built as guests build them.
                Call::cargo("clippy --package xen-pac --package xen-hal -- -D warnings"),
                Call::cargo("clippy --bins --lib -- -D warnings").inside("examples/guest"),
            ],
        ),
        step("test", "unit and integration tests", &[], vec![Call::cargo("test --workspace --lib --bins --tests --examples")]),
        step(
            "twins",
            "the HAL's hot paths do what the same algorithms do in C, and hypercalls are no longer",
            &[known::GCC],
            vec![Call::cargo("test --quiet --locked --tests").inside("xen-hal/bench")],
        ),
        step("doctest", "every example in the documentation compiles and runs", &[], vec![Call::cargo("test --workspace --doc")]),
        step(
            "doc",
            "the documentation builds without a warning",
            &[],
            vec![Call::cargo("doc --workspace --no-deps --all-features").env("RUSTDOCFLAGS", "-D warnings")],
        ),
    ]
}

fn proofs() -> Vec<Step> {
    vec![
        step("regen", "xen-pac is what the description says", &[], vec![Call::xtask("regen --check")]),
        step("verify", "the description agrees with what was measured in every release", &[], vec![Call::xtask("verify")]),
        step(
            "headers",
            "the description agrees with installed headers, measured now by a C compiler for each architecture",
            &[known::XEN_HEADERS, known::GCC, known::GCC_AARCH64],
            vec![Call::xtask("verify --headers /usr/include/xen")],
        ),
        cross("cross-x86", "i686-unknown-linux-gnu"),
        cross("cross-aarch64", "aarch64-unknown-none-softfloat"),
    ]
}

fn guests() -> Vec<Step> {
    vec![
        step("host-example", "the shared page at work on this machine", &[], vec![Call::cargo("run --quiet --package host-example")]),
        step(
            "laptop",
            "guests at work on the simulated Xen",
            &[],
            ["features", "ping-pong", "clock", "tick", "ipi"]
                .map(|program| Call::cargo(&format!("run --quiet --package laptop-examples --bin {program}")))
                .to_vec(),
        ),
        step(
            "scenarios",
            "every scenario tells on real Xen what was recorded",
            &[known::QEMU_X86, known::XEN_AMD64],
            vec![Call::xtask("xen --all")],
        ),
        step("hello", "a guest boots on real Xen", &[known::QEMU_X86, known::XEN_AMD64], vec![Call::xtask("xen hello")]),
    ]
}

fn optional() -> Vec<Step> {
    let miri = step("miri", "no undefined behaviour in xen-pac's tests", &[known::MIRI], vec![Call::cargo("miri test --package xen-pac")]);
    vec![Step { optional: true, ..miri }]
}

/// The crates for another architecture, whose constants' assertions the compiler then evaluates.
fn cross(name: &'static str, target: &str) -> Step {
    let check = Call::cargo(&format!("check {BUILD_STD} {target} --package xen-pac --package xen-hal"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_DIR", "target/cross")
        .env("RUSTFLAGS", "-D warnings");
    step(name, "the crates compile there, and every layout assertion holds", &[known::RUSTC_WEB, known::RUST_WEB_SRC], vec![check])
}

fn step(name: &'static str, about: &'static str, needs: &[Tool], calls: Vec<Call>) -> Step {
    Step { name, about, needs: needs.to_vec(), optional: false, calls }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let steps = super::all();
        let names: BTreeSet<_> = steps.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), steps.len());
    }

    #[test]
    fn only_miri_may_be_missing() {
        let optional: Vec<_> = super::all().into_iter().filter(|step| step.optional).map(|step| step.name).collect();
        assert_eq!(optional, ["miri"]);
    }
}
