//! Hypercalls: the instruction sequences, and the hypervisor that both sides of a comparison call.

use core::cell::Cell;
use core::ffi::{c_long, c_ulong, c_void};
use core::ptr::with_exposed_provenance_mut;

use xen_hal::hypercall::{Hypercall, Vmcall};

/// A hypervisor within the process: every call goes to one function, which the C twins call as
/// well.
#[derive(Clone, Copy, Debug)]
pub struct Bench;

/// What stands for the hypervisor on this thread.
pub type Answer = fn(number: u32, command: usize, argument: *mut c_void) -> isize;

thread_local! {
    static ANSWER: Cell<Answer> = const { Cell::new(|_, _, _| 0) };
}

/// Chooses what answers this thread's hypercalls.
pub fn answer_with(answer: Answer) {
    ANSWER.set(answer);
}

/// Where the hypercalls of both sides arrive.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn bench_hypercall(number: u32, command: c_ulong, argument: *mut c_void) -> c_long {
    ANSWER.get()(number, command as usize, argument) as c_long
}

// SAFETY: both sides of a comparison reach the same function, which does what the comparison needs.
unsafe impl Hypercall for Bench {
    unsafe fn call5(&self, number: u32, _: usize, _: usize, _: usize, _: usize, _: usize) -> isize {
        unreachable!("hypercall {number}")
    }

    #[inline(always)]
    unsafe fn call2(&self, number: u32, a: usize, b: usize) -> isize {
        bench_hypercall(number, a as c_ulong, with_exposed_provenance_mut(b)) as isize
    }
}

/// A hypercall with one argument. Never called: its code is counted.
///
/// # Safety
///
/// As for [`Hypercall::call1`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_call1(number: u32, a: usize) -> isize {
    // SAFETY: the caller's promise is the same.
    unsafe { Vmcall.call1(number, a) }
}

/// A hypercall with two arguments.
///
/// # Safety
///
/// As for [`Hypercall::call2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_call2(number: u32, a: usize, b: usize) -> isize {
    // SAFETY: the caller's promise is the same.
    unsafe { Vmcall.call2(number, a, b) }
}

/// A hypercall with five arguments.
///
/// # Safety
///
/// As for [`Hypercall::call5`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_call5(
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

#[allow(missing_docs, reason = "the C twins of the functions above")]
pub mod twin {
    unsafe extern "C" {
        pub fn twin_call1(number: u32, a: usize) -> isize;
        pub fn twin_call2(number: u32, a: usize, b: usize) -> isize;
        pub fn twin_call5(number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize;
    }
}
