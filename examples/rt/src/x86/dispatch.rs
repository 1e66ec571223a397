//! What the entry points of interrupts call: upcalls lead to the program's handlers; exceptions
//! and vectors without a handler end the guest.

use core::arch::asm;

use super::{descriptors, local_apic};
use crate::handler::{OWN_UPCALL, UPCALL};

/// The number that a vector without a handler is reported as.
pub(super) const UNEXPECTED: usize = 256;

/// What the stub and the processor pushed last for an exception.
#[repr(C)]
pub(super) struct Frame {
    vector: usize,
    error: usize,
    instruction: usize,
}

pub(super) extern "C" fn upcall() {
    UPCALL.call();
}

pub(super) extern "C" fn own_upcall() {
    // Signalled before the handler looks for events: an edge that comes meanwhile is delivered on
    // return and not lost. SAFETY: the interrupt came through the local APIC.
    unsafe { local_apic::end_of_interrupt() };
    OWN_UPCALL.call();
}

/// Reports an exception and ends the guest.
pub(super) extern "C" fn exception(frame: &Frame) -> ! {
    let address: usize;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    // A panic could be another exception, in a guest whose panics abort at once.
    crate::exception(format_args!(
        "by exception {} ({}) at {:#x}, error {:#x}, address {address:#x}, vCPU {}",
        frame.vector,
        name(frame.vector),
        frame.instruction,
        frame.error,
        descriptors::current(),
    ))
}

/// Returns the exception's name in the processors' manuals.
fn name(vector: usize) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid opcode",
        7 => "no coprocessor",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection",
        14 => "page fault",
        17 => "misaligned access",
        18 => "machine check",
        19 => "vector arithmetic",
        UNEXPECTED => "an interrupt without a handler",
        _ => "reserved",
    }
}
