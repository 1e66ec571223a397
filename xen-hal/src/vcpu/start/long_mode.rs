//! Describes a start in 64-bit mode.

use xen_pac::vcpu::{VcpuHvmContext, VcpuHvmContextCpuRegs, VcpuHvmMode, VcpuHvmX8664};

use super::super::VcpuError;
use super::{StartState, bits, sealed};
use crate::platform::PAGE_SIZE;

/// CR4's bit for page tables of five levels.
const CR4_FIVE_LEVELS: u64 = 1 << 12;
/// The greatest width of a physical address.
const PHYSICAL_BITS: u32 = 52;

/// A start in 64-bit mode: paging on, flat segments at privilege level 0, interrupts off.
///
/// The segment registers hold selector 0: load them, the code segment included, before the first
/// interrupt.
///
/// ```
/// use xen_hal::vcpu::{LongMode, StartState};
///
/// let state = LongMode::new(0xffff_8000_0020_0000, 0xffff_8000_0031_0000, 0x10_3000).argument(7);
/// assert!(state.context().is_ok());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LongMode {
    registers: VcpuHvmX8664,
}

impl LongMode {
    /// Starts at the virtual address `entry` with the stack pointer at `stack`, in the address
    /// space of the top-level page table at the physical address `page_table`.
    ///
    /// The vCPU starts at `entry` without a call: compiled code expects a stack pointer 8 below a
    /// multiple of 16, as if a return address had been pushed.
    #[must_use]
    pub const fn new(entry: u64, stack: u64, page_table: u64) -> Self {
        let mut registers = VcpuHvmX8664::ZEROED;
        registers.rip = entry;
        registers.rsp = stack;
        registers.cr3 = page_table;
        Self { registers }.control(
            (bits::CR0_EXTENSION_TYPE | bits::CR0_NUMERIC_ERROR | bits::CR0_WRITE_PROTECT) as u64,
            0,
            0,
        )
    }

    /// Sets RDI, the first argument of compiled code, to `value`.
    #[must_use]
    pub const fn argument(mut self, value: u64) -> Self {
        self.registers.rdi = value;
        self
    }

    /// Sets RSI, the second argument of compiled code, to `value`.
    #[must_use]
    pub const fn second_argument(mut self, value: u64) -> Self {
        self.registers.rsi = value;
        self
    }

    /// Sets the control registers CR0 and CR4 and the extended feature register. Adds the bits that
    /// 64-bit mode needs: protection and paging, PAE, and long mode enabled and active.
    ///
    /// Pass the registers of the running vCPU to give the new one the same features.
    #[must_use]
    pub const fn control(mut self, cr0: u64, cr4: u64, efer: u64) -> Self {
        self.registers.cr0 = cr0 | (bits::CR0_PROTECTED | bits::CR0_PAGING) as u64;
        self.registers.cr4 = cr4 | bits::CR4_PAE as u64;
        self.registers.efer = efer | bits::EFER_LONG_MODE_ENABLED | bits::EFER_LONG_MODE_ACTIVE;
        self
    }

    /// True if the virtual address is canonical.
    const fn is_canonical(&self, address: u64) -> bool {
        let unused = if self.registers.cr4 & CR4_FIVE_LEVELS == 0 { 16 } else { 7 };
        ((address << unused) as i64 >> unused) as u64 == address
    }
}

impl sealed::Sealed for LongMode {}

impl StartState for LongMode {
    fn context(&self) -> Result<VcpuHvmContext, VcpuError> {
        let VcpuHvmX8664 { rip, rsp, cr3, .. } = self.registers;
        if !self.is_canonical(rip) {
            return Err(VcpuError::Entry(rip));
        }
        if !self.is_canonical(rsp) {
            return Err(VcpuError::Stack(rsp));
        }
        if cr3 % PAGE_SIZE as u64 != 0 || cr3 >> PHYSICAL_BITS != 0 {
            return Err(VcpuError::PageTable(cr3));
        }
        Ok(VcpuHvmContext::new(
            VcpuHvmMode::BITS_64,
            VcpuHvmContextCpuRegs::from_x86_64(self.registers),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_cannot_be_lost() {
        let fresh = LongMode::new(0, 0, 0);
        for (state, cr0) in [(fresh, 0x8001_0031), (fresh.control(0, 0, 0), 0x8000_0001)] {
            let it = state.context().unwrap().cpu_regs.x86_64();
            assert_eq!((it.cr0, it.cr4, it.efer), (cr0, 0x20, 0x500));
        }
    }

    #[test]
    fn other_bits_are_taken_as_given() {
        // The second ones have the bits of the mode already.
        for (cr0, cr4, efer) in [(0x2_0000, 0x600, 0x801), (0x8002_0001, 0x620, 0xd01)] {
            let state = LongMode::new(1, 2, 0x3000).argument(4).second_argument(5);
            let it = state.control(cr0, cr4, efer).context().unwrap().cpu_regs.x86_64();
            assert_eq!((it.rip, it.rsp, it.cr3, it.rdi, it.rsi), (1, 2, 0x3000, 4, 5));
            assert_eq!((it.cr0, it.cr4, it.efer), (0x8002_0001, 0x620, 0xd01));
        }
    }

    #[test]
    fn addresses_are_canonical() {
        let entry = |address| LongMode::new(address, 0, 0).context().map(|_| ());
        assert_eq!(entry(0x7fff_ffff_ffff), Ok(()));
        assert_eq!(entry(0x8000_0000_0000), Err(VcpuError::Entry(0x8000_0000_0000)));
        assert_eq!(entry(0xffff_8000_0000_0000), Ok(()));
        let five_levels = LongMode::new(0x8000_0000_0000, 0, 0).control(0, CR4_FIVE_LEVELS, 0);
        assert!(five_levels.context().is_ok());
        assert_eq!(
            LongMode::new(0, 1 << 48, 0).context().map(|_| ()),
            Err(VcpuError::Stack(1 << 48))
        );
    }

    #[test]
    fn page_tables_are_pages() {
        for address in [8, 0x1008, 1 << 52] {
            assert_eq!(
                LongMode::new(0, 0, address).context().map(|_| ()),
                Err(VcpuError::PageTable(address))
            );
        }
    }
}
