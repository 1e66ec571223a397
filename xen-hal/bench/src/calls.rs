//! Hypercalls as functions, beside those of C. They are never called: their code is counted.

use core::hint::black_box;

use xen_hal::hypercall::{AnyBackend, Hypercall, Vmcall};

macro_rules! calls {
    ($($ours:ident $any:ident $twin:ident: $call:ident($($argument:ident),*);)*) => {
        $(
            /// # Safety
            ///
            /// As for the backend's method.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $ours(number: u32, $($argument: usize),*) -> isize {
                // SAFETY: the caller's obligations are the same.
                unsafe { Vmcall.$call(number, $($argument),*) }
            }

            /// Chooses the instruction at run time.
            ///
            /// # Safety
            ///
            /// As for the backend's method.
            #[unsafe(no_mangle)]
            unsafe fn $any(xen: AnyBackend, number: u32, $($argument: usize),*) -> isize {
                // SAFETY: the caller's obligations are the same.
                unsafe { xen.$call(number, $($argument),*) }
            }
        )*

        unsafe extern "C" {
            $(fn $twin(number: u32, $($argument: usize),*) -> isize;)*
        }

        /// Has the linker keep all of them.
        pub fn keep() {
            $(black_box(($ours as *const (), $any as *const (), $twin as *const ()));)*
        }
    };
}

calls! {
    ours_call1 any_call1 twin_call1: call1(a);
    ours_call2 any_call2 twin_call2: call2(a, b);
    ours_call5 any_call5 twin_call5: call5(a, b, c, d, e);
}
