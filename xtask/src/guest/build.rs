//! Building guest programs, and making the files that an emulator or a hypervisor loads.

use std::fs;
use std::io::{self, Read};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flate2::read::MultiGzDecoder;
use object::elf::{FileHeader32, FileHeader64, PT_NOTE, SHT_NOTE};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind, Object, ObjectSegment};

use super::platform::Arch;
use crate::replace::replace;
use crate::tools::{self, Tool};

/// The folder of the guest package in the workspace.
const GUESTS: &str = "examples/guests";

/// The demonstration of Embassy, and its TCP server and client over `embassy-net`. Features of the
/// same names turn on what they need.
pub const EMBASSY: &str = "embassy";
/// See [`EMBASSY`].
pub const EMBASSY_TCP: &str = "embassy-tcp";
/// The demonstration of Embassy with its shell.
pub const EMBASSY_SHELL: &str = "embassy-shell";

/// The guest that measures hot paths beside C, which runs only by its name. A feature of the same
/// name compiles the C.
pub const FIGURES: &str = "figures";
/// The guest that measures a block device's requests beside C, which runs only by its name.
pub const RATES: &str = "rates";

/// The smallest guest.
pub const TINY: &str = "tiny";

/// The kernel in C, and its library.
pub const C_KERNEL: &str = "c-kernel";
const C_LIBRARY: &str = "xen-hal/capi/Cargo.toml";

/// The target of the machine's own programs, for guests on x86_64 where there is nothing better: on
/// QEMU, an interrupt that comes twice stops them (`descriptors_64.rs` of the runtime).
const HOSTED: &str = "x86_64-unknown-linux-gnu";

/// Returns the target for an architecture, and whether its core library can be installed.
const fn target(arch: Arch) -> (&'static str, bool) {
    match arch {
        Arch::X8664 => ("x86_64-unknown-none", true),
        // The installed core library of this target uses vector registers, and has no memory
        // functions.
        Arch::X86 => ("i686-unknown-linux-gnu", false),
        Arch::Aarch64 => ("aarch64-unknown-none-softfloat", true),
    }
}

/// How guests are built for an architecture.
struct Toolchain {
    target: &'static str,
    /// True if Debian's compiler builds the core library first.
    builds_core: bool,
}

/// What a guest is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick builds.
    Dev,
    /// The size of the image.
    Small,
    /// Comparisons with C.
    Fast,
}

/// Chooses how a program is built: with an installed core library, else by Debian's compiler, else,
/// on x86_64, for the machine's own target.
///
/// The smallest guest for aarch64 is within its limit only with a core library of its own, so
/// Debian's compiler builds it in any case. The kernel in C cannot be built with the red zone of
/// the machine's own target.
///
/// # Errors
///
/// Names what must be installed.
fn toolchain(arch: Arch, binary: &str) -> Result<Toolchain, String> {
    let (target, is_prebuilt) = target(arch);
    let sysroot = sysroot()?;
    let installed = |target: &str| sysroot.join("lib/rustlib").join(target).join("lib").is_dir();
    let needs_own = binary == TINY && arch == Arch::Aarch64;
    if is_prebuilt && !needs_own && installed(target) {
        return Ok(Toolchain { target, builds_core: false });
    }
    let missing = missing_core_tools();
    if missing.is_empty() {
        return Ok(Toolchain { target, builds_core: true });
    }
    if arch == Arch::X8664 && binary != C_KERNEL && installed(HOSTED) {
        return Ok(Toolchain { target: HOSTED, builds_core: false });
    }
    let mut why = missing.join("\n");
    if is_prebuilt && !needs_own {
        why += &format!("\n`rustup target add {target}` does the same");
    }
    Err(why)
}

/// Says what to install if guests are built for the machine's own target.
pub fn warning(arch: Arch, binary: &str) -> Option<String> {
    let chosen = toolchain(arch, binary).ok()?;
    (chosen.target == HOSTED).then(|| {
        let missing = missing_core_tools().join("; ");
        format!("guests are built for {HOSTED}, whose interrupts can stop them in QEMU: {missing}")
    })
}

/// Names the missing tools of [`CORE_TOOLS`], and how to install them.
fn missing_core_tools() -> Vec<String> {
    CORE_TOOLS.iter().filter(|tool| tool.find().is_none()).map(Tool::missing).collect()
}

/// Makes cargo build the core library, not optimised: guests compile most of what they use of it
/// themselves, and optimising the rest takes longer than all guests.
pub const BUILD_CORE: [&str; 4] = [
    "-Zbuild-std=core",
    "-Zbuild-std-features=compiler-builtins-mem",
    "--config",
    "profile.dev.package.core.opt-level=0",
];

/// What building the core library takes.
pub const CORE_TOOLS: &[Tool] = &[tools::RUSTC_WEB, tools::RUST_WEB_SRC, tools::LLD];

/// The folder of the machine's own compiler.
fn sysroot() -> Result<&'static Path, String> {
    static ANSWER: OnceLock<io::Result<PathBuf>> = OnceLock::new();
    let answer = ANSWER.get_or_init(|| {
        let answer = Command::new("rustc").args(["--print", "sysroot"]).output()?;
        Ok(PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim()))
    });
    let answer = answer.as_deref();
    answer.map_err(|error| format!("cannot run rustc: {error}; install it from https://rustup.rs"))
}

/// Builds a program of the guest package in the target folder `folder` and returns its ELF file.
///
/// # Errors
///
/// What must be installed, or why cargo cannot be run. Cargo has printed its own errors by then.
pub fn build(
    workspace: &Path,
    binary: &str,
    arch: Arch,
    profile: Profile,
    folder: &Path,
) -> Result<PathBuf, String> {
    let toolchain = toolchain(arch, binary)?;
    // In the folder of the other cross checks, so that cargo builds the host's packages once.
    let folder = if toolchain.builds_core { folder.join("cross") } else { folder.to_path_buf() };
    let mut cargo = Command::new("cargo");
    let is_c = binary == C_KERNEL;
    // Both from the folder of the guests, so that they share its flags and what was built.
    cargo.current_dir(workspace.join(GUESTS)).args(["build", "--quiet"]);
    if is_c {
        cargo.arg("--manifest-path").arg(workspace.join(C_LIBRARY));
    } else {
        cargo.args(["--bin", binary]);
    }
    cargo
        .args(["--target", toolchain.target, "--target-dir"])
        .arg(&folder)
        // Flags for the host's programs would replace those of the package.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    let profile_folder = match profile {
        Profile::Dev => "debug",
        Profile::Small => "release",
        Profile::Fast => FIGURES,
    };
    if profile != Profile::Dev {
        cargo.args(["--profile", profile_folder, "--no-default-features"]);
    }
    if profile == Profile::Fast {
        find_compiler(arch)?;
        cargo.args(["--features", FIGURES]);
    }
    if profile == Profile::Small && toolchain.builds_core {
        // The core library's own panics are then one instruction instead of a formatted message,
        // which halves the guest on aarch64. The runtime reports that instruction's exception.
        let flags = r#"["-Zunstable-options", "-Cpanic=immediate-abort"]"#;
        cargo.args(["--config", &format!("target.{}.rustflags={flags}", toolchain.target)]);
    }
    if [EMBASSY, EMBASSY_TCP].contains(&binary) {
        cargo.args(["--features", binary]);
    }
    if toolchain.builds_core {
        cargo.args(BUILD_CORE).env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
        cargo.args(["--config", &format!(r#"target.{}.linker="ld.lld""#, toolchain.target)]);
    }
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{binary} does not build for {}", toolchain.target));
    }
    let built = folder.join(toolchain.target).join(profile_folder);
    if is_c { link_c(workspace, arch, &built) } else { Ok(built.join(binary)) }
}

/// Checks that there is a C compiler for the architecture.
fn find_compiler(arch: Arch) -> Result<(), String> {
    let compiler = if arch == Arch::Aarch64 { tools::GCC_AARCH64 } else { tools::GCC };
    compiler.find().map(drop).ok_or_else(|| compiler.missing())
}

/// Compiles the kernel in C, and links it with the library that was built in `folder`.
fn link_c(workspace: &Path, arch: Arch, folder: &Path) -> Result<PathBuf, String> {
    find_compiler(arch)?;
    tools::MAKE.find().ok_or_else(|| tools::MAKE.missing())?;
    let build = folder.join(C_KERNEL);
    let assign = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut make = Command::new("make");
    make.args(["--quiet", "-C"]).arg(workspace.join("examples").join(C_KERNEL));
    make.arg(format!("ARCH={}", arch.name())).arg(assign("BUILD", &build));
    make.arg(assign("LIBRARY", &folder.join("libxen_hal_capi.a")));
    let status = make.status().map_err(|error| format!("cannot run make: {error}"))?;
    if !status.success() {
        return Err(format!("{C_KERNEL} does not build for {}", arch.name()));
    }
    Ok(build.join(C_KERNEL))
}

/// Returns the architecture of a guest's image, an ELF file or a Linux Image for Arm.
///
/// # Errors
///
/// Why it is neither.
pub fn arch_of(image: &Path) -> Result<Arch, String> {
    let bytes = read(image)?;
    if bytes.get(0x38..0x3c) == Some(b"ARM\x64") {
        return Ok(Arch::Aarch64);
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err(format!("{} is neither an ELF file nor an Image for Arm", image.display()));
    }
    let file = object::File::parse(bytes.as_slice())
        .map_err(|error| format!("{}: {error}", image.display()))?;
    match file.architecture() {
        object::Architecture::X86_64 => Ok(Arch::X8664),
        object::Architecture::I386 => Ok(Arch::X86),
        object::Architecture::Aarch64 => Ok(Arch::Aarch64),
        other => Err(format!(
            "{}: expected an image for x86_64, x86 or aarch64, found {other:?}",
            image.display()
        )),
    }
}

/// Refuses an ELF file without the note that names the entry point of a PVH guest.
///
/// # Errors
///
/// The file cannot be read, or has no such note.
pub fn expect_pvh_entry(image: &Path) -> Result<(), String> {
    let bytes = read(image)?;
    let has_entry = match FileKind::parse(bytes.as_slice()) {
        Ok(FileKind::Elf64) => has_pvh_entry::<FileHeader64<Endianness>>(&bytes),
        _ => has_pvh_entry::<FileHeader32<Endianness>>(&bytes),
    };
    match has_entry {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{} has no note XEN_ELFNOTE_PHYS32_ENTRY (18), which names the entry point of a PVH \
             guest; examples/guests/BOOTING.md describes the image",
            image.display()
        )),
        Err(error) => Err(format!("{}: {error}", image.display())),
    }
}

/// Looks for the note in the segments, and in the sections. As Xen does, it aligns notes to 4
/// bytes, whatever alignment the segment or section has.
fn has_pvh_entry<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<bool> {
    const PHYS32_ENTRY: u32 = 18;
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let is_entry = |notes: &[u8]| {
        // The alignment 0 means 4.
        let mut notes = NoteIterator::<H>::new(endian, H::Word::default(), notes).ok();
        iter::from_fn(|| notes.as_mut()?.next().ok()?)
            .any(|note| note.name() == b"Xen" && note.n_type(endian).0 == PHYS32_ENTRY)
    };
    let mut segments = header.program_headers(endian, bytes)?.iter();
    let mut sections = header.section_headers(endian, bytes)?.iter();
    Ok(segments.any(|segment| {
        segment.p_type(endian) == PT_NOTE && segment.data(endian, bytes).is_ok_and(is_entry)
    }) || sections.any(|section| {
        section.sh_type(endian) == SHT_NOTE && section.data(endian, bytes).is_ok_and(is_entry)
    }))
}

/// How many bytes of an ELF file its PT_LOAD segments have.
///
/// # Errors
///
/// Why the file cannot be read.
pub fn loaded_bytes(image: &Path) -> Result<u64, String> {
    let bytes = read(image)?;
    let file = object::File::parse(bytes.as_slice())
        .map_err(|error| format!("{}: {error}", image.display()))?;
    Ok(file.segments().map(|segment| segment.file_range().1).sum())
}

/// Writes the flat image of an ELF file: its segments as they lie in memory. A file of another kind
/// is copied.
///
/// # Errors
///
/// Names the file that cannot be read or written.
pub fn flatten(from: &Path, to: &Path) -> Result<(), String> {
    let bytes = read(from)?;
    let image = match object::File::parse(bytes.as_slice()) {
        Ok(file) => {
            let segments: Vec<(u64, &[u8])> = file
                .segments()
                .filter_map(|segment| Some((segment.address(), segment.data().ok()?)))
                .filter(|(_, data)| !data.is_empty())
                .collect();
            let start = segments.iter().map(|(address, _)| *address).min().unwrap_or_default();
            let mut image = Vec::new();
            for (address, data) in segments {
                let at = (address - start) as usize;
                image.resize(image.len().max(at + data.len()), 0);
                image[at..at + data.len()].copy_from_slice(data);
            }
            image
        }
        Err(_) => bytes,
    };
    fs::write(to, image).map_err(|error| format!("{}: {error}", to.display()))
}

/// Writes the hypervisor's image at `from` to `to`, decompressed: QEMU loads no compressed image.
/// Does nothing if that was done since the image last changed.
///
/// # Errors
///
/// Names the file that cannot be read or written.
pub fn decompress(from: &Path, to: &Path) -> Result<(), String> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let written = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    if matches!((written(to), written(from)), (Ok(to), Ok(from)) if to > from) {
        return Ok(());
    }
    let mut image = read(from)?;
    if image.starts_with(&GZIP) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(image.as_slice())
            .read_to_end(&mut unpacked)
            .map_err(|error| format!("{}: {error}", from.display()))?;
        image = unpacked;
    }
    replace(to, image).map_err(|error| format!("{}: {error}", to.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{arch_of, decompress, expect_pvh_entry, flatten, loaded_bytes};
    use crate::guest::platform::Arch;
    use flate2::{Compression, write::GzEncoder};
    use std::fs;
    use std::io::Write;

    #[test]
    fn compressed_and_plain_images_give_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(b"the image").unwrap();
        fs::write(folder.path().join("packed"), packer.finish().unwrap()).unwrap();
        fs::write(folder.path().join("plain"), b"the image").unwrap();
        for name in ["packed", "plain"] {
            let to = folder.path().join(format!("{name}.elf"));
            decompress(&folder.path().join(name), &to).unwrap();
            assert_eq!(fs::read(to).unwrap(), b"the image");
        }
    }

    #[test]
    fn a_broken_image_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("packed"), [0x1f, 0x8b, 0, 0, 0]).unwrap();
        let to = folder.path().join("xen.elf");
        assert!(decompress(&folder.path().join("packed"), &to).is_err());
        assert!(!to.exists());
    }

    #[test]
    fn an_image_has_an_architecture_and_a_flat_form() {
        let folder = tempfile::tempdir().unwrap();
        // This program stands for any ELF file of its architecture.
        let elf = std::env::current_exe().unwrap();
        assert_eq!(arch_of(&elf).unwrap(), Arch::X8664);
        assert!((1..fs::metadata(&elf).unwrap().len()).contains(&loaded_bytes(&elf).unwrap()));
        let mut image = vec![0; 0x40];
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        let path = folder.path().join("Image");
        fs::write(&path, &image).unwrap();
        assert_eq!(arch_of(&path).unwrap(), Arch::Aarch64);
        let flat = folder.path().join("flat");
        flatten(&path, &flat).unwrap();
        assert_eq!(fs::read(&flat).unwrap(), image);
        fs::write(&path, b"no image").unwrap();
        let why = format!("{} is neither an ELF file nor an Image for Arm", path.display());
        assert_eq!(arch_of(&path).unwrap_err(), why);

        // An ELF file of one segment: at 120, a note of Xen, with the entry point 0x1000000.
        let no_entry = expect_pvh_entry(&elf).unwrap_err();
        assert!(no_entry.contains("has no note XEN_ELFNOTE_PHYS32_ENTRY (18)"), "{no_entry}");
        for (kind, is_entry) in [(18, true), (17, false)] {
            let mut image = vec![0; 140];
            for (at, bytes) in [
                (0, &b"\x7fELF\x02\x01\x01"[..]),
                (16, &[2, 0, 62, 0, 1]),
                (32, &[64]),
                (52, &[64, 0, 56, 0, 1]),
                (64, &[4]),
                (72, &[120]),
                (96, &[20]),
                (112, &[16]),
                (120, &[4, 0, 0, 0, 4, 0, 0, 0, kind, 0, 0, 0]),
                (132, b"Xen\0\0\0\0\x01"),
            ] {
                image[at..at + bytes.len()].copy_from_slice(bytes);
            }
            fs::write(&path, image).unwrap();
            assert_eq!(expect_pvh_entry(&path).is_ok(), is_entry, "note {kind}");
        }
    }
}
