//! The interrupt table, and turning interrupts on.

use core::arch::asm;
use core::cell::UnsafeCell;

use xen_pac::hvm::CallbackVia;

use super::descriptors::{Gate, Pointer};
use super::local_apic;
use super::stubs::{self, EXCEPTION_STUBS};
use crate::handler::OWN_UPCALL;

/// The vector of upcalls for all vCPUs.
pub const UPCALL_VECTOR: u8 = 0xf3;
/// The vector of upcalls that a vCPU sets for itself.
pub const OWN_UPCALL_VECTOR: u8 = 0xe3;

#[repr(C, align(16))]
struct Table(UnsafeCell<[Gate; 256]>);

// SAFETY: only `prepare` writes the table, before any vCPU uses it.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([Gate::ZERO; 256]));

/// Returns the callback that the guest must set so that the handler of
/// [`on_upcall`](crate::on_upcall) runs.
#[must_use]
pub fn callback_via() -> Option<CallbackVia> {
    CallbackVia::vector(UPCALL_VECTOR).ok()
}

/// Sets the function that is called on each upcall at [`OWN_UPCALL_VECTOR`], after the end of the
/// interrupt was signalled to the local APIC. Each vCPU that gets such upcalls must
/// [enable](local_apic::enable) its local APIC.
pub fn on_own_upcall(handler: fn()) {
    OWN_UPCALL.set(handler);
}

/// Turns interrupts on.
#[inline]
pub fn enable() {
    // SAFETY: every vector has a handler. Without `nomem`, the handler sees the program's earlier
    // writes.
    unsafe { asm!("sti", options(nostack)) };
}

/// Halts the vCPU until `done` returns true. Calls `done` with interrupts off, first at the call
/// and then after each interrupt. An interrupt after a call of `done` ends the halt. Interrupts are
/// on afterwards.
pub fn wait_until(mut done: impl FnMut() -> bool) {
    loop {
        // SAFETY: interrupts are turned on again below.
        unsafe { asm!("cli", options(nostack)) };
        if done() {
            return enable();
        }
        enable_and_halt();
    }
}

/// Turns interrupts on and halts until one has come.
pub(crate) fn enable_and_halt() {
    // SAFETY: every vector has a handler.
    unsafe { stubs::enable_and_halt() };
}

/// Fills the table. Must be called before [`load`].
///
/// # Safety
///
/// No vCPU uses the table yet.
pub(super) unsafe fn prepare() {
    let stub = |function: unsafe extern "C" fn()| function as *const () as usize;
    for vector in 0..=u8::MAX {
        let gate = match vector {
            // SAFETY: the assembler filled the table, which is never written.
            0..32 => Gate::exception(unsafe { EXCEPTION_STUBS[usize::from(vector)] }),
            UPCALL_VECTOR => Gate::interrupt(stub(stubs::upcall_stub)),
            OWN_UPCALL_VECTOR => Gate::interrupt(stub(stubs::own_upcall_stub)),
            local_apic::SPURIOUS_VECTOR => Gate::interrupt(stub(stubs::spurious_stub)),
            _ => Gate::exception(stub(stubs::unexpected_stub)),
        };
        let gates = TABLE.0.get().cast::<Gate>();
        // SAFETY: the table has a gate for every vector, and the caller promises that it is unused.
        unsafe { gates.wrapping_add(usize::from(vector)).write(gate) };
    }
}

/// Makes the calling vCPU use the table.
///
/// # Safety
///
/// The vCPU has its own descriptor tables.
pub(super) unsafe fn load() {
    let pointer = Pointer::to(TABLE.0.get().cast(), size_of::<Table>());
    // SAFETY: the table is static, and its gates lead to stubs.
    unsafe {
        asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags));
    };
}
