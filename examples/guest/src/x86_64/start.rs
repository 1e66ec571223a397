//! Where the assembly of the entry hands over to Rust.

use xen_hal::hypercall::detect_with_page;

use xen_hal::platform::VcpuId;

use super::{descriptors, interrupts};
use crate::{Boot, Page};

unsafe extern "Rust" {
    /// The program's main function, which [`main!`](crate::main) defines.
    safe fn guest_main(boot: Boot) -> !;
}

/// For Xen to write its code into, on processors whose hypercall instruction is unknown.
static HYPERCALL_PAGE: Page = Page::new();

/// Finds the way back into Xen, and runs the program: in 64-bit mode, memory mapped to itself, on a
/// stack, .bss zeroed, interrupts off.
pub(super) extern "C" fn start(start_info: usize) -> ! {
    // From here on an exception says where it was.
    // SAFETY: this is the first vCPU, interrupts are off, and no other runs yet.
    unsafe { descriptors::load(VcpuId(0)) };
    // SAFETY: as above.
    unsafe { interrupts::prepare() };
    // SAFETY: the descriptor tables are loaded.
    unsafe { interrupts::load() };
    let code = HYPERCALL_PAGE.as_ptr();
    // SAFETY: the page is mapped to itself, as executable as all memory is here, and nothing else
    // uses it.
    let xen = match unsafe { detect_with_page(code, code.addr().get() as u64) } {
        Ok(xen) => xen,
        Err(error) => panic!("{error}"),
    };
    // SAFETY: memory is mapped to itself, and only .bss has been written so far, where Xen put
    // nothing.
    match unsafe { Boot::new(xen, start_info) } {
        Some(boot) => guest_main(boot),
        None => panic!("there is no start info at {start_info:#x}"),
    }
}
