//! Reads the memory map that the toolstack made.

use core::fmt;

use xen_pac::access::Handle;
use xen_pac::memory::{XenMemoryMap, command};
use xen_pac::start_info::HvmMemmapType;

use super::{Memory, MemoryError, exposed};
use crate::hypercall::{Commands, Hypercall};

/// A range of the memory map, as a PC's E820 call returns it: 20 bytes without gaps.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, packed)]
pub struct MapEntry {
    address: u64,
    length: u64,
    kind: u32,
}

impl MapEntry {
    /// Fills a buffer before Xen writes to it.
    pub const EMPTY: Self = Self { address: 0, length: 0, kind: 0 };

    /// A buffer length that is enough for every map. Xen stores at most 1024 entries, and an unused
    /// entry shows that the map was not truncated.
    pub const BUFFER_LENGTH: usize = 1025;

    /// Creates a range of the map.
    #[must_use]
    pub const fn new(address: u64, length: u64, kind: HvmMemmapType) -> Self {
        Self { address, length, kind: kind.0 }
    }

    /// Returns the first guest-physical address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.address
    }

    /// Returns the length in bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.length
    }

    /// Returns the address after the last byte; `None` if the range ends at 2^64.
    #[must_use]
    pub const fn end(self) -> Option<u64> {
        self.address.checked_add(self.length)
    }

    /// Returns the type of the range.
    #[must_use]
    pub const fn kind(self) -> HvmMemmapType {
        HvmMemmapType(self.kind)
    }
}

impl fmt::Debug for MapEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapEntry({:#x} + {:#x}: {})", self.address(), self.length(), self.kind())
    }
}

impl<H: Hypercall> Memory<H> {
    /// Reads the memory map that the toolstack made for this domain. x86 only. Upstream:
    /// `XENMEM_memory_map`.
    ///
    /// Xen silently truncates a map that is longer than the buffer, so the buffer needs room for
    /// one entry more than the map has: [`MapEntry::BUFFER_LENGTH`] is always enough. The map of an
    /// unprivileged domain has about ten entries. The map of a PVH dom0 is the machine's map,
    /// limited to dom0's RAM. The ranges are not sorted.
    ///
    /// ```
    /// use xen_hal::hypercall::Hypercall;
    /// use xen_hal::memory::{MapEntry, Memory, MemoryError};
    /// use xen_pac::start_info::HvmMemmapType;
    ///
    /// /// `buffer` should be a static: it has 20 KiB.
    /// fn bytes_of_ram(
    ///     xen: &impl Hypercall,
    ///     buffer: &mut [MapEntry; MapEntry::BUFFER_LENGTH],
    /// ) -> Result<u64, MemoryError> {
    ///     let map = Memory::new(xen).memory_map(buffer)?;
    ///     let ram = map.iter().filter(|range| range.kind() == HvmMemmapType::RAM);
    ///     Ok(ram.map(|range| range.length()).sum())
    /// }
    /// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
    /// #     let mut buffer = Box::new([MapEntry::EMPTY; MapEntry::BUFFER_LENGTH]);
    /// #     assert!(bytes_of_ram(&guest.xen(), &mut buffer).unwrap() > 0);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// `ENOSYS` if the toolstack made no map, and [`MemoryError::BufferTooShort`].
    pub fn memory_map<'b>(
        &self,
        buffer: &'b mut [MapEntry],
    ) -> Result<&'b [MapEntry], MemoryError> {
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let place = exposed(buffer).as_ptr().cast();
        let mut argument = XenMemoryMap::new(room, Handle::from_ptr(place));
        // SAFETY: the buffer has room for that many entries, and any bytes are a valid entry.
        unsafe { self.xen.call_unchecked(command::MemoryMap, &mut argument) }?;
        buffer
            .get(..argument.nr_entries as usize)
            .filter(|map| map.len() < room as usize)
            .ok_or(MemoryError::BufferTooShort)
    }
}
