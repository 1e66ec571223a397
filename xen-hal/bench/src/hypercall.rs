//! The hypervisor that both sides of a comparison call.

use core::cell::Cell;
use core::ffi::{c_long, c_ulong, c_void};
use core::ptr::with_exposed_provenance_mut;

use xen_hal::hypercall::Hypercall;

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
