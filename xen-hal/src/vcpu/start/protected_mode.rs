//! Describes a start in a 32-bit mode.

use xen_pac::vcpu::{
    VcpuHvmContext, VcpuHvmContextCpuRegs, VcpuHvmMode, VcpuHvmX8632,
    hvm_segment_attributes as attributes,
};

use super::super::VcpuError;
use super::{StartState, bits, sealed};
use crate::platform::PAGE_SIZE;

/// The alignment of PAE's top-level table, of four entries.
const PAE_ALIGNMENT: u32 = 32;
/// The limit of the smallest task state segment: the offset of its last byte.
const TASK_STATE_LIMIT: u32 = 0x67;

/// Returns a segment of all memory at privilege level 0: readable code (kind 0xb) or writable data
/// (kind 0x3).
const fn flat(kind: u16) -> u16 {
    attributes::KIND.val(kind).value
        | attributes::CODE_OR_DATA.val(1).value
        | attributes::PRESENT.val(1).value
        | attributes::BIG.val(1).value
        | attributes::GRANULAR.val(1).value
}

const CODE: u16 = flat(0xb);
const DATA: u16 = flat(0x3);
/// A busy 32-bit task state segment, the only kind that Xen accepts.
const TASK_STATE: u16 = attributes::KIND.val(0xb).value | attributes::PRESENT.val(1).value;

/// A start in 32-bit protected mode: flat segments of 4 GiB at privilege level 0, interrupts off,
/// and paging off unless [`paging`](Self::paging) turns it on.
///
/// The segment registers hold selector 0, and the task state segment has no memory: load them
/// before the first interrupt.
///
/// ```
/// use xen_hal::vcpu::{ProtectedMode, StartState};
///
/// let state = ProtectedMode::new(0x10_0000, 0x20_0000).paging(0x30_0000, true).argument(7);
/// assert!(state.context().is_ok());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ProtectedMode {
    registers: VcpuHvmX8632,
}

impl ProtectedMode {
    /// Starts at `entry` with the stack pointer at `stack`. Both are physical addresses unless
    /// paging is on.
    #[must_use]
    pub const fn new(entry: u32, stack: u32) -> Self {
        let mut registers = VcpuHvmX8632::ZEROED;
        registers.eip = entry;
        registers.esp = stack;
        registers.cr0 = bits::CR0_PROTECTED | bits::CR0_EXTENSION_TYPE | bits::CR0_NUMERIC_ERROR;
        registers.cs_ar = CODE;
        registers.ds_ar = DATA;
        registers.ss_ar = DATA;
        registers.es_ar = DATA;
        registers.tr_ar = TASK_STATE;
        registers.cs_limit = u32::MAX;
        registers.ds_limit = u32::MAX;
        registers.ss_limit = u32::MAX;
        registers.es_limit = u32::MAX;
        registers.tr_limit = TASK_STATE_LIMIT;
        Self { registers }
    }

    /// Turns paging on, with the page table at this physical address. With `pae`, it is PAE's table
    /// of four entries; otherwise, it is a page directory.
    #[must_use]
    pub const fn paging(mut self, page_table: u32, pae: bool) -> Self {
        self.registers.cr3 = page_table;
        self.registers.cr0 |= bits::CR0_PAGING | bits::CR0_WRITE_PROTECT;
        if pae {
            self.registers.cr4 |= bits::CR4_PAE;
        } else {
            self.registers.cr4 &= !bits::CR4_PAE;
        }
        self
    }

    /// Puts `value` in EAX.
    #[must_use]
    pub const fn argument(mut self, value: u32) -> Self {
        self.registers.eax = value;
        self
    }
}

impl sealed::Sealed for ProtectedMode {}

impl StartState for ProtectedMode {
    fn context(&self) -> Result<VcpuHvmContext, VcpuError> {
        let VcpuHvmX8632 { cr3, cr4, .. } = self.registers;
        let alignment = if cr4 & bits::CR4_PAE == 0 { PAGE_SIZE as u32 } else { PAE_ALIGNMENT };
        if cr3 % alignment != 0 {
            return Err(VcpuError::PageTable(cr3.into()));
        }
        Ok(VcpuHvmContext::new(
            VcpuHvmMode::BITS_32,
            VcpuHvmContextCpuRegs::from_x86_32(self.registers),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_flat_and_present() {
        let registers = ProtectedMode::new(1, 2).argument(3).context().unwrap().cpu_regs.x86_32();
        assert_eq!((registers.eip, registers.esp, registers.eax), (1, 2, 3));
        assert_eq!((registers.cs_ar, registers.tr_ar), (0xc9b, 0x8b));
        for data in [registers.ds_ar, registers.ss_ar, registers.es_ar] {
            assert_eq!(data, 0xc93);
        }
        assert_eq!(
            (registers.cs_limit, registers.tr_limit, registers.pad1, registers.pad2),
            (u32::MAX, 0x67, 0, [0; 3])
        );
        assert_eq!((registers.cr0, registers.cr3, registers.cr4, registers.efer), (0x31, 0, 0, 0));
    }

    #[test]
    fn paging_is_aligned_to_its_kind() {
        let (none, pae) = (ProtectedMode::new(0, 0), ProtectedMode::new(0, 0).paging(1, true));
        // The last choice holds.
        for state in [none, pae] {
            let plain = state.paging(0x1000, false).context().unwrap().cpu_regs.x86_32();
            assert_eq!((plain.cr0, plain.cr3, plain.cr4), (0x8001_0031, 0x1000, 0));
            let pae = state.paging(0x1020, true).context().unwrap().cpu_regs.x86_32();
            assert_eq!((pae.cr0, pae.cr3, pae.cr4), (0x8001_0031, 0x1020, 0x20));
        }
        for state in [
            ProtectedMode::new(0, 0).paging(0x1020, false),
            ProtectedMode::new(0, 0).paging(0x1010, true),
        ] {
            assert!(matches!(state.context(), Err(VcpuError::PageTable(_))));
        }
    }
}
