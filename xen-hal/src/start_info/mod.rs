//! Reads what a PVH guest finds in memory at its start: modules, command line, memory map, ACPI
//! tables (upstream: `xen/include/public/arch-x86/hvm/start_info.h`).
//!
//! The entry point gets the address of the start info in `ebx`. The start info holds the addresses
//! of everything else. The caller supplies a function from a guest-physical range to its bytes,
//! which checks every address and length before use.
//!
//! ```
//! use xen_hal::start_info::{StartInfo, StartInfoError, identity};
//! use xen_pac::start_info::HvmMemmapType;
//!
//! /// `start_info` is the value of `ebx`. Memory below `limit` is mapped to itself.
//! fn boot(start_info: u64, limit: u64) -> Result<(), StartInfoError> {
//!     // SAFETY: the guest maps that memory to itself, and does not overwrite Xen's data there.
//!     let memory = unsafe { identity(limit) };
//!     let info = StartInfo::read(start_info, memory)?;
//!
//!     println!("command line: {:?}", info.command_line()?);
//!     for module in info.modules()? {
//!         println!("a module of {} bytes", module.data()?.len());
//!     }
//!     // Version 0 has no memory map: `Memory::memory_map` gets it from Xen.
//!     for range in info.memory_map()?.into_iter().flatten() {
//!         if range.kind() == HvmMemmapType::RAM {
//!             println!("{} bytes of RAM at {:#x}", range.length(), range.address());
//!         }
//!     }
//!     Ok(())
//! }
//! # // Version 1, without a command line and modules, and with a map of one range.
//! # let map: &'static [u64; 3] = Box::leak(Box::new([0, 0xa_0000, 1]));
//! # let magic = u64::from(xen_pac::start_info::XEN_HVM_START_MAGIC_VALUE);
//! # let head = [1 << 32 | magic, 0, 0, 0, 0, map.as_ptr().expose_provenance() as u64, 1];
//! # let head: &'static [u64; 7] = Box::leak(Box::new(head));
//! # boot(head.as_ptr().expose_provenance() as u64, u64::MAX).unwrap();
//! ```
//!
//! The crate `pvh` reads the same structure for any VMM, but trusts every address and length in it,
//! and searches for the end of the command line without a limit. Here, a truncated or damaged start
//! info is an error.

use core::ffi::CStr;
use core::fmt;
use core::mem::offset_of;
use core::ptr;
use core::slice;

use tock_registers::LocalRegisterCopy;
use xen_pac::start_info::{HvmMemmapType, XEN_HVM_START_MAGIC_VALUE, raw, start_flags};

use crate::memory::MapEntry;
use crate::platform::PAGE_SIZE;

#[cfg(test)]
mod tests;

/// The maximum length of a command line in bytes, without its final zero byte.
pub const COMMAND_LINE_MAX: usize = 16 * PAGE_SIZE;

/// The size of the fields that every version has.
const VERSION_0_SIZE: usize = offset_of!(raw::HvmStartInfo, memmap_paddr);

/// The flags that describe the domain: see [`start_flags`].
pub type StartFlags = LocalRegisterCopy<u32, start_flags::Register>;

/// The start info is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartInfoError {
    /// The magic number is not at the address: the loader was probably not a PVH loader. Holds the
    /// number found instead.
    #[error("expected the start info's magic {XEN_HVM_START_MAGIC_VALUE:#x}, found {0:#x}")]
    BadMagic(u32),
    /// The guest cannot read `length` bytes at `address`.
    #[error("the start info names {length} bytes at {address:#x}, which are unreadable")]
    Unreadable {
        /// The guest-physical address.
        address: u64,
        /// The number of bytes expected there.
        length: u64,
    },
    /// The command line at this address is longer than [`COMMAND_LINE_MAX`] bytes.
    #[error("the command line at {0:#x} has no end within {COMMAND_LINE_MAX} bytes")]
    UnterminatedCommandLine(u64),
}

/// Returns the function that [`StartInfo::read`] takes, for a guest that maps guest-physical memory
/// below `limit` to itself.
///
/// # Safety
///
/// For all of `'a`, memory below `limit` must be mapped to itself and readable, and nothing may
/// write to the start info or to what it refers to.
pub unsafe fn identity<'a>(limit: u64) -> impl Fn(u64, usize) -> Option<&'a [u8]> + Copy {
    move |address, length| {
        let end = address.checked_add(length.try_into().ok()?)?;
        let first = usize::try_from(address).ok()?;
        if address == 0 || end > limit || isize::try_from(length).is_err() {
            return None;
        }
        // SAFETY: the range is below `limit` and does not start at 0. The caller of `identity`
        // guarantees that such memory is readable and is not written.
        Some(unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(first), length) })
    }
}

/// The start info, with the function that accesses guest-physical memory.
#[derive(Clone, Copy)]
pub struct StartInfo<M> {
    memory: M,
    fixed: Fields,
    memory_map: Table,
}

/// The fields of [`raw::HvmStartInfo`], without those of the memory map.
#[derive(Clone, Copy, Debug)]
struct Fields {
    version: u32,
    flags: u32,
    modules: Table,
    command_line: u64,
    rsdp: u64,
}

/// An array in guest-physical memory.
#[derive(Clone, Copy, Debug)]
struct Table {
    address: u64,
    count: u32,
}

impl<'a, M: Fn(u64, usize) -> Option<&'a [u8]> + Copy> StartInfo<M> {
    /// Reads the start info at a guest-physical `address`.
    ///
    /// `memory` returns `length` bytes that start at an address, or `None` if the guest cannot read
    /// all of them.
    ///
    /// # Errors
    ///
    /// [`StartInfoError::BadMagic`], and [`StartInfoError::Unreadable`].
    pub fn read(address: u64, memory: M) -> Result<Self, StartInfoError> {
        let fixed = bytes(memory, address, VERSION_0_SIZE)?;
        let magic = u32_at(fixed, offset_of!(raw::HvmStartInfo, magic));
        if magic != XEN_HVM_START_MAGIC_VALUE {
            return Err(StartInfoError::BadMagic(magic));
        }
        let version = u32_at(fixed, offset_of!(raw::HvmStartInfo, version));
        let memory_map = if version == 0 {
            Table { address: 0, count: 0 }
        } else {
            let whole = bytes(memory, address, size_of::<raw::HvmStartInfo>())?;
            Table {
                address: u64_at(whole, offset_of!(raw::HvmStartInfo, memmap_paddr)),
                count: u32_at(whole, offset_of!(raw::HvmStartInfo, memmap_entries)),
            }
        };
        let fixed = Fields {
            version,
            flags: u32_at(fixed, offset_of!(raw::HvmStartInfo, flags)),
            modules: Table {
                address: u64_at(fixed, offset_of!(raw::HvmStartInfo, modlist_paddr)),
                count: u32_at(fixed, offset_of!(raw::HvmStartInfo, nr_modules)),
            },
            command_line: u64_at(fixed, offset_of!(raw::HvmStartInfo, cmdline_paddr)),
            rsdp: u64_at(fixed, offset_of!(raw::HvmStartInfo, rsdp_paddr)),
        };
        Ok(Self { memory, fixed, memory_map })
    }

    /// Returns the version of the structure. Version 1 and later have a memory map. A PVH control
    /// domain gets version 0.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.fixed.version
    }

    /// Returns the flags that describe the domain.
    #[must_use]
    pub const fn flags(&self) -> StartFlags {
        StartFlags::new(self.fixed.flags)
    }

    /// Returns the guest-physical address of ACPI's root pointer, if there is one.
    #[must_use]
    pub fn rsdp(&self) -> Option<u64> {
        Some(self.fixed.rsdp).filter(|address| *address != 0)
    }

    /// Returns the command line; empty if there is none.
    ///
    /// # Errors
    ///
    /// [`StartInfoError::Unreadable`] and [`StartInfoError::UnterminatedCommandLine`].
    pub fn command_line(&self) -> Result<&'a CStr, StartInfoError> {
        text(self.memory, self.fixed.command_line)
    }

    /// Returns the modules that were loaded with the kernel.
    ///
    /// # Errors
    ///
    /// [`StartInfoError::Unreadable`] if their list cannot be read.
    pub fn modules(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = Module<M>> + use<'a, M>, StartInfoError> {
        let memory = self.memory;
        let list = table(memory, self.fixed.modules, size_of::<raw::HvmModlistEntry>())?;
        Ok(list.map(move |entry| Module {
            memory,
            address: u64_at(entry, offset_of!(raw::HvmModlistEntry, paddr)),
            size: u64_at(entry, offset_of!(raw::HvmModlistEntry, size)),
            command_line: u64_at(entry, offset_of!(raw::HvmModlistEntry, cmdline_paddr)),
        }))
    }

    /// Returns the memory map; `None` if there is none, as in version 0. Then use
    /// [`Memory::memory_map`](crate::memory::Memory::memory_map).
    ///
    /// # Errors
    ///
    /// [`StartInfoError::Unreadable`] if it cannot be read.
    pub fn memory_map(
        &self,
    ) -> Result<Option<impl ExactSizeIterator<Item = MapEntry> + use<'a, M>>, StartInfoError> {
        if self.memory_map.count == 0 {
            return Ok(None);
        }
        let size = size_of::<raw::HvmMemmapTableEntry>();
        let map = table(self.memory, self.memory_map, size)?.map(|entry| {
            MapEntry::new(
                u64_at(entry, offset_of!(raw::HvmMemmapTableEntry, addr)),
                u64_at(entry, offset_of!(raw::HvmMemmapTableEntry, size)),
                HvmMemmapType(u32_at(entry, offset_of!(raw::HvmMemmapTableEntry, kind))),
            )
        });
        Ok(Some(map))
    }
}

impl<M> fmt::Debug for StartInfo<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartInfo")
            .field("fixed", &self.fixed)
            .field("memory_map", &self.memory_map)
            .finish_non_exhaustive()
    }
}

/// A file that was loaded with the kernel, such as an initial file system.
#[derive(Clone, Copy)]
pub struct Module<M> {
    memory: M,
    address: u64,
    size: u64,
    command_line: u64,
}

impl<'a, M: Fn(u64, usize) -> Option<&'a [u8]> + Copy> Module<M> {
    /// Returns the module's guest-physical address.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Returns the module's size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the module's bytes.
    ///
    /// # Errors
    ///
    /// [`StartInfoError::Unreadable`].
    pub fn data(&self) -> Result<&'a [u8], StartInfoError> {
        let length = usize::try_from(self.size)
            .map_err(|_| StartInfoError::Unreadable { address: self.address, length: self.size })?;
        if length == 0 { Ok(&[]) } else { bytes(self.memory, self.address, length) }
    }

    /// Returns the module's command line; empty if there is none.
    ///
    /// # Errors
    ///
    /// [`StartInfoError::Unreadable`] and [`StartInfoError::UnterminatedCommandLine`].
    pub fn command_line(&self) -> Result<&'a CStr, StartInfoError> {
        text(self.memory, self.command_line)
    }
}

impl<M> fmt::Debug for Module<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({:#x} + {:#x})", self.address, self.size)
    }
}

/// Returns exactly `length` bytes of a range. Nothing is ever loaded at address 0.
fn bytes<'a>(
    memory: impl Fn(u64, usize) -> Option<&'a [u8]>,
    address: u64,
    length: usize,
) -> Result<&'a [u8], StartInfoError> {
    Some(address)
        .filter(|address| *address != 0)
        .and_then(|address| memory(address, length))
        .and_then(|bytes| bytes.get(..length))
        .ok_or(StartInfoError::Unreadable { address, length: length as u64 })
}

/// Returns the entries of an array. An array without entries may have any address.
fn table<'a>(
    memory: impl Fn(u64, usize) -> Option<&'a [u8]>,
    table: Table,
    size: usize,
) -> Result<impl ExactSizeIterator<Item = &'a [u8]>, StartInfoError> {
    let Table { address, count } = table;
    let whole = if count == 0 {
        &[]
    } else {
        let length = u64::from(count) * size as u64;
        let length =
            usize::try_from(length).map_err(|_| StartInfoError::Unreadable { address, length })?;
        bytes(memory, address, length)?
    };
    Ok(whole.chunks_exact(size))
}

/// Returns a text that ends with a zero byte; empty if its address is 0. Searches page by page,
/// because the memory after the text may be unreadable.
fn text<'a>(
    memory: impl Fn(u64, usize) -> Option<&'a [u8]>,
    address: u64,
) -> Result<&'a CStr, StartInfoError> {
    if address == 0 {
        return Ok(c"");
    }
    let to_page_end = PAGE_SIZE - (address % PAGE_SIZE as u64) as usize;
    let mut searched = 0;
    let mut length = to_page_end;
    while searched <= COMMAND_LINE_MAX {
        length = length.min(COMMAND_LINE_MAX + 1);
        let found = bytes(&memory, address, length)?;
        if let Some(end) = found[searched..].iter().position(|byte| *byte == 0) {
            if let Ok(text) = CStr::from_bytes_with_nul(&found[..=searched + end]) {
                return Ok(text);
            }
        }
        searched = length;
        length += PAGE_SIZE;
    }
    Err(StartInfoError::UnterminatedCommandLine(address))
}

/// Returns the number at an offset of a structure; 0 beyond its end.
fn u32_at(structure: &[u8], offset: usize) -> u32 {
    structure
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |b| u32::from_le_bytes(*b))
}

/// Returns the 64-bit number at an offset, as [`u32_at`] does.
fn u64_at(structure: &[u8], offset: usize) -> u64 {
    structure
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |b| u64::from_le_bytes(*b))
}
