//! The memory functions that the compiler calls by name. A hosted target expects them from its C
//! library; bare-metal targets bring their own.
//!
//! Each copy is one string instruction: the compiler cannot turn it into a call of itself, and it
//! is fast on every processor that Xen runs on.

use core::arch::asm;
use core::ffi::c_int;

/// Copies `count` bytes from `from` to `to`, which do not overlap.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the instruction writes `count` bytes at `to` and reads as many at `from`, which is
    // the caller's promise. The direction flag is clear by convention.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// Copies `count` bytes from `from` to `to`, which may overlap.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: the target does not begin inside the source, so that copying upwards reads each
        // byte before it is overwritten.
        return unsafe { memcpy(to, from, count) };
    }
    let (last_to, last_from) =
        (to.wrapping_add(count).wrapping_sub(1), from.wrapping_add(count).wrapping_sub(1));
    // SAFETY: the same bytes, from the last to the first; the direction flag is clear again before
    // anything else runs.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _, inout("rdi") last_to => _,
            inout("rsi") last_from => _, options(nostack));
    }
    to
}

/// Fills `count` bytes at `to` with the low byte of `value`.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: c_int, count: usize) -> *mut u8 {
    // SAFETY: the instruction writes `count` bytes at `to`, which is the caller's promise.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// Compares `count` bytes. The sign of the result is that of the first difference.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> c_int {
    for offset in 0..count {
        // SAFETY: the offset is below `count`, which is the caller's promise.
        let left = unsafe { left.wrapping_add(offset).read() };
        // SAFETY: the same.
        let right = unsafe { right.wrapping_add(offset).read() };
        if left != right {
            return c_int::from(left) - c_int::from(right);
        }
    }
    0
}

/// Returns zero if `count` bytes are equal.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(left, right, count) }
}

/// The number of bytes before the first zero.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let left: usize;
    // SAFETY: the instruction reads up to the first zero, which the caller promises there is. The
    // compiler could turn a loop into a call of `strlen`.
    unsafe {
        asm!("repne scasb", inout("rcx") usize::MAX => left, inout("rdi") text => _, in("al") 0_u8,
            options(nostack, readonly));
    }
    usize::MAX - 1 - left
}

/// The unwinder's entry, which the hosted target's core refers to. It is never called: panics
/// abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
