//! Input and output ports.

use core::arch::asm;

/// Writes a byte to a port.
///
/// # Safety
///
/// Whatever listens at the port must do no harm to the program.
pub unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: the instruction touches no memory of its own; what the device does is the caller's
    // promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// Writes two bytes to a port.
///
/// # Safety
///
/// As for [`write_u8`].
pub unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: as above.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags)) };
}
