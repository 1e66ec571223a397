//! Implements the platform traits on x86.

use core::arch::asm;

use super::{Counter, CurrentVcpu, Interrupts, VcpuId, XenCpuid};

/// Reads the time stamp counter in order with memory accesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tsc;

impl Counter for Tsc {
    #[inline(always)]
    fn read(&self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: both instructions exist on every processor that Xen runs on, and change only the
        // named registers. The first `lfence` waits for earlier loads; the second prevents later
        // loads from starting early. Without `nomem` the compiler keeps the order as well.
        unsafe {
            asm!(
                "lfence",
                "rdtsc",
                "lfence",
                out("eax") low,
                out("edx") high,
                options(nostack, preserves_flags)
            );
        };
        u64::from(high) << 32 | u64::from(low)
    }
}

/// Controls the interrupt flag of the calling vCPU, for kernels.
///
/// In QEMU's emulation of nested guests, an interrupt can come between `sti` and `hlt`. A kernel
/// that runs there returns from such an interrupt behind the `hlt`, as `examples/rt` does.
#[derive(Clone, Copy, Debug)]
pub struct LocalInterrupts(());

const INTERRUPT_FLAG: usize = 1 << 9;

impl LocalInterrupts {
    /// Creates the handle.
    ///
    /// # Safety
    ///
    /// The program must run at a privilege level that may execute `cli`, `sti` and `hlt`.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

/// Reads the flags register.
#[inline(always)]
fn flags() -> usize {
    let flags: usize;
    // The suffix matters: in Intel syntax, a bare `pushf` is the 16-bit form on 32-bit x86.
    // SAFETY: without `nostack` the compiler reserves the stack that `push` uses.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "x86")]
    unsafe {
        asm!("pushfd", "pop {}", out(reg) flags, options(preserves_flags));
    }
    flags
}

// SAFETY: with the flag clear, the processor takes no maskable interrupt. After `sti`, it takes
// none before the next instruction, so none arrives between `sti` and `hlt`.
unsafe impl Interrupts for LocalInterrupts {
    #[inline(always)]
    fn disable(&self) -> bool {
        let before = flags();
        // SAFETY: `new` requires the privilege.
        unsafe { asm!("cli", options(nostack)) };
        before & INTERRUPT_FLAG != 0
    }

    #[inline(always)]
    unsafe fn enable(&self) {
        // The processor delivers no interrupt directly after `sti`, so a `nop` follows. SAFETY: as
        // above; the caller allows handlers to run.
        unsafe { asm!("sti", "nop", options(nostack)) };
    }

    #[inline(always)]
    unsafe fn wait(&self) {
        // SAFETY: as above; the caller allows handlers to run.
        unsafe { asm!("sti", "hlt", options(nostack)) };
    }
}

/// Identifies the calling vCPU by CPUID, which Xen emulates. It needs no set-up, and takes about as
/// long as a hypercall. A segment register is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuidVcpu(XenCpuid);

impl CpuidVcpu {
    /// Returns `None` if Xen is older than 4.6 and has no such leaf.
    #[must_use]
    pub fn new(cpuid: XenCpuid) -> Option<Self> {
        cpuid.vcpu_id().is_some().then_some(Self(cpuid))
    }
}

// SAFETY: Xen returns the number of the vCPU that executes the instruction.
unsafe impl CurrentVcpu for CpuidVcpu {
    fn current_vcpu(&self) -> VcpuId {
        // `new` checked that the leaf has the number.
        self.0.vcpu_id().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_a_whole_word_and_the_stack_stays_as_it_was() {
        // A test runs with interrupts on, and bit 1 of the register is always set.
        for _ in 0..1000 {
            assert_eq!(flags() & (INTERRUPT_FLAG | 2), INTERRUPT_FLAG | 2);
        }
    }

    #[test]
    fn the_counter_does_not_run_backwards() {
        let first = Tsc.read();
        assert!(Tsc.read() >= first);
    }
}
