//! What the HAL's types do not let a program do: ask for operations that do not exist, pass
//! arguments where there is no memory, and touch pages that come and go.

use xen_hal::hypercall::{Errno, Hypercall, check};
use xen_pac::hypercall::Hypercall as Number;

use crate::Machine;

/// An address at which no guest has memory: in a guest that runs on Xen it is not even mapped.
pub(crate) const NOWHERE: usize = (usize::MAX / 2) & !0xfff;

/// An operation that no hypercall has.
pub(crate) const NO_SUCH_OPERATION: usize = 99;

/// Makes a hypercall by numbers.
///
/// # Safety
///
/// Whatever Xen makes of the arguments is what the caller expects.
pub(crate) unsafe fn raw(
    xen: &impl Hypercall,
    hypercall: Number,
    arguments: [usize; 3],
) -> Result<usize, Errno> {
    let [first, second, third] = arguments;
    // SAFETY: the caller's promise.
    check(unsafe { xen.call3(hypercall.0, first, second, third) })
}

/// Writes the first byte of one of the machine's pages, where there has to be memory.
pub(crate) fn poke<M: Machine>(machine: &M, page: usize, byte: u8) {
    // SAFETY: the page is the scenario's alone, and is there.
    unsafe { machine.page(page).write_volatile(byte) };
}

/// Reads the first byte of one of the machine's pages, where there has to be memory.
pub(crate) fn peek<M: Machine>(machine: &M, page: usize) -> u8 {
    // SAFETY: the page is the scenario's alone, and is there.
    unsafe { machine.page(page).read_volatile() }
}

/// What Xen answers to an operation that does not exist.
pub(crate) fn unknown(xen: &impl Hypercall, hypercall: Number) -> Result<usize, Errno> {
    // SAFETY: Xen does nothing for an operation that it does not know.
    unsafe { raw(xen, hypercall, [NO_SUCH_OPERATION, 0, 0]) }
}
