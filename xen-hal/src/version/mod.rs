//! Xen's release, build and features (hypercall `xen_version`; upstream:
//! `xen/include/public/version.h`).
//!
//! ```
//! use xen_hal::hypercall::{Errno, Hypercall};
//! use xen_hal::pac::{features::Feature, release::Release};
//! use xen_hal::version::Version;
//!
//! fn may_use_a_vector(xen: &impl Hypercall) -> Result<bool, Errno> {
//!     let version = Version::new(xen);
//!     Ok(version.release()? >= Release::new(4, 4)
//!         && version.features()?.has(Feature::HVM_CALLBACK_VECTOR))
//! }
//! # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
//! #     assert_eq!(may_use_a_vector(&guest.xen()), Ok(true));
//! # });
//! ```
//!
//! # What not every release has
//!
//! This crate supports Xen from 4.4. The commands of these operations need a later release:
//!
//! | since | operation |
//! |---|---|
//! | 4.6 | [`Hvm::set_upcall_vector`](crate::hvm::Hvm) |
//! | 4.7 | [`Sched::pin_override`](crate::sched::Sched::pin_override), [`Version::build_id`], `Vcpu::initialise` |
//! | 4.8 | [`UpdateFlag::request`](crate::vcpu::UpdateFlag::request) |
//! | 4.18 | [`Vcpu::register_runstate_physical`](crate::vcpu::Vcpu::register_runstate_physical), `Vcpu::register_time_physical` |
//! | 4.20 | [`Version::long_extraversion`], [`Version::long_capabilities`], [`Version::long_changeset`], [`Version::long_command_line`] |
//!
//! So does access to a [parameter](crate::hvm::parameter) for which
//! [`HvmParam::since`](xen_pac::hvm::HvmParam::since) returns a release. If the running Xen lacks
//! an operation, its error names the release that has it: a [`CommandError::Release`], which
//! [`VcpuError::Unsupported`](crate::vcpu::VcpuError::Unsupported) and
//! [`ParameterError::Unsupported`](crate::hvm::ParameterError::Unsupported) hold. The operation
//! asks for the release only after Xen has refused it, so success costs no hypercall more, and
//! nothing is cached. To choose another way first, call [`Version::require`]. Other new values of
//! an argument, such as a virtual interrupt or a map space, fail with Xen's `EINVAL` in older
//! releases.

mod types;

use xen_pac::base::XenUlong;
use xen_pac::command::{Command, SafeCommand, shape};
use xen_pac::release::Release;
use xen_pac::version::{XenCompileInfo, XenFeatureInfo, XenPlatformParameters, command};

use crate::hypercall::{Commands, Errno, Hypercall, check};

pub use types::{Features, Text};

/// Reads information about the hypervisor, by [`Version`](command::Version) and the other commands.
/// Xen withholds some of it from unprivileged guests.
#[derive(Clone, Copy, Debug)]
pub struct Version<H> {
    xen: H,
}

/// Describes how the hypervisor was compiled, from the command
/// [`CompileInfo`](command::CompileInfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileInfo {
    /// The compiler's name and version.
    pub compiler: Text<64>,
    /// The user who compiled it.
    pub by: Text<16>,
    /// The DNS domain of the build machine.
    pub domain: Text<32>,
    /// The date, in the builder's format.
    pub date: Text<32>,
}

/// The error of a command that only some releases or architectures have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Only later releases have it.
    #[error("{name} needs Xen {since}; this is {running}")]
    Release {
        /// The command's name in C.
        name: &'static str,
        /// The first release that has it.
        since: Release,
        /// The running release.
        running: Release,
        /// Xen's error; `None` if Xen was not asked.
        errno: Option<Errno>,
    },
    /// Only other architectures have it.
    #[error("{name} does not exist on this architecture")]
    Architecture {
        /// The command's name in C.
        name: &'static str,
        /// Xen's error; `None` if Xen was not asked.
        errno: Option<Errno>,
    },
    /// Xen refused a hypercall.
    #[error("Xen refused {name}: {errno}")]
    Refused {
        /// The command's name in C.
        name: &'static str,
        /// Xen's reason.
        errno: Errno,
    },
}

impl CommandError {
    /// Returns Xen's error; `None` if [`Version::require`] found that Xen lacks the command, which
    /// was not issued.
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Release { errno, .. } | Self::Architecture { errno, .. } => errno,
            Self::Refused { errno, .. } => Some(errno),
        }
    }
}

impl<H: Hypercall> Version<H> {
    /// Creates a handle that makes its hypercalls through `xen`.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Returns the release, such as 4.17.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn release(&self) -> Result<Release, Errno> {
        self.xen.call(command::Version, ()).map(|version| Release::from_version(version as u32))
    }

    /// Checks that the running release and this architecture have a command, before it is issued.
    /// Returns the running release.
    ///
    /// ```
    /// use xen_hal::hypercall::Hypercall;
    /// use xen_hal::version::{CommandError, Version};
    /// use xen_pac::vcpu::command::RegisterRunstatePhysArea;
    ///
    /// /// Chooses the form of the areas before the first one is registered.
    /// fn by_physical_address(xen: &impl Hypercall) -> Result<bool, CommandError> {
    ///     match Version::new(xen).require(RegisterRunstatePhysArea) {
    ///         Ok(_) => Ok(true),
    ///         Err(CommandError::Release { .. } | CommandError::Architecture { .. }) => Ok(false),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
    /// #     assert_eq!(by_physical_address(&guest.xen()), Ok(false));
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// [`CommandError::Release`] with the first release that has the command;
    /// [`CommandError::Architecture`]; [`CommandError::Refused`] if Xen does not return its
    /// release.
    pub fn require<C: Command>(&self, _: C) -> Result<Release, CommandError> {
        let (name, since, errno) = (C::NAME, C::HONOURED_SINCE, None);
        let running = self.release().map_err(|errno| CommandError::Refused {
            name: <command::Version as Command>::NAME,
            errno,
        })?;
        if !C::HONOURED {
            Err(CommandError::Architecture { name, errno })
        } else if running < since {
            Err(CommandError::Release { name, since, running, errno })
        } else {
            Ok(running)
        }
    }

    /// Returns the error of a command that Xen refused. If this release or this architecture lacks
    /// the command, the error is [`CommandError::Release`] or [`CommandError::Architecture`]. The
    /// operations of this crate that need a later release than 4.4 return it:
    ///
    /// ```
    /// use xen_hal::Xen;
    /// use xen_hal::hypercall::Hypercall;
    /// use xen_hal::version::CommandError;
    ///
    /// fn extraversion(xen: impl Hypercall + Copy) -> Result<[u8; 64], CommandError> {
    ///     Ok(Xen::new(xen).version().long_extraversion()?.0)
    /// }
    /// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
    /// let refused = extraversion(guest.xen()).unwrap_err();
    /// assert_eq!(refused.to_string(), "XENVER_extraversion2 needs Xen 4.20; this is 4.17");
    /// # });
    /// ```
    ///
    /// Only a refusal costs a second hypercall, and a command that a distribution has ported back
    /// works. Xen answers a command that it lacks with `ENOSYS`, `EINVAL` or `EOPNOTSUPP`; any
    /// other error is Xen's reason.
    #[cold]
    pub fn explain<C: Command>(&self, _: C, errno: Errno) -> CommandError {
        let name = C::NAME;
        if !C::HONOURED && is_unknown(errno) {
            return CommandError::Architecture { name, errno: Some(errno) };
        }
        self.refused(name, Some(C::HONOURED_SINCE), errno)
    }

    /// Returns the error of what Xen has since a release, and refused.
    #[cold]
    pub(crate) fn refused(
        &self,
        name: &'static str,
        since: Option<Release>,
        errno: Errno,
    ) -> CommandError {
        let since = since.filter(|_| is_unknown(errno));
        let running = since.and_then(|_| self.release().ok());
        match since.zip(running).filter(|(since, running)| running < since) {
            Some((since, running)) => {
                CommandError::Release { name, since, running, errno: Some(errno) }
            }
            None => CommandError::Refused { name, errno },
        }
    }

    /// Returns the part of the release's name after major and minor: `.7` of 4.17.7.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn extraversion(&self) -> Result<Text<16>, Errno> {
        self.text(command::Extraversion, [0; _])
    }

    /// Returns how the hypervisor was compiled. For a guest without permission, some texts are
    /// `<denied>`.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn compile_info(&self) -> Result<CompileInfo, Errno> {
        let mut info = XenCompileInfo::ZEROED;
        self.xen.call(command::CompileInfo, &mut info)?;
        Ok(CompileInfo {
            compiler: Text::new(info.compiler),
            by: Text::new(info.compile_by),
            domain: Text::new(info.compile_domain),
            date: Text::new(info.compile_date),
        })
    }

    /// Returns the kinds of guests that the hypervisor can run, a list such as
    /// `xen-3.0-x86_64 hvm-3.0-x86_64`.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn capabilities(&self) -> Result<Text<1024>, Errno> {
        self.text(command::Capabilities, [0; _])
    }

    /// Returns the revision of the source.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn changeset(&self) -> Result<Text<64>, Errno> {
        self.text(command::Changeset, [0; _])
    }

    /// Returns the hypervisor's command line; `<denied>` in an unprivileged domain.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn command_line(&self) -> Result<Text<1024>, Errno> {
        self.text(command::Commandline, [0; _])
    }

    /// Returns the first virtual address that the hypervisor reserves in PV guests.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn virtual_start(&self) -> Result<XenUlong, Errno> {
        let mut parameters = XenPlatformParameters::ZEROED;
        self.xen.call(command::PlatformParameters, &mut parameters)?;
        Ok(parameters.virt_start)
    }

    /// Returns the feature flags of this domain.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn features(&self) -> Result<Features, Errno> {
        let mut words = [0; types::WORDS];
        for (index, word) in (0..).zip(&mut words) {
            let mut info = XenFeatureInfo::new(index);
            self.xen.call(command::GetFeatures, &mut info)?;
            *word = info.submap;
        }
        Ok(Features::from_words(words))
    }

    /// Returns the size of a page of the hypervisor in bytes.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn page_size(&self) -> Result<usize, Errno> {
        self.xen.call(command::Pagesize, ())
    }

    /// Returns this domain's UUID, which the toolstack chose; zero for dom0.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn guest_handle(&self) -> Result<[u8; 16], Errno> {
        let mut handle = [0; 16];
        self.xen.call(command::GuestHandle, &mut handle)?;
        Ok(handle)
    }

    /// Returns the hypervisor's raw build id in a buffer of `N` bytes, and its length, usually 20.
    ///
    /// # Errors
    ///
    /// - `EPERM` in an unprivileged domain.
    /// - `ENODATA` if the hypervisor was linked without one.
    /// - `ENOBUFS` if `N` is too small; before Xen 4.20, `EINVAL` if it is 0.
    /// - [`CommandError::Release`] before Xen 4.7.
    pub fn build_id<const N: usize>(&self) -> Result<([u8; N], usize), CommandError> {
        self.long(command::BuildId)
    }

    /// Returns the whole [`extraversion`](Self::extraversion), which that method truncates, in a
    /// buffer of `N` bytes, and its length.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` if `N` is too small, [`CommandError::Release`] before Xen 4.20.
    pub fn long_extraversion<const N: usize>(&self) -> Result<([u8; N], usize), CommandError> {
        self.long(command::Extraversion2)
    }

    /// Returns the whole [`capabilities`](Self::capabilities), which that method truncates, in a
    /// buffer of `N` bytes, and their length.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` if `N` is too small, [`CommandError::Release`] before Xen 4.20.
    pub fn long_capabilities<const N: usize>(&self) -> Result<([u8; N], usize), CommandError> {
        self.long(command::Capabilities2)
    }

    /// Returns the whole [`changeset`](Self::changeset), which that method truncates, in a buffer
    /// of `N` bytes, and its length.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` if `N` is too small, [`CommandError::Release`] before Xen 4.20.
    pub fn long_changeset<const N: usize>(&self) -> Result<([u8; N], usize), CommandError> {
        self.long(command::Changeset2)
    }

    /// Returns the whole [`command_line`](Self::command_line), which that method truncates, in a
    /// buffer of `N` bytes, and its length.
    ///
    /// # Errors
    ///
    /// `EPERM` in an unprivileged domain, `ENOBUFS` if `N` is too small, [`CommandError::Release`]
    /// before Xen 4.20.
    pub fn long_command_line<const N: usize>(&self) -> Result<([u8; N], usize), CommandError> {
        self.long(command::Commandline2)
    }

    fn text<C, const N: usize>(&self, command: C, mut buffer: [u8; N]) -> Result<Text<N>, Errno>
    where
        C: SafeCommand + Command<Shape = shape::Argument, Argument = [u8; N]>,
    {
        self.xen.call(command, &mut buffer)?;
        Ok(Text::new(buffer))
    }

    /// Returns the bytes, and the number that Xen wrote.
    fn long<C: Command, const N: usize>(
        &self,
        command: C,
    ) -> Result<([u8; N], usize), CommandError> {
        // A buffer of more than 2^32 - 1 bytes is passed as one of that length.
        let mut buffer = Buffer { len: u32::try_from(N).unwrap_or(u32::MAX), bytes: [0; N] };
        // SAFETY: the commands read the length and write at most that many bytes after it, which
        // the buffer has.
        let answer = unsafe {
            self.xen.call2(C::HYPERCALL, C::NUMBER as usize, (&raw mut buffer).expose_provenance())
        };
        match check(answer) {
            Ok(length) => Ok((buffer.bytes, length.min(N))),
            Err(errno) => Err(self.explain(command, errno)),
        }
    }
}

/// Returns whether this is an error that Xen returns for an unknown command.
fn is_unknown(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EINVAL | Errno::EOPNOTSUPP)
}

/// The length of a buffer and the buffer, as `xen_build_id` and `xen_varbuf`.
#[repr(C)]
struct Buffer<const N: usize> {
    len: u32,
    bytes: [u8; N],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, errno};

    #[test]
    fn a_command_is_refused_before_the_release_that_has_it() {
        use xen_pac::{hvm, sched, vcpu};

        const ENOSYS: Errno = Errno::ENOSYS;

        let on = |major: isize, minor: isize| {
            Version::new(Fake(move |_, _: &[usize]| (major << 16) | minor))
        };
        let (since, running) = (Release::new(4, 18), Release::new(4, 17));
        let name = "VCPUOP_register_runstate_phys_area";
        let area = vcpu::command::RegisterRunstatePhysArea;
        if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
            let refused = |errno| CommandError::Release { name, since, running, errno };
            assert_eq!(on(4, 17).require(area), Err(refused(None)));
            assert_eq!(refused(None).errno(), None);
            assert_eq!(on(4, 17).explain(area, ENOSYS), refused(Some(ENOSYS)));
            assert_eq!(on(4, 18).require(area), Ok(since));
        } else {
            let refused = |errno| CommandError::Architecture { name, errno };
            assert_eq!(on(4, 18).require(area), Err(refused(None)));
            assert_eq!(refused(None).errno(), None);
            assert_eq!(on(4, 18).explain(area, ENOSYS), refused(Some(ENOSYS)));
            let name = "HVMOP_get_time";
            let refused = Err(CommandError::Architecture { name, errno: None });
            assert_eq!(on(4, 18).require(hvm::command::GetTime), refused);
        }
        assert_eq!(on(4, 4).require(sched::command::Poll), Ok(Release::new(4, 4)));
        let failing = Version::new(Fake(|_, _: &[usize]| errno(Errno::EPERM)));
        let refused = CommandError::Refused { name: "XENVER_version", errno: Errno::EPERM };
        assert_eq!(failing.require(sched::command::Poll), Err(refused));
    }

    #[test]
    fn a_refusal_names_the_release_that_has_the_command() {
        let on = |minor: isize| Version::new(Fake(move |_, _: &[usize]| (4 << 16) | minor));
        let (since, running) = (Release::new(4, 20), Release::new(4, 19));
        let name = "XENVER_changeset2";
        for errno in [Errno::ENOSYS, Errno::EINVAL, Errno::EOPNOTSUPP] {
            let refused = CommandError::Release { name, since, running, errno: Some(errno) };
            assert_eq!(on(19).explain(command::Changeset2, errno), refused);
            assert_eq!(refused.errno(), Some(errno));
            // This release has it.
            let refused = CommandError::Refused { name, errno };
            assert_eq!(on(20).explain(command::Changeset2, errno), refused);
        }
        // Xen would not say this of a command that it lacks.
        let refused = CommandError::Refused { name, errno: Errno::ENOBUFS };
        assert_eq!(on(19).explain(command::Changeset2, Errno::ENOBUFS), refused);
        // Xen does not return its release.
        let failing = Version::new(Fake(|_, _: &[usize]| errno(Errno::EPERM)));
        let refused = CommandError::Refused { name, errno: Errno::ENOSYS };
        assert_eq!(failing.explain(command::Changeset2, Errno::ENOSYS), refused);
    }

    #[test]
    fn a_length_beyond_the_buffer_is_cut_to_it() {
        for (answer, length) in [(3, Ok(3)), (4, Ok(4)), (5, Ok(4)), (isize::MAX, Ok(4))] {
            let xen = Fake(move |_, _: &[usize]| answer);
            assert_eq!(Version::new(&xen).build_id::<4>().map(|(_, length)| length), length);
        }
        let xen = Fake(|_, _: &[usize]| errno(Errno::ENOBUFS));
        assert_eq!(
            Version::new(&xen).build_id::<4>().map_err(CommandError::errno),
            Err(Some(Errno::ENOBUFS))
        );
    }
}
