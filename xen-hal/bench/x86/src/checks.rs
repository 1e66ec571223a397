//! What must be true of every hypercall: the arguments arrive in their registers, the answer comes
//! back, and the caller keeps what is its own.

use core::hint::black_box;

use xen_hal::hypercall::Hypercall;

use crate::machine::{ANSWER, POISON, guarded_call, page, seen};

const NUMBER: u32 = 29;
const ARGUMENTS: [u32; 5] = [0xa1a1_0001, 0xb2b2_0002, 0xc3c3_0003, 0xd4d4_0004, 0xe5e5_0005];

/// Runs every check; an error says what is wrong.
pub(crate) fn all() -> Result<(), &'static str> {
    let functions: [*const (); 6] =
        [call0 as _, call1 as _, call2 as _, call3 as _, call4 as _, call5 as _];
    for (count, function) in functions.into_iter().enumerate() {
        each(count, black_box(function))?;
    }
    let words = [3, 5, 7, 11, 13, 17, 19, 23];
    if crowded(&words) != ANSWER * 2 + 98 {
        Err("values that were kept across hypercalls have changed")
    } else {
        Ok(())
    }
}

fn each(count: usize, function: *const ()) -> Result<(), &'static str> {
    let [a, b, c, d, e] = ARGUMENTS;
    // SAFETY: it is one of the functions below, and the page takes anything.
    let done = unsafe { guarded_call(function, &[NUMBER, a, b, c, d, e]) };
    let [number, arguments @ ..] = seen();
    if number != NUMBER {
        return Err("another hypercall was made");
    }
    if arguments[..count] != ARGUMENTS[..count] {
        return Err("an argument is not in its register");
    }
    if done.answer != ANSWER {
        return Err("the answer is not the hypervisor's");
    }
    if done.kept { Ok(()) } else { Err("a register of the caller's has changed") }
}

/// Two hypercalls among values that are needed before and after, so that there are too few
/// registers: the compiler wants esi for itself here, when it optimises.
#[unsafe(no_mangle)]
#[inline(never)]
fn crowded(words: &[isize; 8]) -> isize {
    let xen = page();
    let [a, b, c, d, e, f, g, h] = black_box(*words);
    let word = |index: usize| words[index] as usize;
    // SAFETY: the page takes anything.
    let first = unsafe { xen.call4(NUMBER, word(0), word(1), word(2), word(3)) };
    let between = black_box(a + b + c + d) + words[4] - e;
    // SAFETY: as above.
    let second = unsafe { xen.call5(NUMBER, word(5), POISON as usize, word(6), word(7), word(0)) };
    first + second + between + e + f + g + h + words[0] - a
}

macro_rules! functions {
    ($($call:ident($($argument:ident),*))*) => {$(
        extern "C" fn $call(number: u32 $(, $argument: usize)*) -> isize {
            // SAFETY: the page takes anything.
            unsafe { page().$call(number $(, $argument)*) }
        }
    )*};
}

functions! { call0() call1(a) call2(a, b) call3(a, b, c) call4(a, b, c, d) call5(a, b, c, d, e) }
