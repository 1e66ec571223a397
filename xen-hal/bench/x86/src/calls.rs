//! Direct hypercalls as functions, beside those of C. They are never called: their code is counted.

use core::hint::black_box;

use xen_hal::hypercall::{Hypercall, Vmcall};

/// A hypercall with one argument.
///
/// # Safety
///
/// As for [`Hypercall::call1`].
#[unsafe(no_mangle)]
unsafe extern "C" fn ours_call1(number: u32, a: usize) -> isize {
    // SAFETY: the caller's promise is the same.
    unsafe { Vmcall.call1(number, a) }
}

/// A hypercall with two arguments.
///
/// # Safety
///
/// As for [`Hypercall::call2`].
#[unsafe(no_mangle)]
unsafe extern "C" fn ours_call2(number: u32, a: usize, b: usize) -> isize {
    // SAFETY: the caller's promise is the same.
    unsafe { Vmcall.call2(number, a, b) }
}

/// A hypercall with five arguments.
///
/// # Safety
///
/// As for [`Hypercall::call5`].
#[unsafe(no_mangle)]
unsafe extern "C" fn ours_call5(
    number: u32,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
) -> isize {
    // SAFETY: the caller's promise is the same.
    unsafe { Vmcall.call5(number, a, b, c, d, e) }
}

unsafe extern "C" {
    fn twin_call1(number: u32, a: usize) -> isize;
    fn twin_call2(number: u32, a: usize, b: usize) -> isize;
    fn twin_call5(number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize;
}

/// Has the linker keep all of them.
pub(crate) fn keep() {
    black_box((ours_call1 as *const (), ours_call2 as *const (), ours_call5 as *const ()));
    black_box((twin_call1 as *const (), twin_call2 as *const (), twin_call5 as *const ()));
}
