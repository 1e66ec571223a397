//! The interrupt table: exceptions are reported and end the guest, and Xen's upcalls come to
//! functions of the program's.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::descriptors::{CODE, EXCEPTION_STACK, INTERRUPT_STACK, Pointer};
use super::local_apic;
use super::stubs::{
    EXCEPTION_STUBS, Frame, enable_and_halt, own_upcall_stub, spurious_stub, upcall_stub,
};
use crate::{exit, println};

/// A gate: its two words.
type Gate = [u64; 2];

#[repr(C, align(16))]
struct Table(UnsafeCell<[Gate; 256]>);

// SAFETY: written with interrupts off by the first vCPU only, as `set` demands.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([[0; 2]; 256]));

/// What the program wants called on an upcall, as a number; 0 for nothing.
static UPCALL: AtomicUsize = AtomicUsize::new(0);
/// The same for an upcall of the vCPU's own.
static OWN_UPCALL: AtomicUsize = AtomicUsize::new(0);

/// Fills the table with the exceptions. Call it before [`load`].
///
/// # Safety
///
/// With interrupts off, on the first vCPU, before any other runs.
pub(super) unsafe fn prepare() {
    for vector in 0..32_u8 {
        // SAFETY: the table was filled by the assembler, and nothing writes to it.
        let stub = unsafe { EXCEPTION_STUBS[usize::from(vector)] };
        // SAFETY: the stub reports any exception; the rest is the caller's promise.
        unsafe { set(vector, stub, EXCEPTION_STACK) };
    }
}

/// Makes the calling vCPU use the table.
///
/// # Safety
///
/// The vCPU has its own descriptor tables by then.
pub(super) unsafe fn load() {
    let pointer = Pointer {
        limit: size_of::<Table>() as u16 - 1,
        base: TABLE.0.get().expose_provenance() as u64,
    };
    // SAFETY: the table is static, and its gates lead to stubs.
    unsafe {
        asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags))
    };
}

/// Has `handler` called, with interrupts off and on a stack of its own, whenever Xen announces
/// events at `vector`.
///
/// # Safety
///
/// With interrupts off, on the first vCPU, before any other runs; `vector` must be 32 or above.
pub unsafe fn on_upcall(vector: u8, handler: fn()) {
    UPCALL.store(handler as usize, Ordering::Release);
    // SAFETY: the stub keeps what it interrupts; the rest is the caller's promise.
    unsafe { set(vector, upcall_stub as *const () as u64, INTERRUPT_STACK) };
}

/// Has `handler` called likewise whenever Xen announces events at a vCPU's own `vector`, after the
/// local APIC was told that the interrupt has come to its end. Each vCPU for which Xen is to do so
/// must [turn on](local_apic::enable) its local APIC.
///
/// # Safety
///
/// As for [`on_upcall`].
pub unsafe fn on_own_upcall(vector: u8, handler: fn()) {
    OWN_UPCALL.store(handler as usize, Ordering::Release);
    // SAFETY: the stub keeps what it interrupts; the rest is the caller's promise.
    unsafe { set(vector, own_upcall_stub as *const () as u64, INTERRUPT_STACK) };
    // SAFETY: as above; there is nothing to keep.
    unsafe { set(local_apic::SPURIOUS_VECTOR, spurious_stub as *const () as u64, INTERRUPT_STACK) };
}

/// Lets interrupts in.
///
/// # Safety
///
/// There is a handler for each interrupt that can come.
pub unsafe fn enable() {
    // SAFETY: the caller's promise.
    unsafe { asm!("sti", options(nostack)) };
}

/// Halts the vCPU until `done` says so, which is asked again after each interrupt. None can slip in
/// between the question and the halt.
///
/// # Safety
///
/// There is a handler for each interrupt that can come.
pub unsafe fn wait_until(mut done: impl FnMut() -> bool) {
    loop {
        // SAFETY: interrupts are let in again below.
        unsafe { asm!("cli", options(nostack)) };
        if done() {
            // SAFETY: the caller's promise.
            return unsafe { enable() };
        }
        // SAFETY: the caller's promise.
        unsafe { enable_and_halt() };
    }
}

/// Writes a gate that keeps interrupts off while its handler runs.
///
/// # Safety
///
/// `handler` can be entered by the processor, and the table is not in use by another vCPU.
unsafe fn set(vector: u8, handler: u64, stack: u8) {
    const INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = handler & 0xffff
        | u64::from(CODE) << 16
        | u64::from(stack) << 32
        | INTERRUPT_GATE
        | (handler >> 16 & 0xffff) << 48;
    let gates = TABLE.0.get().cast::<Gate>();
    // SAFETY: the table has a gate for every vector, and nobody else uses it meanwhile.
    unsafe { gates.wrapping_add(usize::from(vector)).write([low, handler >> 32]) };
}

pub(super) extern "C" fn upcall() {
    call(&UPCALL);
}

pub(super) extern "C" fn own_upcall() {
    // Told before the events are looked for: an edge that comes meanwhile waits for the return, and
    // is not lost. SAFETY: the interrupt that is handled came through the local APIC, which whoever
    // asked for it turned on.
    unsafe { local_apic::end_of_interrupt() };
    call(&OWN_UPCALL);
}

fn call(handler: &AtomicUsize) {
    let handler = handler.load(Ordering::Acquire);
    if handler != 0 {
        // SAFETY: only the functions above set it, to a function of this type.
        let handler: fn() = unsafe { core::mem::transmute(handler) };
        handler();
    }
}

/// Reports an exception and ends the guest.
pub(super) extern "C" fn exception(frame: &Frame) -> ! {
    let address: u64;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    println!(
        "guest: panic by exception {} ({}) at {:#x}, error {:#x}, address {address:#x}, stack {:#x}",
        frame.vector,
        name(frame.vector),
        frame.instruction,
        frame.error,
        frame.stack
    );
    exit::panicked()
}

/// What processors' manuals call an exception.
fn name(vector: u64) -> &'static str {
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
        _ => "reserved",
    }
}
