//! The tools that some step of this workspace needs.

use super::{Probe, Tool};

/// Xen's own public headers.
pub const XEN_HEADERS: Tool = Tool {
    name: "Xen's public headers",
    probe: Probe::Path("/usr/include/xen/xen.h"),
    package: Some("libxen-dev"),
};
/// The host's C compiler.
pub const GCC: Tool = Tool { name: "gcc", probe: Probe::Program("gcc"), package: Some("gcc") };
/// The host's C++ compiler.
pub const GXX: Tool = Tool { name: "g++", probe: Probe::Program("g++"), package: Some("g++") };
/// A C compiler for aarch64.
pub const GCC_AARCH64: Tool = Tool {
    name: "a C compiler for aarch64",
    probe: Probe::Program("aarch64-linux-gnu-gcc"),
    package: Some("gcc-aarch64-linux-gnu"),
};
/// The x86 emulator.
pub const QEMU_X86: Tool = Tool {
    name: "qemu-system-x86_64",
    probe: Probe::Program("qemu-system-x86_64"),
    package: Some("qemu-system-x86"),
};
/// The hypervisor for x86_64.
pub const XEN_AMD64: Tool = Tool {
    name: "the Xen hypervisor for amd64",
    probe: Probe::Pattern { folder: "/boot", prefix: "xen-4", suffix: "-amd64.gz" },
    package: Some("xen-hypervisor-4.17-amd64"),
};
/// A compiler whose library source is here too, so that core can be built for any target.
pub const RUSTC_WEB: Tool =
    Tool { name: "rustc-web", probe: Probe::Path("/usr/bin/rustc"), package: Some("rustc-web") };
/// The library source that belongs to [`RUSTC_WEB`].
pub const RUST_WEB_SRC: Tool = Tool {
    name: "rust-web-src",
    probe: Probe::Path("/usr/lib/rustlib/src/rust/library/core"),
    package: Some("rust-web-src"),
};
/// A linker for every target.
pub const LLD: Tool =
    Tool { name: "ld.lld", probe: Probe::Program("ld.lld"), package: Some("lld") };
/// What a program needs at run time to have its threads' accesses watched.
pub const TSAN_RUNTIME: Tool = Tool {
    name: "the runtime of ThreadSanitizer",
    probe: Probe::Path(TSAN_LIBRARY),
    package: Some("libclang-rt-19-dev"),
};
/// Where it is.
pub const TSAN_LIBRARY: &str = "/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.tsan-x86_64.a";
/// The instruction counter of the benchmarks.
pub const VALGRIND: Tool =
    Tool { name: "valgrind", probe: Probe::Program("valgrind"), package: Some("valgrind") };
/// rustfmt, as cargo calls it.
pub const FMT: Tool = Tool { name: "cargo fmt", probe: Probe::Cargo("fmt"), package: None };
/// clippy, as cargo calls it.
pub const CLIPPY: Tool =
    Tool { name: "cargo clippy", probe: Probe::Cargo("clippy"), package: None };
/// The interpreter that finds undefined behaviour.
pub const MIRI: Tool = Tool { name: "cargo miri", probe: Probe::Cargo("miri"), package: None };
