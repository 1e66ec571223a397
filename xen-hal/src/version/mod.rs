//! Which Xen this is, who built it, and what it offers (hypercall `xen_version`; upstream:
//! `xen/include/public/version.h`).
//!
//! ```
//! use xen_hal::hypercall::{Errno, Hypercall};
//! use xen_hal::version::Version;
//! use xen_pac::features::Feature;
//! use xen_pac::release::Release;
//!
//! fn may_use_a_vector(xen: &impl Hypercall) -> Result<bool, Errno> {
//!     let version = Version::new(xen);
//!     Ok(version.release()? >= Release::new(4, 4) && version.features()?.has(Feature::HVM_CALLBACK_VECTOR))
//! }
//! ```

mod features;
mod long;
mod text;

use xen_pac::base::XenUlong;
use xen_pac::command::{Command, SafeCommand, shape};
use xen_pac::release::Release;
use xen_pac::version::{XenCompileInfo, XenFeatureInfo, XenPlatformParameters, command};

use crate::hypercall::{Commands, Errno, Hypercall};
pub use features::Features;
pub use text::Text;

/// Questions about the hypervisor. Every guest may ask them; some answers are withheld from
/// unprivileged ones.
#[derive(Clone, Copy, Debug)]
pub struct Version<H> {
    xen: H,
}

/// Who compiled the hypervisor, with what, where and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileInfo {
    /// The compiler's name and version.
    pub compiler: Text<64>,
    /// The user.
    pub by: Text<16>,
    /// The domain of the machine.
    pub domain: Text<32>,
    /// The date, as the builder chose to write it.
    pub date: Text<32>,
}

impl<H: Hypercall> Version<H> {
    /// Questions through a backend.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// The release, such as 4.17.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn release(&self) -> Result<Release, Errno> {
        self.xen.call(command::Version, ()).map(|version| Release::from_version(version as u32))
    }

    /// What follows major and minor in the release's name: `.7` of 4.17.7.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn extraversion(&self) -> Result<Text<16>, Errno> {
        self.text(command::Extraversion, [0; _])
    }

    /// Who compiled the hypervisor. To a guest that may not know, Xen answers with texts such as
    /// `<denied>`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
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

    /// Which kinds of guest the hypervisor can run, a list such as `xen-3.0-x86_64 hvm-3.0-x86_64`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn capabilities(&self) -> Result<Text<1024>, Errno> {
        self.text(command::Capabilities, [0; _])
    }

    /// The revision of the source, as its builder recorded it.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn changeset(&self) -> Result<Text<64>, Errno> {
        self.text(command::Changeset, [0; _])
    }

    /// The hypervisor's command line; `<denied>` in a domain that is not privileged.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn command_line(&self) -> Result<Text<1024>, Errno> {
        self.text(command::Commandline, [0; _])
    }

    /// Where the hypervisor's own part of the address space begins, which concerns PV guests only.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn virtual_start(&self) -> Result<XenUlong, Errno> {
        let mut parameters = XenPlatformParameters::ZEROED;
        self.xen.call(command::PlatformParameters, &mut parameters)?;
        Ok(parameters.virt_start)
    }

    /// The feature flags of this domain.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn features(&self) -> Result<Features, Errno> {
        let mut words = [0; features::WORDS];
        for (index, word) in (0..).zip(&mut words) {
            let mut info = XenFeatureInfo::new(index);
            self.xen.call(command::GetFeatures, &mut info)?;
            *word = info.submap;
        }
        Ok(Features::from_words(words))
    }

    /// Bytes of a page of the hypervisor's.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn page_size(&self) -> Result<usize, Errno> {
        self.xen.call(command::Pagesize, ())
    }

    /// This domain's UUID, which the toolstack chose; zero for dom0.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn guest_handle(&self) -> Result<[u8; 16], Errno> {
        let mut handle = [0; 16];
        self.xen.call(command::GuestHandle, &mut handle)?;
        Ok(handle)
    }

    fn text<C, const N: usize>(&self, command: C, mut buffer: [u8; N]) -> Result<Text<N>, Errno>
    where
        C: SafeCommand + Command<Shape = shape::Argument, Argument = [u8; N]>,
    {
        self.xen.call(command, &mut buffer)?;
        Ok(Text::new(buffer))
    }
}
