//! Debian packages that are downloaded and unpacked, never installed: hypervisors of other releases
//! and architectures, and what a Linux dom0 needs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::jobs::Output;

/// A set of packages of one suite and architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packages {
    /// The name of the folder that they are unpacked into.
    pub folder: &'static str,
    suite: &'static str,
    arch: &'static str,
    names: &'static [&'static str],
    /// Packages that other sets have too.
    with: &'static [&'static str],
}

/// Xen 4.17 for Arm.
pub const XEN_4_17_ARM64: Packages = Packages {
    folder: "xen-4.17-arm64",
    suite: "bookworm",
    arch: "arm64",
    names: &["xen-hypervisor-4.17-arm64"],
    with: &[],
};
/// Xen 4.20 for x86.
pub const XEN_4_20_AMD64: Packages = Packages {
    folder: "xen-4.20-amd64",
    suite: "trixie",
    arch: "amd64",
    names: &["xen-hypervisor-4.20-amd64"],
    with: &[],
};
/// The kernel of a Linux dom0.
pub const LINUX: Packages = Packages {
    folder: "linux-amd64",
    suite: "bookworm",
    arch: "amd64",
    names: &["linux-image-amd64"],
    with: &[],
};
/// The kernel of a Linux dom0 on Arm.
pub const LINUX_ARM64: Packages = Packages {
    folder: "linux-arm64",
    suite: "bookworm",
    arch: "arm64",
    names: &["linux-image-arm64"],
    with: &[],
};
/// Xen 4.17's tools, with every library that they load.
pub const TOOLS_4_17: Packages = Packages {
    folder: "tools-4.17-amd64",
    suite: "bookworm",
    arch: "amd64",
    names: &["xen-utils-4.17", "libxenmisc4.17"],
    with: TOOLS,
};
/// Xen 4.20's tools, with every library that they load.
pub const TOOLS_4_20: Packages = Packages {
    folder: "tools-4.20-amd64",
    suite: "trixie",
    arch: "amd64",
    names: &["xen-utils-4.20", "libxenmisc4.20"],
    with: TOOLS,
};

/// Xen 4.17's tools for Arm, with every library that they load, and dom0's other programs.
pub const TOOLS_4_17_ARM64: Packages = Packages {
    folder: "tools-4.17-arm64",
    suite: "bookworm",
    arch: "arm64",
    names: &["xen-utils-4.17", "libxenmisc4.17", "libfdt1", "busybox-static"],
    with: TOOLS,
};

/// The dependencies of Xen's tools in every release: libraries, and xenstore's programs.
const TOOLS: &[&str] = &[
    "xenstore-utils",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxentoolcore1",
    "libxentoollog1",
    "libxenstore4",
    "libyajl2",
    "libc6",
    "libgcc-s1",
    "liblzma5",
    "zlib1g",
    "libbz2-1.0",
    "liblzo2-2",
    "libzstd1",
    "libuuid1",
    "libncurses6",
    "libtinfo6",
    "libnl-3-200",
    "libnl-route-3-200",
];

/// The description of Debian's archive that the machine uses.
const SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";
/// The name of the machine's own release.
const OS_RELEASE: &str = "/etc/os-release";

/// The time in seconds without data after which a download fails, if the caller has no limit.
const STALL_SECONDS: u64 = 60;

impl Packages {
    /// Returns whether the packages were unpacked below `folder`.
    #[must_use]
    pub fn are_unpacked(&self, folder: &Path) -> bool {
        let complete = folder.join(self.folder).join("complete");
        fs::read_to_string(complete).is_ok_and(|unpacked| unpacked == self.list())
    }

    fn list(&self) -> String {
        [self.names, self.with].concat().join("\n")
    }

    /// Downloads and unpacks the packages below `folder`, unless that was done before, and returns
    /// where they are unpacked.
    ///
    /// # Errors
    ///
    /// As for [`download`](Self::download).
    pub fn unpacked(&self, folder: &Path) -> Result<PathBuf, String> {
        if !self.are_unpacked(folder) {
            self.download(folder, STALL_SECONDS, &mut Output::Stream)?;
        }
        Ok(folder.join(self.folder).join("root"))
    }

    /// Downloads and unpacks the packages below `folder`. Fails if the archive sends nothing for
    /// `seconds`. Writes what it downloads to `out`.
    ///
    /// # Errors
    ///
    /// The step that failed, with apt's message.
    pub fn download(&self, folder: &Path, seconds: u64, out: &mut Output) -> Result<(), String> {
        let folder = folder.join(self.folder);
        let root = folder.join("root");
        out.line(format_args!("downloading the list of packages for {self}"));
        let explain = |error: std::io::Error| format!("{}: {error}", folder.display());
        // What an interrupted run left would be mixed with what is unpacked now.
        let _ = fs::remove_dir_all(&folder);
        for name in ["debs", "root", "state/lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(folder.join(name)).map_err(explain)?;
        }
        fs::write(folder.join("status"), "").map_err(explain)?;
        fs::write(folder.join("parts/debian.sources"), self.sources()?).map_err(explain)?;
        let apt = |arguments: &[&str]| self.apt(&folder, seconds, arguments);
        apt(&["update"])?;
        let mut names: Vec<String> =
            self.names.iter().chain(self.with).map(|name| (*name).to_owned()).collect();
        if [LINUX, LINUX_ARM64].contains(self) {
            // The package is empty and depends on the newest kernel's.
            names = vec![self.dependency(&folder)?];
        }
        let mut download = vec!["download"];
        download.extend(names.iter().map(String::as_str));
        let places = apt(&[&["--print-uris"], &download[..]].concat())?;
        let megabytes = megabytes(size(&places));
        out.line(format_args!("downloading {megabytes}, packages: {}", names.len()));
        apt(&download)?;
        for entry in fs::read_dir(folder.join("debs")).map_err(explain)? {
            let path = entry.map_err(explain)?.path();
            unpack(&path, &root)?;
        }
        for name in ["debs", "state", "cache"] {
            fs::remove_dir_all(folder.join(name)).map_err(explain)?;
        }
        fs::write(folder.join("complete"), self.list()).map_err(explain)
    }

    /// Returns the machine's description of Debian's archive, for the packages' release: security
    /// updates included.
    fn sources(&self) -> Result<String, String> {
        let read =
            |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let release = read(OS_RELEASE)?;
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .ok_or_else(|| format!("{OS_RELEASE}: expected VERSION_CODENAME, found none"))?;
        Ok(read(SOURCES)?.replace(codename, self.suite))
    }

    /// Returns a command of apt that keeps its state below `folder`.
    fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder.join("debs")).arg("-qq");
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        for option in [
            format!("APT::Architecture={}", self.arch),
            format!("APT::Architectures={}", self.arch),
            "APT::Sandbox::User=root".to_owned(),
            option("Dir::State", &folder.join("state")),
            option("Dir::State::status", &folder.join("status")),
            option("Dir::Cache", &folder.join("cache")),
            option("Dir::Etc::sourcelist", Path::new("/dev/null")),
            option("Dir::Etc::sourceparts", &folder.join("parts")),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// Calls apt-get, which gives up after `seconds` without data.
    fn apt(&self, folder: &Path, seconds: u64, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command("apt-get", folder);
        for protocol in ["http", "https"] {
            command.args(["-o", &format!("Acquire::{protocol}::Timeout={seconds}")]);
        }
        output(command.args(arguments))
    }

    /// Returns the package that the first of the set depends on first.
    fn dependency(&self, folder: &Path) -> Result<String, String> {
        let text = output(self.command("apt-cache", folder).args(["depends", self.names[0]]))?;
        let found = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("{}: expected a dependency, found none", self.names[0]))
    }
}

impl fmt::Display for Packages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, suite, arch, .. } = self;
        write!(f, "{folder} (for {arch}, from Debian {suite})")
    }
}

/// Returns the sum of the sizes that `apt-get --print-uris` prints: the third word of each line.
fn size(places: &str) -> u64 {
    places.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()).sum()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Unpacks a package. From a kernel's package, takes only the kernel and the modules for Xen.
fn unpack(package: &Path, root: &Path) -> Result<(), String> {
    let is_kernel =
        package.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linux-image"));
    if !is_kernel {
        return output(Command::new("dpkg-deb").arg("-x").args([package, root])).map(drop);
    }
    let mut tar = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run dpkg-deb: {error}"))?;
    let stream = tar.stdout.take().ok_or("dpkg-deb has no output")?;
    output(
        Command::new("tar")
            .args(["-x", "--wildcards", "-C"])
            .arg(root)
            .args([
                "./boot/vmlinuz-*",
                "*/drivers/xen/*",
                "*/drivers/block/*",
                "*/drivers/net/xen*",
            ])
            .stdin(stream),
    )?;
    tar.wait().map_err(|error| format!("dpkg-deb: {error}"))?;
    Ok(())
}

/// Runs a command and returns what it printed.
///
/// # Errors
///
/// The last line of the command's error stream.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let answer = command.output().map_err(|error| format!("cannot run {name}: {error}"))?;
    if answer.status.success() {
        return Ok(String::from_utf8_lossy(&answer.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
    Err(format!("{name}: {}", words.lines().last().unwrap_or("it failed without a message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_added() {
        let places = "'http://deb.debian.org/a_1_amd64.deb' a_1_amd64.deb 1500000 SHA256:00\n\
            'http://deb.debian.org/b_2_amd64.deb' b_2_amd64.deb 250000 SHA256:11\nanother line\n";
        assert_eq!(megabytes(size(places)), "1.8 MB");
    }
}
