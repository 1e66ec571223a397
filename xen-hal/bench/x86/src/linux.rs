//! The two things that the program asks of the kernel it runs on.

use core::arch::asm;

const EXIT: u32 = 1;
const WRITE: u32 = 4;
const ERROR_STREAM: u32 = 2;

/// Ends the program.
pub(crate) fn exit(status: u32) -> ! {
    // SAFETY: the call does not return, and nothing is left to be done.
    unsafe { asm!("int 0x80", in("eax") EXIT, in("ebx") status, options(noreturn)) }
}

/// Writes to the error stream.
pub(crate) fn print(text: &str) {
    // SAFETY: the kernel reads the text's bytes, and changes no register but the answer's.
    unsafe {
        asm!(
            "int 0x80",
            inlateout("eax") WRITE => _,
            in("ebx") ERROR_STREAM,
            in("ecx") text.as_ptr(),
            in("edx") text.len(),
        );
    }
}
