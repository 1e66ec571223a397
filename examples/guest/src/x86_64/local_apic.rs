//! The calling vCPU's local APIC, as far as interrupts need it that come through it: turned on, and
//! told when one has come to its end.
//!
//! It has two forms: registers of the processor (x2APIC), which Xen gives each guest, or a page of
//! memory, which older ones have.

use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::ptr;

/// Where an interrupt goes that was withdrawn before the processor took it.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// The register that says where the local APIC is and whether it is on.
const BASE: u32 = 0x1b;
/// In it: on, and in the form of processor registers.
const BASE_ON: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
/// In it: the page.
const BASE_PAGE: u64 = 0xf_ffff_f000;
/// The first of the processor registers, of which there is one for each 16 bytes of the page.
const X2APIC: u32 = 0x800;

/// A register, by its offset in the page.
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
/// In the spurious vector's register: interrupts come.
const SPURIOUS_ON: u32 = 1 << 8;

/// Turns on the calling vCPU's local APIC.
///
/// # Safety
///
/// There is a handler for [`SPURIOUS_VECTOR`], and for each interrupt that Xen was asked to send
/// through the local APIC. Memory is mapped to itself.
pub unsafe fn enable() {
    /// In what leaf 1 says in ecx.
    const HAS_X2APIC: u32 = 1 << 21;
    // SAFETY: the register is there wherever there is a local APIC, as in each of Xen's guests with
    // hardware virtualisation.
    let base = unsafe { read(BASE) };
    // SAFETY: every processor that runs Xen has the instruction. (Newer compilers know that and ask
    // for no promise.)
    #[allow(unused_unsafe, reason = "the function is safe in newer releases of Rust")]
    let features = unsafe { __cpuid(1) };
    let form = if features.ecx & HAS_X2APIC == 0 { BASE_ON } else { BASE_ON | BASE_X2APIC };
    // SAFETY: the processor has that form.
    unsafe { write(BASE, base | form) };
    // SAFETY: the rest is the caller's promise.
    unsafe { set(SPURIOUS, SPURIOUS_ON | u32::from(SPURIOUS_VECTOR)) };
}

/// Tells that the interrupt which the calling vCPU handles has come to its end, so that the next
/// can come.
///
/// # Safety
///
/// It came through the local APIC.
pub(super) unsafe fn end_of_interrupt() {
    // SAFETY: the caller's promise.
    unsafe { set(END_OF_INTERRUPT, 0) };
}

/// Writes a register in whatever form it has.
///
/// # Safety
///
/// The local APIC is on, and what the value asks of it does no harm.
unsafe fn set(register: u32, value: u32) {
    // SAFETY: reading changes nothing.
    let base = unsafe { read(BASE) };
    if base & BASE_X2APIC != 0 {
        // SAFETY: the local APIC has this form; the rest is the caller's promise.
        unsafe { write(X2APIC + register / 16, value.into()) };
    } else {
        let place = ptr::with_exposed_provenance_mut::<u32>(
            (base & BASE_PAGE) as usize + register as usize,
        );
        // SAFETY: the page is where the register says, and mapped to itself; the rest is the
        // caller's promise.
        unsafe { place.write_volatile(value) };
    }
}

/// # Safety
///
/// The processor has the register.
unsafe fn read(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
///
/// The processor has the register, and the value does no harm.
unsafe fn write(register: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags))
    };
}
