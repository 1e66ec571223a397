//! The memory map that the toolstack made.

use core::fmt;

use xen_pac::access::Handle;
use xen_pac::memory::{XenMemoryMap, command};
use xen_pac::start_info::HvmMemmapType;

use super::Memory;
use crate::hypercall::{Commands, Errno, Hypercall};

/// A range of the memory map, in the form of a PC's E820 call: 20 bytes without gaps.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, packed)]
pub struct MapEntry {
    address: u64,
    length: u64,
    kind: u32,
}

impl MapEntry {
    /// What a buffer is filled with before it is given to Xen.
    pub const EMPTY: Self = Self { address: 0, length: 0, kind: 0 };

    /// Returns a range of the map.
    #[must_use]
    pub const fn new(address: u64, length: u64, kind: HvmMemmapType) -> Self {
        Self { address, length, kind: kind.0 }
    }

    /// The first guest-physical address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.address
    }

    /// The length in bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.length
    }

    /// The address after the last; `None` where a range reaches the end of all addresses.
    #[must_use]
    pub const fn end(self) -> Option<u64> {
        self.address.checked_add(self.length)
    }

    /// What the range is.
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

/// The memory map was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapRefusedError {
    /// The buffer was filled to its end, so there may be more than it could take. What it holds is
    /// true.
    BufferTooShort,
    /// Xen's answer: `ENOSYS` where the toolstack made no map.
    Errno(Errno),
}

impl fmt::Display for MapRefusedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooShort => {
                f.write_str("the memory map fills the buffer and may have more entries")
            }
            Self::Errno(errno) => write!(f, "the memory map cannot be read: {errno}"),
        }
    }
}

impl core::error::Error for MapRefusedError {}

impl From<Errno> for MapRefusedError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl<H: Hypercall> Memory<H> {
    /// Reads the memory map that the toolstack made for this domain. x86 only. Upstream:
    /// `XENMEM_memory_map`.
    ///
    /// Xen cuts a map that is too long without a word, so the buffer needs room for one entry more
    /// than there are; 129 are always enough. The ranges come in no promised order. The map of a
    /// PVH dom0 is that of the machine, cut to what dom0 has.
    ///
    /// ```
    /// # use xen_hal::{hypercall::Hypercall, memory::{MapEntry, MapRefusedError, Memory}};
    /// # use xen_pac::start_info::HvmMemmapType;
    /// fn bytes_of_ram(xen: &impl Hypercall) -> Result<u64, MapRefusedError> {
    ///     let mut buffer = [MapEntry::EMPTY; 129];
    ///     let map = Memory::new(xen).memory_map(&mut buffer)?;
    ///     Ok(map.iter().filter(|range| range.kind() == HvmMemmapType::RAM).map(|range| range.length()).sum())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `ENOSYS` where there is no map, and [`MapRefusedError::BufferTooShort`].
    pub fn memory_map<'b>(
        &self,
        buffer: &'b mut [MapEntry],
    ) -> Result<&'b [MapEntry], MapRefusedError> {
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let mut argument = XenMemoryMap::new(room, Handle::from_ptr(buffer.as_mut_ptr().cast()));
        // SAFETY: the buffer has the bytes of so many entries, and any bytes are entries.
        unsafe { self.xen.call_unchecked(command::MemoryMap, &mut argument) }?;
        buffer
            .get(..argument.nr_entries as usize)
            .filter(|map| map.len() < room as usize)
            .ok_or(MapRefusedError::BufferTooShort)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::testing::{Script, errno};
    use std::format;

    const MAP: [MapEntry; 2] = [
        MapEntry { address: 0, length: 0xa_0000, kind: HvmMemmapType::RAM.0 },
        MapEntry { address: u64::MAX - 1, length: 3, kind: 77 },
    ];

    fn give(asked: &mut XenMemoryMap) -> isize {
        let count = MAP.len().min(asked.nr_entries as usize);
        // SAFETY: the call under test passed a buffer with so much room.
        unsafe { asked.buffer.as_ptr().cast::<MapEntry>().copy_from(MAP.as_ptr(), count) };
        asked.nr_entries = count as u32;
        0
    }

    #[test]
    fn entries_are_packed_as_the_firmwares() {
        assert_eq!((size_of::<MapEntry>(), align_of::<MapEntry>()), (20, 1));
    }

    #[test]
    fn a_map_is_read() {
        let xen = Script::new().argument(command::MemoryMap, give);
        let mut buffer = [MapEntry::EMPTY; 3];
        let map = Memory::new(&xen).memory_map(&mut buffer).unwrap();
        assert_eq!(map, MAP);
        assert_eq!(map[0].end(), Some(0xa_0000));
        assert_eq!(map[1].end(), None);
        assert_eq!(
            format!("{map:?}"),
            "[MapEntry(0x0 + 0xa0000: RAM), MapEntry(0xfffffffffffffffe + 0x3: 77)]"
        );
    }

    #[test]
    fn a_map_that_may_have_been_cut_is_an_error() {
        for room in 0..=2 {
            let xen = Script::new().argument(command::MemoryMap, give);
            let mut buffer = [MapEntry::EMPTY; 2];
            assert_eq!(
                Memory::new(&xen).memory_map(&mut buffer[..room]),
                Err(MapRefusedError::BufferTooShort)
            );
        }
    }

    #[test]
    fn a_domain_without_a_map_is_told_so() {
        let xen = Script::new().argument(command::MemoryMap, |_| errno(Errno::ENOSYS));
        assert_eq!(
            Memory::new(&xen).memory_map(&mut [MapEntry::EMPTY]),
            Err(MapRefusedError::Errno(Errno::ENOSYS))
        );
    }
}
