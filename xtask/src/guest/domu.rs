//! The Linux dom0 that creates unprivileged domains with `xl`: its kernel, its initramfs and the
//! script that runs one guest after the other in one boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build;
use super::packages::{self, Packages, output};
use super::platform::{Arch, Platform};
use crate::tools;

/// A guest of a boot.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The name of the program.
    pub name: String,
    /// Its ELF file or Image.
    pub image: PathBuf,
    /// The command line of each of its domains.
    pub command_lines: Vec<String>,
}

/// What the script prints before a guest's run. The guest's name follows.
pub const BEGIN: &str = "## begin ";
/// What the script prints after a guest's run. The guest's name follows.
pub const END: &str = "## end ";
/// What stands for the number of the first domain of a guest in a command line, plus a digit. The
/// script types what stands behind `TYPED+` into the guest's console.
pub const DOMAIN: &str = "DOMAIN+";

const INIT: &str = include_str!("domu/init");
/// The scripts that `xl` runs when a device appears or disappears.
const HOTPLUG: [(&str, &str); 2] =
    [("block", include_str!("domu/block")), ("vif-bridge", include_str!("domu/vif-bridge"))];
/// What guests need of dom0, by the image's name. `init` says what a script may define.
const SCRIPTS: [(&str, &str); 8] = [
    (build::EMBASSY_SHELL, include_str!("domu/embassy-shell")),
    (build::EMBASSY_TCP, include_str!("domu/tcp")),
    ("files", include_str!("domu/files")),
    (build::RATES, include_str!("domu/rates")),
    ("restore", include_str!("domu/restore")),
    ("shutdown", include_str!("domu/shutdown")),
    ("tcp", include_str!("domu/tcp")),
    ("xenstore", include_str!("domu/xenstore")),
];

/// The Xen tools that dom0 runs.
const PROGRAMS: [&str; 7] = [
    "xl",
    "xenstored",
    "oxenstored",
    "xenconsoled",
    "xenconsole",
    "xen-init-dom0",
    "libxl-save-helper",
];

/// The modules that dom0 loads, below the kernel's drivers.
const MODULES: [&str; 8] = [
    "xen/xen-privcmd",
    "xen/xenfs/xenfs",
    "xen/xen-evtchn",
    "xen/xen-gntdev",
    "xen/xen-gntalloc",
    "block/loop",
    "block/xen-blkback/xen-blkback",
    "net/xen-netback/xen-netback",
];

/// What differs between the architectures of dom0.
struct Dom0 {
    /// The name of the archive with everything but the guests.
    name: String,
    linux: Packages,
    tools: Packages,
    /// Debian's name of the folder with the libraries.
    libraries: &'static str,
    /// The program that loads libraries, and its folder.
    loader: (&'static str, &'static str),
}

impl Dom0 {
    fn of(Platform { arch, release, .. }: Platform) -> Self {
        if arch == Arch::Aarch64 {
            return Self {
                name: format!("dom0-{release}-arm64"),
                linux: packages::LINUX_ARM64,
                tools: packages::TOOLS_4_17_ARM64,
                libraries: "usr/lib/aarch64-linux-gnu",
                loader: ("lib", "ld-linux-aarch64.so.1"),
            };
        }
        Self {
            name: format!("dom0-{release}"),
            linux: packages::LINUX,
            tools: if release == "4.20" { packages::TOOLS_4_20 } else { packages::TOOLS_4_17 },
            libraries: "usr/lib/x86_64-linux-gnu",
            loader: ("lib64", "ld-linux-x86-64.so.2"),
        }
    }
}

/// Returns the packages that dom0 is made from.
#[must_use]
pub fn packages(platform: Platform) -> [Packages; 2] {
    let Dom0 { linux, tools, .. } = Dom0::of(platform);
    [linux, tools]
}

/// Returns the raw kernel of dom0. On x86, Xen would take the compressed one, at twice the time.
///
/// # Errors
///
/// What cannot be downloaded or read.
pub fn kernel(platform: Platform, files: &Path) -> Result<PathBuf, String> {
    let is_arm = platform.arch == Arch::Aarch64;
    let to = files.join(if is_arm { "Image" } else { "vmlinux" });
    if to.exists() {
        return Ok(to);
    }
    let linux = Dom0::of(platform).linux;
    let root = linux.unpacked(files)?;
    let explain = |error| format!("{}: {error}", root.display());
    let boot = fs::read_dir(root.join("boot")).map_err(explain)?;
    let packed = boot.filter_map(|entry| Some(entry.ok()?.path())).next();
    let packed = packed.ok_or_else(|| format!("expected a kernel in {linux}, found none"))?;
    if is_arm {
        build::decompress(&packed, &to)?;
        return Ok(to);
    }
    let bytes = fs::read(&packed).map_err(explain)?;
    const XZ: &[u8] = b"\xfd7zXZ\0";
    let start = bytes.windows(XZ.len()).position(|window| window == XZ);
    let start = start.ok_or_else(|| format!("{}: expected xz, found none", packed.display()))?;
    let stream = files.join("vmlinux.xz");
    fs::write(&stream, &bytes[start..]).map_err(explain)?;
    // More follows the stream, which xz reports as an error after it has written everything.
    let script =
        format!("xz -dcq {} > {}", stream.display(), to.with_extension("partial").display());
    let _ = Command::new("sh").args(["-c", &script]).output();
    fs::rename(to.with_extension("partial"), &to).map_err(explain)?;
    let is_elf = fs::read(&to).is_ok_and(|kernel| kernel.starts_with(b"\x7fELF"));
    if is_elf { Ok(to) } else { Err(format!("{}: expected an ELF file", to.display())) }
}

/// Writes dom0's initramfs: the tools, the guests, each with that many vCPUs, and the script that
/// creates them. If a person types, `xl console` connects the guest's console to dom0's.
///
/// # Errors
///
/// What cannot be downloaded, read or written.
pub fn initramfs(
    platform: Platform,
    guests: &[Guest],
    (vcpus, interactive): (u32, bool),
    files: &Path,
    to: &Path,
) -> Result<(), String> {
    let base = base(platform, files)?;
    let folder = to.with_extension("root");
    let _ = fs::remove_dir_all(&folder);
    let root = folder.join("root");
    let explain = |error| format!("{}: {error}", folder.display());
    let hotplug = folder.join("etc/xen/scripts");
    for (folder, scripts) in [(&hotplug, &HOTPLUG[..]), (&root.join("scripts"), &SCRIPTS)] {
        fs::create_dir_all(folder).map_err(explain)?;
        for (name, text) in scripts {
            fs::write(folder.join(name), text).map_err(explain)?;
            output(Command::new("chmod").arg("+x").arg(folder.join(name)))?;
        }
    }
    let mut list = String::new();
    for guest in guests {
        let image = root.join(guest.image.file_name().unwrap_or_default());
        if !image.exists() {
            match platform.arch {
                Arch::Aarch64 => build::flatten(&guest.image, &image)?,
                _ => drop(fs::copy(&guest.image, &image).map_err(explain)?),
            }
        }
        let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (number, command_line) in guest.command_lines.iter().enumerate() {
            let last = number + 1 == guest.command_lines.len();
            let kind = if last { "run" } else { "prepare" };
            list += &format!("{kind} {} {name} {vcpus} {command_line}\n", guest.name);
        }
    }
    fs::write(root.join("guests"), list).map_err(explain)?;
    if interactive {
        fs::write(root.join("interactive"), "").map_err(explain)?;
    }
    let own = to.with_extension("own");
    archive(&folder, &own)?;
    let joined = [fs::read(&base).map_err(explain)?, fs::read(&own).map_err(explain)?].concat();
    fs::write(to, joined).map_err(explain)
}

/// Returns the archive with everything but the guests, made once.
fn base(platform: Platform, files: &Path) -> Result<PathBuf, String> {
    let dom0 = Dom0::of(platform);
    let release = platform.release;
    let to = files.join(format!("{}.cpio", dom0.name));
    let modules = MODULES.map(|module| module.rsplit('/').next().unwrap_or(module));
    let init = INIT
        .replace("@RELEASE@", release)
        .replace("@MODULES@", &modules.join(" "))
        .replace("@LIBRARIES@", dom0.libraries);
    let folder = files.join(&dom0.name);
    // The archive is made again if what it is made from has changed.
    let (list, source) = (folder.join("etc/made-from"), format!("{PROGRAMS:?}\n{init}"));
    if to.exists() && fs::read_to_string(&list).is_ok_and(|kept| kept == source) {
        return Ok(to);
    }
    let unpacked = dom0.tools.unpacked(files)?;
    let linux = dom0.linux.unpacked(files)?;
    let _ = fs::remove_dir_all(&folder);
    let explain = |error| format!("{}: {error}", folder.display());
    let programs = folder.join(format!("usr/lib/xen-{release}/bin"));
    let libraries = folder.join(dom0.libraries);
    for name in [
        "bin",
        "sbin",
        "proc",
        "sys",
        "dev",
        "tmp",
        dom0.loader.0,
        "lib/mods",
        "etc/xen",
        "run/lock",
        "run/xen",
        "run/xenstored",
        "var/lib/xen",
        "var/lib/xenstored",
        "var/log/xen/console",
    ] {
        fs::create_dir_all(folder.join(name)).map_err(explain)?;
    }
    for name in [&programs, &libraries] {
        fs::create_dir_all(name).map_err(explain)?;
    }
    let link =
        |to: &str, from: &str| std::os::unix::fs::symlink(to, folder.join(from)).map_err(explain);
    link("/run", "var/run")?;
    link("/run/lock", "var/lock")?;
    link("busybox", "bin/sh")?;
    let busybox = match platform.arch {
        Arch::Aarch64 => unpacked.join("bin/busybox"),
        _ => tools::BUSYBOX.find().ok_or_else(|| tools::BUSYBOX.missing())?,
    };
    fs::copy(busybox, folder.join("bin/busybox")).map_err(explain)?;
    let installed = unpacked.join(format!("usr/lib/xen-{release}/bin"));
    for name in PROGRAMS {
        fs::copy(installed.join(name), programs.join(name)).map_err(explain)?;
    }
    for name in ["xenstore-read", "xenstore-write"] {
        fs::copy(unpacked.join("usr/bin").join(name), folder.join("bin").join(name))
            .map_err(explain)?;
    }
    for library in find(&unpacked, &|name| name.contains(".so")) {
        if !library.to_string_lossy().contains("gconv") {
            let name = library.file_name().unwrap_or_default();
            fs::copy(&library, libraries.join(name)).map_err(explain)?;
        }
    }
    let (place, loader) = dom0.loader;
    fs::copy(libraries.join(loader), folder.join(place).join(loader)).map_err(explain)?;
    for module in modules {
        let name = format!("{module}.ko");
        let found = find(&linux, &|file| file == name);
        let from =
            found.first().ok_or_else(|| format!("expected the module {name}, found none"))?;
        fs::copy(from, folder.join("lib/mods").join(&name)).map_err(explain)?;
    }
    fs::write(folder.join("etc/xen/xl.conf"), "").map_err(explain)?;
    fs::write(folder.join("init"), init).map_err(explain)?;
    output(Command::new("chmod").arg("+x").arg(folder.join("init")))?;
    fs::write(list, source).map_err(explain)?;
    archive(&folder, &to)?;
    Ok(to)
}

/// Returns the files below `folder` with such a name.
fn find(folder: &Path, fits: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(find(&path, fits));
        } else if path.is_file() && fits(&path.file_name().unwrap_or_default().to_string_lossy()) {
            found.push(path);
        }
    }
    found
}

/// Packs a folder into an archive for the kernel.
fn archive(folder: &Path, to: &Path) -> Result<(), String> {
    let script = format!("find . | cpio -o -H newc --quiet > {}", to.display());
    output(Command::new("sh").current_dir(folder).args(["-c", &script])).map(drop)
}
