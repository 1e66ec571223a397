//! The command line of each boot: an emulator, the hypervisor, and the guest.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build;
use super::domu::{self, Guest};
use super::packages::{self, Packages, output};
use super::platform::{Arch, Platform, Route};
use crate::tools::{self, Tool, find_program};

/// The variable that names another QEMU.
pub const QEMU_VARIABLE: &str = "XEN_GUEST_QEMU";
/// The variable that names another hypervisor image, compressed with gzip or not.
pub const HYPERVISOR_VARIABLE: &str = "XEN_GUEST_HYPERVISOR";

/// The user's options of a boot.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More options for Xen.
    pub xen_args: String,
    /// Another processor model.
    pub cpu: Option<String>,
    /// How many vCPUs a guest has.
    pub vcpus: u32,
    /// The version of Arm's interrupt controller.
    pub gic: u32,
    /// Whether a person types into the guest's console.
    pub interactive: bool,
}

/// A boot: what is run, and where.
#[derive(Clone, Debug)]
pub struct Emulation {
    /// The emulator.
    pub program: PathBuf,
    /// Its arguments. Names of files are relative to the folder.
    pub arguments: Vec<OsString>,
    /// The folder that it runs in.
    pub folder: PathBuf,
}

impl fmt::Display for Emulation {
    /// Returns the command for a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cd {} && {}", self.folder.display(), self.program.display())?;
        for argument in &self.arguments {
            let text = argument.to_string_lossy();
            let plain = |character: char| {
                character.is_ascii_alphanumeric() || "-_=,./:@".contains(character)
            };
            if text.chars().all(plain) && !text.is_empty() {
                write!(f, " {text}")?;
            } else {
                write!(f, " '{}'", text.replace('\'', "'\\''"))?;
            }
        }
        Ok(())
    }
}

/// Returns the tools that a platform needs besides those that build guests.
#[must_use]
pub const fn needs(platform: Platform) -> &'static [Tool] {
    match platform.route {
        Route::Dom0 => &[tools::QEMU_X86, tools::XEN_AMD64],
        Route::Vmx => &[
            tools::BOCHS,
            tools::XEN_AMD64,
            tools::GRUB_MKRESCUE,
            tools::GRUB_PC,
            tools::XORRISO,
            tools::MTOOLS,
        ],
        Route::Domu => match platform.arch {
            Arch::Aarch64 => &[tools::QEMU_ARM, tools::DTC, tools::CPIO],
            _ => &[tools::QEMU_X86, tools::XEN_AMD64, tools::BUSYBOX, tools::CPIO, tools::XZ],
        },
        Route::Dom0less => &[tools::QEMU_ARM, tools::DTC],
    }
}

/// Checks that the tools of a platform are installed.
///
/// # Errors
///
/// Names what must be installed.
pub fn find_tools(platform: Platform) -> Result<(), String> {
    let missing: Vec<String> =
        needs(platform).iter().filter(|tool| tool.find().is_none()).map(Tool::missing).collect();
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
}

/// Puts the files of a boot into `folder`, and makes its command line. `files` keeps what all boots
/// share.
///
/// # Errors
///
/// What is missing, or the file that cannot be read or written.
pub fn prepare(
    platform: Platform,
    guests: &[Guest],
    options: &Options,
    files: &Path,
    folder: &Path,
) -> Result<Emulation, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let hypervisor = files.join(format!("xen-{platform}"));
    build::decompress(&hypervisor_image(platform, files)?, &hypervisor)?;
    match platform.route {
        Route::Dom0 => dom0(&hypervisor, guests, options, folder),
        Route::Vmx => vmx(&hypervisor, guests, options, folder),
        Route::Domu => domu(platform, &hypervisor, guests, options, files, folder),
        Route::Dom0less => dom0less(&hypervisor, guests, options, files, folder),
    }
}

/// Returns the packages that a platform's boots need.
#[must_use]
pub fn packages(platform: Platform) -> Vec<Packages> {
    let mut all = Vec::new();
    if std::env::var_os(HYPERVISOR_VARIABLE).is_none() {
        match (platform.arch, platform.release) {
            (Arch::Aarch64, _) => all.push(packages::XEN_4_17_ARM64),
            (_, "4.20") => all.push(packages::XEN_4_20_AMD64),
            _ => {}
        }
    }
    if platform.route == Route::Domu {
        all.extend(domu::packages(platform));
    }
    all
}

fn hypervisor_image(platform: Platform, files: &Path) -> Result<PathBuf, String> {
    if let Some(chosen) = std::env::var_os(HYPERVISOR_VARIABLE) {
        return chosen_file(HYPERVISOR_VARIABLE, Path::new(&chosen));
    }
    match (platform.arch, platform.release) {
        (Arch::Aarch64, _) => {
            Ok(packages::XEN_4_17_ARM64.unpacked(files)?.join("boot/xen-4.17-arm64"))
        }
        (_, "4.20") => Ok(packages::XEN_4_20_AMD64.unpacked(files)?.join("boot/xen-4.20-amd64.gz")),
        _ => tools::XEN_AMD64.find().ok_or_else(|| tools::XEN_AMD64.missing()),
    }
}

/// Returns QEMU, or the program that the variable names.
fn qemu(tool: Tool) -> Result<PathBuf, String> {
    match std::env::var_os(QEMU_VARIABLE) {
        Some(chosen) => chosen_file(QEMU_VARIABLE, Path::new(&chosen)),
        None => tool.find().ok_or_else(|| tool.missing()),
    }
}

/// Returns a file by its path, or by a name on the search path.
fn chosen_file(variable: &str, chosen: &Path) -> Result<PathBuf, String> {
    let found = if chosen.is_file() {
        Some(chosen.to_owned())
    } else {
        chosen.to_str().and_then(find_program)
    };
    found.ok_or_else(|| format!("{variable}: expected a file, found {}", chosen.display()))
}

fn words(lines: &[&[&str]]) -> Vec<OsString> {
    lines.iter().copied().flatten().map(OsString::from).collect()
}

/// Returns the only guest of a boot.
fn only(guests: &[Guest]) -> Result<&Guest, String> {
    match guests {
        [guest] if guest.command_lines.len() == 1 => Ok(guest),
        _ => Err("expected one domain, found several".to_owned()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|error| format!("{}: {error}", from.display()))
}

/// Returns the options of Xen on x86. The emulated machines have no IOMMU, which Xen demands for a
/// PVH dom0 by default.
fn dom0_options(options: &Options) -> String {
    format!(
        "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all dom0=pvh dom0-iommu=none \
         iommu=off dom0_mem=64M dom0_max_vcpus={} {}",
        options.vcpus, options.xen_args
    )
}

fn dom0(
    hypervisor: &Path,
    guests: &[Guest],
    options: &Options,
    folder: &Path,
) -> Result<Emulation, String> {
    let guest = only(guests)?;
    copy(&guest.image, &folder.join("guest.elf"))?;
    copy(hypervisor, &folder.join("xen"))?;
    // QEMU splits the argument at commas.
    if guest.command_lines[0].contains(',') {
        return Err("expected a guest command line without commas, found one".to_owned());
    }
    let initrd = format!("guest.elf {}", guest.command_lines[0]);
    // Xen idles by MWAIT where it can, and faults on iretq with SMAP: QEMU 7.2 emulates neither
    // well.
    let cpu = format!("{},-monitor,-smap", options.cpu.as_deref().unwrap_or("EPYC"));
    // The TSC then counts instructions, and every run is the same. It takes three times as long.
    let counts: &[&str] = if guest.name == build::FIGURES {
        &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
    } else {
        &["-accel", "tcg,thread=multi"]
    };
    let arguments = words(&[
        counts,
        &["-machine", "q35", "-cpu", &cpu],
        // One processor, on which Xen runs all vCPUs in turns. With two, about one run in ten of
        // two vCPUs that interrupt each other ended in a triple fault or a hang. Interrupts that
        // QEMU delivers twice may be the cause, which the runtime ignores since (`stubs_64.rs`).
        &["-smp", "1", "-m", "256", "-display", "none", "-serial", "stdio", "-nodefaults"],
        // The guest ends QEMU through this device, with a status.
        &["-no-reboot", "-device", "isa-debug-exit,iobase=0x501,iosize=2"],
        &["-kernel", "xen", "-initrd", initrd.trim_end(), "-append", &dom0_options(options)],
    ]);
    Ok(Emulation { program: qemu(tools::QEMU_X86)?, arguments, folder: folder.to_owned() })
}

/// Bochs' configuration. The guest's write of its status to port 0x501 ends Bochs: to its device
/// `biosdev` it is a panic of the VGA BIOS, with the status as the line.
const BOCHSRC: &str = "\
config_interface: textconfig
display_library: rfb, options=\"timeout=0\"
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, iodebug=1
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=CPU, count=1, ips=10000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=256, host=256
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=guest.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=/dev/stdout
clock: sync=none, time0=1700000000
log: bochs.log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
magic_break: enabled=0
port_e9_hack: enabled=0
";

fn vmx(
    hypervisor: &Path,
    guests: &[Guest],
    options: &Options,
    folder: &Path,
) -> Result<Emulation, String> {
    let guest = only(guests)?;
    let explain = |error| format!("{}: {error}", folder.display());
    let cpu = options.cpu.as_deref().unwrap_or("corei7_haswell_4770");
    fs::write(folder.join("bochsrc"), BOCHSRC.replace("CPU", cpu)).map_err(explain)?;
    // Debian's build has the debugger, which stops at the first instruction.
    fs::write(folder.join("go.rc"), "c\nq\n").map_err(explain)?;
    let disk = folder.join("disk");
    fs::create_dir_all(disk.join("boot/grub")).map_err(explain)?;
    copy(hypervisor, &disk.join("boot/xen"))?;
    copy(&guest.image, &disk.join("boot/guest"))?;
    // What is in Xen's transmit buffer at the end is lost without sync_console. Multiboot 2 fails
    // in GRUB's call of the VGA BIOS.
    let menu = format!(
        "serial --unit=0 --speed=115200\nterminal_output serial\nmultiboot /boot/xen {} noreboot \
         sync_console\nmodule /boot/guest {}\nboot\n",
        dom0_options(options),
        guest.command_lines[0]
    );
    fs::write(disk.join("boot/grub/grub.cfg"), menu).map_err(explain)?;
    output(Command::new("grub-mkrescue").current_dir(folder).args([
        "-o",
        "guest.iso",
        "disk",
        "--install-modules=multiboot serial iso9660 biosdisk normal configfile",
        "--fonts=",
        "--locales=",
        "--themes=",
        "--compress=no",
    ]))?;
    let program = tools::BOCHS.find().ok_or_else(|| tools::BOCHS.missing())?;
    let arguments = words(&[&["-q", "-rc", "go.rc", "-f", "bochsrc"]]);
    Ok(Emulation { program, arguments, folder: folder.to_owned() })
}

/// The options of dom0's kernel. QEMU keeps the translation of a program that always runs at the
/// same addresses. The options after that save work at boot and for each page.
const LINUX_OPTIONS: &str = "console=hvc0 rdinit=/init quiet norandmaps mitigations=off \
                             rodata=off init_on_alloc=0 apparmor=0 cryptomgr.notests";

fn domu(
    platform: Platform,
    hypervisor: &Path,
    guests: &[Guest],
    options: &Options,
    files: &Path,
    folder: &Path,
) -> Result<Emulation, String> {
    let kernel = domu::kernel(platform, files)?;
    let (vcpus, interactive) = (options.vcpus, options.interactive);
    domu::initramfs(platform, guests, (vcpus, interactive), files, &folder.join("initramfs"))?;
    copy(hypervisor, &folder.join("xen"))?;
    let link = folder.join("linux");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&kernel, &link)
        .map_err(|error| format!("{}: {error}", link.display()))?;
    if platform.arch == Arch::Aarch64 {
        return domu_on_arm(guests, options, files, folder);
    }
    // With RDTSCP a Linux domain hangs: xl intercepts it, and QEMU reports the wrong exit.
    let cpu = format!("{},-monitor,-smap,-rdtscp", options.cpu.as_deref().unwrap_or("EPYC"));
    let initrd = format!("linux {LINUX_OPTIONS},initramfs");
    // Dom0 is PV. A PVH dom0 needs `acpi=off`, because it cannot read QEMU's tables in reserved
    // memory, and takes three times as long.
    // Unpinned, a guest that spins on dom0's processor makes dom0's processes fault in QEMU.
    let append = format!(
        "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all dom0_mem=384M,max:384M \
         dom0_max_vcpus=1 dom0_vcpus_pin iommu=off spec-ctrl=no bootscrub=0 {}",
        options.xen_args
    );
    let arguments = words(&[
        &["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", &cpu, "-smp", "2"],
        &["-m", "1024", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"],
        &["-kernel", "xen", "-initrd", &initrd, "-append", &append],
    ]);
    Ok(Emulation { program: qemu(tools::QEMU_X86)?, arguments, folder: folder.to_owned() })
}

/// Where QEMU's loader puts the kernel of dom0, and its initramfs.
const LINUX: u64 = 0x7000_0000;
const INITRAMFS: u64 = 0x7800_0000;

fn domu_on_arm(
    guests: &[Guest],
    options: &Options,
    files: &Path,
    folder: &Path,
) -> Result<Emulation, String> {
    let cpu = options.cpu.as_deref().unwrap_or("cortex-a57");
    let machine = format!("virt,virtualization=on,gic-version={}", options.gic);
    let mut tree = base_tree(&machine, cpu, 2, files)?;
    let size = |name: &str| {
        let path = folder.join(name);
        fs::metadata(&path)
            .map(|data| data.len())
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    tree += &format!(
        "/ {{ chosen {{ #address-cells = <2>; #size-cells = <2>; xen,xen-bootargs = \
         \"console=dtuart dtuart=/pl011@9000000 bootscrub=0 loglvl=all guest_loglvl=all \
         dom0_mem=384M dom0_max_vcpus=1 dom0_vcpus_pin {} {}\"; xen,dom0-bootargs = \
         \"{LINUX_OPTIONS}\";\n",
        xsm(guests),
        options.xen_args
    );
    let mut loaders = Vec::new();
    for (name, kind, at) in [("linux", "kernel", LINUX), ("initramfs", "ramdisk", INITRAMFS)] {
        tree += &format!(
            "module@{at:x} {{ compatible = \"multiboot,{kind}\", \"multiboot,module\"; \
             reg = <0 {at:#x} 0 {:#x}>; }};\n",
            size(name)?
        );
        loaders.push("-device".into());
        loaders.push(format!("loader,file={name},addr={at:#x},force-raw=on").into());
    }
    compile_tree(&(tree + "}; };\n"), folder)?;
    let mut arguments = words(&[
        &["-M", &machine, "-cpu", cpu, "-smp", "2", "-m", "1024", "-accel", "tcg,thread=multi"],
        &["-display", "none", "-serial", "stdio", "-monitor", "none", "-nodefaults", "-no-reboot"],
        &["-dtb", "xen.dtb", "-kernel", "xen"],
    ]);
    arguments.extend(loaders);
    Ok(Emulation { program: qemu(tools::QEMU_ARM)?, arguments, folder: folder.to_owned() })
}

/// Where QEMU's loader puts the first guest's image; the others follow at this distance.
const MODULE: u64 = 0x6000_0000;
const MODULE_DISTANCE: u64 = 0x0400_0000;

fn dom0less(
    hypervisor: &Path,
    guests: &[Guest],
    options: &Options,
    files: &Path,
    folder: &Path,
) -> Result<Emulation, String> {
    let [guest] = guests else { return Err("expected one guest, found several".to_owned()) };
    let explain = |error| format!("{}: {error}", folder.display());
    copy(hypervisor, &folder.join("xen"))?;
    build::flatten(&guest.image, &folder.join("guest.bin"))?;
    let size = fs::metadata(folder.join("guest.bin")).map_err(explain)?.len();
    let cpu = options.cpu.as_deref().unwrap_or("cortex-a57");
    let machine = format!("virt,virtualization=on,gic-version={}", options.gic);
    let xsm = xsm(guests);
    let mut tree = base_tree(&machine, cpu, 1, files)?;
    let xen = format!(
        "console=dtuart dtuart=/pl011@9000000 bootscrub=0 noreboot loglvl=all \
         guest_loglvl=all/all {xsm} {}",
        options.xen_args
    );
    tree += &format!(
        "/ {{ chosen {{ xen,xen-bootargs = \"{xen}\"; #address-cells = <2>; #size-cells = <2>;\n"
    );
    let mut loaders = Vec::new();
    for (number, command_line) in (1_u64..).zip(&guest.command_lines) {
        let at = MODULE + (number - 1) * MODULE_DISTANCE;
        tree += &format!(
            "domU{number} {{ compatible = \"xen,domain\"; #address-cells = <2>; #size-cells = <2>; \
             memory = <0 0x10000>; cpus = <{}>; vpl011; module@{at:x} {{ compatible = \
             \"multiboot,kernel\", \"multiboot,module\"; reg = <0 {at:#x} 0 {size:#x}>; \
             bootargs = \"{command_line}\"; }}; }};\n",
            options.vcpus
        );
        loaders.push("-device".into());
        loaders.push(format!("loader,file=guest.bin,addr={at:#x},force-raw=on").into());
    }
    compile_tree(&(tree + "}; };\n"), folder)?;
    let mut arguments = words(&[
        &["-M", &machine, "-cpu", cpu, "-smp", "1", "-m", "1024", "-accel", "tcg"],
        // The counter counts instructions: every run is the same.
        &["-icount", "shift=0,sleep=off", "-display", "none", "-serial", "stdio"],
        &["-monitor", "none", "-nodefaults", "-no-reboot"],
        // The guest ends QEMU by a semihosting call, with a status.
        &["-semihosting-config", "enable=on,target=native", "-dtb", "xen.dtb", "-kernel", "xen"],
    ]);
    arguments.extend(loaders);
    Ok(Emulation { program: qemu(tools::QEMU_ARM)?, arguments, folder: folder.to_owned() })
}

/// Returns the option that lets two unprivileged domains share events and grants, if a guest has
/// two: by XSM's default policy on Arm, they may share only with dom0.
fn xsm(guests: &[Guest]) -> &'static str {
    let have_peers = guests.iter().any(|guest| guest.command_lines.len() > 1);
    if have_peers { "xsm=dummy" } else { "" }
}

/// Compiles a device tree's source to `xen.dtb`.
fn compile_tree(tree: &str, folder: &Path) -> Result<(), String> {
    fs::write(folder.join("xen.dts"), tree)
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut command = Command::new("dtc");
    command.args(["-q", "-I", "dts", "-O", "dtb", "-o", "xen.dtb", "xen.dts"]);
    output(command.current_dir(folder)).map(drop)
}

/// Returns the source of the device tree that QEMU makes for the machine with that many processors.
fn base_tree(machine: &str, cpu: &str, processors: u32, files: &Path) -> Result<String, String> {
    let name = machine.replace([',', '='], "-");
    let kept = files.join(format!("base-{name}-{cpu}-{processors}.dts"));
    if let Ok(tree) = fs::read_to_string(&kept) {
        return Ok(tree);
    }
    let blob = kept.with_extension("dtb");
    output(Command::new(qemu(tools::QEMU_ARM)?).args([
        "-M",
        &format!("{machine},dumpdtb={}", blob.display()),
        "-cpu",
        cpu,
        "-smp",
        &processors.to_string(),
        "-m",
        "1024",
        "-display",
        "none",
    ]))?;
    let tree = output(Command::new("dtc").args(["-q", "-I", "dtb", "-O", "dts"]).arg(&blob))?;
    fs::write(&kept, &tree).map_err(|error| format!("{}: {error}", kept.display()))?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::{Emulation, chosen_file};
    use std::path::Path;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let emulation = Emulation {
            program: "/usr/bin/qemu".into(),
            arguments: vec!["-cpu".into(), "EPYC,-smap".into(), "a b'c".into(), "".into()],
            folder: "/tmp/x".into(),
        };
        assert_eq!(
            emulation.to_string(),
            "cd /tmp/x && /usr/bin/qemu -cpu EPYC,-smap 'a b'\\''c' ''"
        );
    }

    #[test]
    fn a_variable_that_points_nowhere_is_named() {
        let error = chosen_file("XEN_GUEST_QEMU", Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.contains("XEN_GUEST_QEMU") && error.contains("/nowhere/at/all"), "{error}");
    }
}
