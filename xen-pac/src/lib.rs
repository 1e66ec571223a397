//! Typed registers, argument structs, constants and encoders of the Xen guest ABI.
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
compile_error!("xen-pac describes Xen's guest ABI for x86_64, x86 and aarch64; this target's architecture is none of them");

#[cfg(all(target_arch = "x86_64", not(target_pointer_width = "64")))]
compile_error!("xen-pac does not support x32: Xen has no ABI for 64-bit code with 32-bit pointers; build for x86_64 or for x86 (i686)");

#[cfg(all(target_arch = "aarch64", not(target_pointer_width = "64")))]
compile_error!("xen-pac does not support the ILP32 variants of aarch64: Xen's ABI has 64-bit pointers there");

#[cfg(target_endian = "big")]
compile_error!(
    "xen-pac supports little-endian targets only: Xen's guest ABI is little-endian on every architecture, and big-endian aarch64 would misread every field"
);

#[cfg(target_arch = "x86")]
const _: () = assert!(
    align_of::<u64>() == 4,
    "xen-pac lays out memory as C does on i386, where a 64-bit integer is aligned to 4 bytes; this target aligns it otherwise (use an i686 target with the System V ABI)"
);

// On any other architecture the message above is to be the only one.
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod access;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod command;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
#[rustfmt::skip]
mod generated;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod release;

#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub use generated::*;

#[cfg(test)]
mod tests;
