//! A 32-bit program that makes hypercalls to a page which plays Xen, and says by its exit status
//! whether all registers were as they must be.
//!
//! It is linked without a C library and started by the kernel, so that any x86_64 machine which can
//! link 32-bit objects can run it. The direct hypercalls in [`calls`] are there to be counted; they
//! differ from those through the page by one instruction.
#![no_std]
#![no_main]

#[path = "../../src/calls.rs"]
mod calls;
mod checks;
mod machine;

// The kernel aligns the stack as it is before a call, and calls nothing.
core::arch::global_asm!(".globl _start", "_start:", "call start");

#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    calls::keep();
    match checks::all() {
        Ok(()) => machine::exit(0),
        Err(what) => {
            machine::print(what);
            machine::print("\n");
            machine::exit(1)
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    machine::print("panic\n");
    machine::exit(2)
}
