//! The calling vCPU's local APIC: enabling it, and signalling the end of an interrupt.
//!
//! Its registers are model specific registers (x2APIC), as in each of Xen's guests, or a page of
//! memory.

use core::arch::asm;
#[cfg(target_arch = "x86")]
use core::arch::x86::__cpuid;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__cpuid;
use core::ptr;

/// The vector of an interrupt that was withdrawn before the processor took it.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// The model specific register with the local APIC's address and mode.
const BASE: u32 = 0x1b;
/// In [`BASE`]: the local APIC is enabled.
const BASE_ON: u64 = 1 << 11;
/// In [`BASE`]: its registers are model specific registers.
const BASE_X2APIC: u64 = 1 << 10;
/// In [`BASE`]: the address of the page.
const BASE_PAGE: u64 = 0xf_ffff_f000;
/// The first model specific register; there is one for each 16 bytes of the page.
const X2APIC: u32 = 0x800;

/// The register that takes the end of an interrupt, by its offset in the page.
const END_OF_INTERRUPT: u32 = 0xb0;
/// The register of the spurious vector, by its offset in the page.
const SPURIOUS: u32 = 0xf0;
/// In [`SPURIOUS`]: interrupts are delivered.
const SPURIOUS_ON: u32 = 1 << 8;

/// Enables the calling vCPU's local APIC.
pub fn enable() {
    /// In ecx of CPUID leaf 1.
    const HAS_X2APIC: u32 = 1 << 21;
    // SAFETY: each of Xen's guests with hardware virtualisation has a local APIC.
    let base = unsafe { read(BASE) };
    // SAFETY: every processor that runs Xen has the instruction. (It is safe in newer compilers.)
    #[allow(unused_unsafe, reason = "the function is safe in newer releases of Rust")]
    let features = unsafe { __cpuid(1) };
    let form = if features.ecx & HAS_X2APIC == 0 { BASE_ON } else { BASE_ON | BASE_X2APIC };
    // SAFETY: the processor has that form, and every vector has a handler.
    unsafe { write(BASE, base | form) };
    // SAFETY: as above.
    unsafe { set(SPURIOUS, SPURIOUS_ON | u32::from(SPURIOUS_VECTOR)) };
}

/// Signals the end of the interrupt that the calling vCPU handles.
///
/// # Safety
///
/// It came through the local APIC.
pub(super) unsafe fn end_of_interrupt() {
    // SAFETY: the caller's promise.
    unsafe { set(END_OF_INTERRUPT, 0) };
}

/// Writes a register of the local APIC.
///
/// # Safety
///
/// The local APIC is enabled, and the value is valid for the register.
unsafe fn set(register: u32, value: u32) {
    // SAFETY: the local APIC is enabled, so there is one.
    let base = unsafe { read(BASE) };
    if base & BASE_X2APIC != 0 {
        // SAFETY: the local APIC has this form; the rest is the caller's promise.
        unsafe { write(X2APIC + register / 16, value.into()) };
    } else {
        let place = ptr::with_exposed_provenance_mut::<u32>(
            (base & BASE_PAGE) as usize + register as usize,
        );
        // SAFETY: the page is at that address, mapped to itself; the rest is the caller's promise.
        unsafe { place.write_volatile(value) };
    }
}

/// Reads a model specific register.
///
/// # Safety
///
/// The processor has the register.
unsafe fn read(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model specific register.
///
/// # Safety
///
/// The processor has the register, and the value is valid for it.
unsafe fn write(register: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    };
}
