//! The argument of the main function, and mapping the shared page.

use core::fmt;

use xen_hal::hypercall::{AnyBackend, Hypercall};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::IdentityMap;
use xen_pac::shared_info::SharedInfo;

use crate::{Failure, Page, arch};

/// What the main function starts with.
#[derive(Clone, Copy)]
pub struct Boot {
    /// The hypercall backend of this processor.
    pub xen: AnyBackend,
    pub(crate) info: arch::BootInfo,
}

/// A range of guest-physical memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryRange {
    /// The first address.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
    /// Whether the range is RAM.
    pub is_ram: bool,
}

impl Boot {
    /// Returns the guest's command line; empty if there is none or if it is not UTF-8.
    #[must_use]
    pub fn command_line(&self) -> &'static str {
        self.info.command_line()
    }

    /// Calls `each` with the ranges of the guest's memory: on x86, those of Xen's memory map; on
    /// aarch64, the RAM in the device tree.
    ///
    /// # Errors
    ///
    /// Xen's error.
    pub fn each_memory_range(&self, mut each: impl FnMut(MemoryRange)) -> Result<(), Failure> {
        self.info.each_memory_range(&self.xen, |start, length, is_ram| {
            each(MemoryRange { start, length, is_ram });
        })
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Boot {
    /// Returns the start info that Xen stored in memory.
    #[must_use]
    pub const fn start_info(&self) -> xen_hal::start_info::StartInfo<arch::ReadMemory> {
        self.info.start_info
    }
}

#[cfg(target_arch = "aarch64")]
impl Boot {
    /// Returns the device tree that Xen stored in memory.
    #[must_use]
    pub const fn device_tree(&self) -> dtoolkit::fdt::Fdt<'static> {
        self.info.device_tree
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boot").field("xen", &self.xen).finish_non_exhaustive()
    }
}

/// Sets how Xen delivers upcalls, and maps the shared page at `page`.
///
/// Use each `page` once, and then only through the returned handle.
///
/// # Errors
///
/// Xen's refusals.
pub fn map_shared_info(
    xen: &impl Hypercall,
    page: &'static Page,
) -> Result<SharedInfo<'static>, Failure> {
    let latch = match arch::interrupts::callback_via() {
        Some(via) => xen_hal::hvm::Hvm::new(xen)
            .set_callback_via(via)
            .map_err(|_| Failure::new("setting the callback", "Xen refuses the vector"))?,
        None => WidthLatch::new(xen)
            .map_err(|_| Failure::new("latching the width", "Xen refuses the parameter"))?,
    };
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: a `Page` returns no reference, and the identity map never changes.
    unsafe { latch.map_shared_info(&space, page.as_ptr()) }
        .map_err(|_| Failure::new("mapping shared_info", "Xen refuses the page"))
}
