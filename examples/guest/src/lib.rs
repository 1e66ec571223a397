//! A small runtime for a self-built Xen guest.
//!
//! Everything between Xen's entry point and a `main` in Rust, in small files that are meant to be
//! lifted into other kernels. A program names its main function and gets a console, a panic handler
//! that says where, and a way to end with a status:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! guest::main!(run);
//!
//! fn run(boot: guest::Boot) -> Result<(), guest::Failure> {
//!     guest::println!("started with: {}", boot.command_line());
//!     Ok(())
//! }
//! ```
//!
//! In the order in which they come into play: `x86_64/note.rs` tells Xen where to enter,
//! `x86_64/entry.rs` gets to 64-bit mode, `x86_64/start.rs` sets up the tables of
//! [`x86_64::descriptors`] and [`x86_64::interrupts`], finds the way back into Xen and calls the
//! program, [`console`] shows what it says, and [`exit`] ends it. A program that wants more asks
//! for its [`memory_map`], and starts further processors with [`x86_64::vcpus`].
#![no_std]

mod boot;
pub mod console;
pub mod exit;
mod failure;
mod memory;
pub mod memory_map;
mod page;
mod panic;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

pub use boot::Boot;
pub use failure::{During, Failure};
pub use page::Page;

#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

/// Names the program's main function: `fn(Boot) -> Result<(), E>` with an error that can be shown.
///
/// `Ok` ends the guest with success, after a line that says so; an error is printed and ends it
/// with failure.
#[macro_export]
macro_rules! main {
    ($function:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn guest_main(boot: $crate::Boot) -> ! {
            match $function(boot) {
                Ok(()) => $crate::exit::success(),
                Err(error) => $crate::exit::failure(&error),
            }
        }
    };
}
