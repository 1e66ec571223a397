//! A startup runtime for Xen guests, as `cortex-m-rt` is for Cortex-M. It contains the code from
//! Xen's entry point to a `main` in Rust, for x86_64, 32-bit x86 and aarch64.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use xen_rt::{Boot, Failure, println};
//!
//! xen_rt::entry!(main);
//!
//! fn main(boot: Boot) -> Result<(), Failure> {
//!     println!("started with: {}", boot.command_line());
//!     Ok(())
//! }
//! ```
//!
//! # What the runtime does
//!
//! The runtime zeroes `.bss`, sets up a stack, enables what compiled code needs (SSE on x86; the
//! MMU and the caches on aarch64, before any exclusive access), installs exception handlers that
//! report the exception and end the guest, and detects the hypercall backend. [`entry!`] selects
//! the main function, which runs on vCPU 0 with interrupts off.
//!
//! # What the guest must do
//!
//! Link with this crate's linker script: `-Txen-rt.x`, with static relocation and without startup
//! files. `README.md` has the lines for `.cargo/config.toml`.
//!
//! # What holds while the program runs
//!
//! - Memory is mapped to itself (paging is off on 32-bit x86): pointers are physical addresses.
//! - Interrupts are off until [`interrupts::enable`] or [`interrupts::wait_until`]. Every vector
//!   has a handler; the program's own are set with [`on_upcall`].
//! - An upcall's handler runs on the vCPU that is notified, with interrupts off. It may use all
//!   registers that the target's code uses. On x86 it runs on the stack of what it interrupts,
//!   except on hosted 64-bit targets, and an upcall while interrupts are off is ignored.
//! - [`vcpus::start`] starts up to [`MAX_VCPUS`] vCPUs, each on its own stack of [`STACK_SIZE`]
//!   bytes. Stacks have no guard page.
//! - A panic and an unhandled exception print a line and end the guest. This also holds for a
//!   guest that is built with `-Cpanic=immediate-abort`, whose panics are exceptions.
#![no_std]

mod boot;
pub mod console;
pub mod exit;
mod failure;
mod handler;
mod local_interrupts;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod memory;
mod page;
mod secondary;

#[cfg(target_arch = "aarch64")]
pub mod aarch64;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub mod x86;

#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use x86 as arch;

pub use arch::{Counter, backend, interrupts, vcpus};
pub use boot::{Boot, MemoryRange, map_shared_info};
pub use failure::{During, Failure};
pub use handler::on_upcall;
pub use local_interrupts::LocalInterrupts;
pub use page::{Page, at};
pub use xen_hal::hypercall::AnyBackend;

/// The size of each vCPU's stack in bytes.
pub const STACK_SIZE: usize = 64 * 1024;
/// The number of vCPUs that the runtime supports.
pub const MAX_VCPUS: usize = 4;

/// Defines the program's main function: `fn(Boot) -> Result<(), E>`, where `E: Display`.
///
/// `Ok` ends the guest with success. An error is printed, and ends the guest with failure.
#[macro_export]
macro_rules! entry {
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

unsafe extern "Rust" {
    /// The program's main function, which [`entry!`] defines.
    safe fn guest_main(boot: Boot) -> !;
}

/// Continues the entry where all architectures are alike.
fn start(info: arch::BootInfo) -> ! {
    guest_main(Boot { xen: backend(), info })
}

/// Ends the guest after a line that reports an exception.
fn exception(report: core::fmt::Arguments<'_>) -> ! {
    exit::panicked(report)
}
