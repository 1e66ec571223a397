//! Which memory the guest has, asked of Xen: a control domain's start info has no map.

use xen_hal::hypercall::{Commands, Errno, Hypercall};
use xen_pac::access::Handle;
use xen_pac::memory::{XenMemoryMap, command::MemoryMap};
use xen_pac::start_info::HvmMemmapType;

/// How many bytes an entry has: where it begins, how long it is, and what it is.
const ENTRY: usize = size_of::<u64>() + size_of::<u64>() + size_of::<u32>();

/// How many entries are asked for; a PC's map has about ten.
const ENTRIES: usize = 64;

/// A range of guest-physical memory.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Its first address.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// What it is.
    pub kind: HvmMemmapType,
}

/// Calls `each` with the ranges of the guest's memory.
///
/// # Errors
///
/// Xen's; a map with more entries than there is room for is cut off.
pub fn each_range(xen: &impl Hypercall, mut each: impl FnMut(Range)) -> Result<(), Errno> {
    let mut entries = [0_u8; ENTRIES * ENTRY];
    let mut request = XenMemoryMap::new(ENTRIES as u32, Handle::from_ptr(entries.as_mut_ptr()));
    // SAFETY: Xen writes no more entries than that.
    unsafe { xen.argument_unchecked(MemoryMap, &mut request) }?;
    for entry in entries.chunks_exact(ENTRY).take(request.nr_entries as usize) {
        let Some((start, rest)) = entry.split_first_chunk() else { continue };
        let Some((length, rest)) = rest.split_first_chunk() else { continue };
        let Some((kind, _)) = rest.split_first_chunk() else { continue };
        each(Range {
            start: u64::from_le_bytes(*start),
            length: u64::from_le_bytes(*length),
            kind: HvmMemmapType(u32::from_le_bytes(*kind)),
        });
    }
    Ok(())
}
