//! Where the assembly of the entry hands over to Rust.

use xen_hal::hypercall::detect_with_page;

use crate::{Boot, Page};

unsafe extern "Rust" {
    /// The program's main function, which [`main!`](crate::main) defines.
    safe fn guest_main(boot: Boot) -> !;
}

/// For Xen to write its code into, on processors whose hypercall instruction is unknown.
static HYPERCALL_PAGE: Page = Page::new();

/// Finds the way back into Xen, and runs the program: in 64-bit mode, memory mapped to itself, on a stack, .bss zeroed, interrupts off.
pub(super) extern "C" fn start(start_info: usize) -> ! {
    let code = HYPERCALL_PAGE.as_ptr();
    // SAFETY: the page is mapped to itself, as executable as all memory is here, and nothing else uses it.
    let xen = match unsafe { detect_with_page(code, code.addr().get() as u64) } {
        Ok(xen) => xen,
        Err(error) => panic!("{error}"),
    };
    // SAFETY: memory is mapped to itself, and only .bss has been written so far, where Xen put nothing.
    match unsafe { Boot::new(xen, start_info) } {
        Some(boot) => guest_main(boot),
        None => panic!("there is no start info at {start_info:#x}"),
    }
}
