//! What the boot code hands to a program, and what Xen left for it in memory.

use core::ffi::CStr;
use core::ptr::{self, NonNull};

use xen_hal::hypercall::AnyBackend;
use xen_pac::start_info::{HvmStartInfo, XEN_HVM_START_MAGIC_VALUE};

/// What a program starts with.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// The way to the hypervisor that suits this processor.
    pub xen: AnyBackend,
    /// Where Xen put the start info.
    start_info: HvmStartInfo<'static>,
}

impl Boot {
    /// Takes over what Xen left at `start_info`, a physical address. `None` where there is no start
    /// info: somebody else than Xen entered.
    ///
    /// # Safety
    ///
    /// Memory is mapped to itself, and nothing has been changed that Xen left in it.
    pub(crate) unsafe fn new(xen: AnyBackend, start_info: usize) -> Option<Self> {
        let start_info = NonNull::new(ptr::with_exposed_provenance_mut(start_info))?;
        // SAFETY: Xen put it there, and does not touch it again.
        let start_info = unsafe { HvmStartInfo::from_ptr(start_info) };
        (start_info.magic().get() == XEN_HVM_START_MAGIC_VALUE).then_some(Self { xen, start_info })
    }

    /// The start info.
    #[must_use]
    pub const fn start_info(&self) -> HvmStartInfo<'static> {
        self.start_info
    }

    /// The guest's command line, without the name of its file; empty where there is none, or none
    /// that is text.
    #[must_use]
    pub fn command_line(&self) -> &'static str {
        let address = self.start_info.cmdline_paddr().get() as usize;
        if address == 0 {
            return "";
        }
        // SAFETY: Xen put a text with a zero byte at its end there, and nothing writes to it.
        let text = unsafe { CStr::from_ptr(ptr::with_exposed_provenance(address)) };
        text.to_str().unwrap_or_default()
    }
}
