//! Programs and files that are not part of the workspace: finds them, and names the packages that
//! install them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Something that a step needs from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The name in messages.
    pub name: &'static str,
    /// How to find it.
    pub probe: Probe,
    /// The Debian package that contains it, if any.
    pub package: Option<&'static str>,
}

/// How to find a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A program on the search path.
    Program(&'static str),
    /// A file or a folder at a fixed place.
    Path(&'static str),
    /// A file in `folder` whose name has this prefix and suffix, such as `xen-4.17-amd64.gz`.
    Pattern {
        /// The folder to search.
        folder: &'static str,
        /// The start of the name.
        prefix: &'static str,
        /// The end of the name.
        suffix: &'static str,
    },
    /// A subcommand of cargo that answers `--version`.
    Cargo(&'static str),
}

impl Tool {
    /// Returns the path of the tool, if it is installed.
    #[must_use]
    pub fn find(&self) -> Option<PathBuf> {
        match self.probe {
            Probe::Program(name) => find_program(name),
            Probe::Path(path) => Some(PathBuf::from(path)).filter(|path| path.exists()),
            Probe::Pattern { folder, prefix, suffix } => {
                newest_match(Path::new(folder), prefix, suffix)
            }
            Probe::Cargo(name) => {
                let answer = Command::new("cargo").args([name, "--version"]).output().ok()?;
                answer.status.success().then(|| PathBuf::from("cargo"))
            }
        }
    }

    /// Returns a sentence for a user who lacks the tool.
    #[must_use]
    pub fn missing(&self) -> String {
        match self.package {
            Some(package) => {
                format!("{} was not found; `apt-get install {package}` installs it", self.name)
            }
            None => format!("{} was not found", self.name),
        }
    }
}

/// Returns the first file of that name in the folders of `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Returns the file in `folder` that matches and sorts last.
fn newest_match(folder: &Path, prefix: &str, suffix: &str) -> Option<PathBuf> {
    let names = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with(prefix) && name.ends_with(suffix)).max()?;
    Some(folder.join(newest))
}

/// Xen's own public headers.
pub const XEN_HEADERS: Tool = Tool {
    name: "Xen's public headers",
    probe: Probe::Path("/usr/include/xen/xen.h"),
    package: Some("libxen-dev"),
};
/// The spell checker.
pub const CODESPELL: Tool =
    Tool { name: "codespell", probe: Probe::Program("codespell"), package: Some("codespell") };
/// Validates JSON against a schema.
pub const JSONSCHEMA: Tool = Tool {
    name: "the validator jsonschema",
    probe: Probe::Path("/usr/bin/jsonschema"),
    package: Some("python3-jsonschema"),
};
/// The browser in which the reference is checked.
pub const CHROMIUM: Tool =
    Tool { name: "chromium", probe: Probe::Program("chromium"), package: Some("chromium") };
/// The host's C compiler.
pub const GCC: Tool = Tool { name: "gcc", probe: Probe::Program("gcc"), package: Some("gcc") };
/// Builds the kernel in C.
pub const MAKE: Tool = Tool { name: "make", probe: Probe::Program("make"), package: Some("make") };
/// The host's C++ compiler.
pub const GXX: Tool = Tool { name: "g++", probe: Probe::Program("g++"), package: Some("g++") };
/// The compiled libFuzzer.
pub const LIBFUZZER: Tool = Tool {
    name: "clang's libFuzzer",
    probe: Probe::Path("/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-x86_64.a"),
    package: Some("libclang-rt-19-dev"),
};
/// A C compiler for aarch64.
pub const GCC_AARCH64: Tool = Tool {
    name: "a C compiler for aarch64",
    probe: Probe::Program("aarch64-linux-gnu-gcc"),
    package: Some("gcc-aarch64-linux-gnu"),
};
/// A C compiler for 32-bit x86, which can be installed beside those for other architectures.
pub const GCC_I686: Tool = Tool {
    name: "a C compiler for 32-bit x86",
    probe: Probe::Program("i686-linux-gnu-gcc"),
    package: Some("gcc-i686-linux-gnu"),
};
/// The C library for [`GCC_I686`].
pub const LIBC_I686: Tool = Tool {
    name: "the C library for 32-bit x86",
    probe: Probe::Path("/usr/i686-linux-gnu/lib/libc.a"),
    package: Some("libc6-dev-i386-cross"),
};
/// The C library for [`GCC_AARCH64`].
pub const LIBC_AARCH64: Tool = Tool {
    name: "the C library for aarch64",
    probe: Probe::Path("/usr/aarch64-linux-gnu/lib/libc.a"),
    package: Some("libc6-dev-arm64-cross"),
};
/// Runs programs of other architectures.
pub const QEMU_USER: Tool = Tool {
    name: "qemu-aarch64",
    probe: Probe::Program("qemu-aarch64"),
    package: Some("qemu-user"),
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
/// The Arm emulator.
pub const QEMU_ARM: Tool = Tool {
    name: "qemu-system-aarch64",
    probe: Probe::Program("qemu-system-aarch64"),
    package: Some("qemu-system-arm"),
};
/// The compiler of device trees.
pub const DTC: Tool =
    Tool { name: "dtc", probe: Probe::Program("dtc"), package: Some("device-tree-compiler") };
/// The x86 emulator that emulates Intel's virtualisation.
pub const BOCHS: Tool =
    Tool { name: "bochs", probe: Probe::Path("/usr/bin/bochs-bin"), package: Some("bochs") };
/// Creates a bootable CD.
pub const GRUB_MKRESCUE: Tool = Tool {
    name: "grub-mkrescue",
    probe: Probe::Program("grub-mkrescue"),
    package: Some("grub-common"),
};
/// The boot loader for a PC's BIOS.
pub const GRUB_PC: Tool = Tool {
    name: "GRUB for PC BIOS",
    probe: Probe::Path("/usr/lib/grub/i386-pc"),
    package: Some("grub-pc-bin"),
};
/// Writes the CD for grub-mkrescue.
pub const XORRISO: Tool =
    Tool { name: "xorriso", probe: Probe::Program("xorriso"), package: Some("xorriso") };
/// Writes the EFI image for grub-mkrescue.
pub const MTOOLS: Tool =
    Tool { name: "mtools", probe: Probe::Program("mformat"), package: Some("mtools") };
/// The programs of a Linux dom0.
pub const BUSYBOX: Tool = Tool {
    name: "a static busybox",
    probe: Probe::Path("/bin/busybox"),
    package: Some("busybox-static"),
};
/// Packs an initramfs.
pub const CPIO: Tool = Tool { name: "cpio", probe: Probe::Program("cpio"), package: Some("cpio") };
/// Unpacks a kernel.
pub const XZ: Tool = Tool { name: "xz", probe: Probe::Program("xz"), package: Some("xz-utils") };
/// A compiler whose library source is also a package, so that core can be built for any target.
pub const RUSTC_WEB: Tool =
    Tool { name: "rustc-web", probe: Probe::Path("/usr/bin/rustc"), package: Some("rustc-web") };
/// The library source that belongs to [`RUSTC_WEB`].
pub const RUST_WEB_SRC: Tool = Tool {
    name: "rust-web-src",
    probe: Probe::Path("/usr/lib/rustlib/src/rust/library/core"),
    package: Some("rust-web-src"),
};
/// clippy for [`RUSTC_WEB`].
pub const RUST_WEB_CLIPPY: Tool = Tool {
    name: "clippy-driver",
    probe: Probe::Path(CLIPPY_DRIVER),
    package: Some("rust-web-clippy"),
};
/// The compiler that is also clippy, for [`RUSTC_WEB`].
pub const CLIPPY_DRIVER: &str = "/usr/bin/clippy-driver";
/// A linker for every target.
pub const LLD: Tool =
    Tool { name: "ld.lld", probe: Probe::Program("ld.lld"), package: Some("lld") };
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
