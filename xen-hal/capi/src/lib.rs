//! A C library over xen-hal: `libxen_hal_capi.a`. `cargo xtask header` generates its header,
//! `include/xen_hal.h`, from these files. `storage.rs` has how C structs hold values, and `port.rs`
//! what the port provides.
//!
//! Each function checks what it can: a null or misaligned pointer, and a struct that is not in the
//! state for the call, give an error. Its `Safety` section has what cannot be checked.
#![no_std]

pub mod clock;
pub mod console;
pub mod events;
pub mod grants;
mod port;
mod storage;

use core::ffi::{c_int, c_void};
use core::panic::PanicInfo;

use xen_hal::Xen;
use xen_hal::hypercall::{Errno, Hypercall, detect, install, installed};
use xen_hal::pac::sched::ShutdownReason;

use storage::{bytes, done, errno};

/// The counter of clocks.
#[cfg(not(target_arch = "aarch64"))]
use xen_hal::platform::Tsc as Counter;
/// The counter of clocks.
#[cfg(target_arch = "aarch64")]
use xen_hal::platform::VirtualCounter as Counter;

/// Finds Xen, and the instruction of hypercalls on this processor. Must be called before all other
/// functions but `xen_log`: without it, they return `-ENOSYS` or `-EINVAL`. Further calls do
/// nothing.
///
/// Errors: `-ENODEV` if this is not a Xen guest.
#[unsafe(no_mangle)]
pub extern "C" fn xen_init() -> c_int {
    done(detect().map_err(errno).map(|backend| {
        // A second call installs nothing.
        let _ = install(backend);
    }))
}

/// Makes a hypercall by the instruction that `xen_init` found, and returns Xen's result. For
/// commands without a function in this library. On x86, the inline functions of
/// `xen_guest.h` use only the instruction that `XEN_HYPERCALL` names, which exists on the
/// processors of some vendors only.
///
/// Errors: Xen's; `-ENOSYS` before `xen_init`.
///
/// # Safety
///
/// Each address among the arguments must be valid for what the hypercall reads and writes there,
/// and the program must permit what the hypercall does to the domain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_call(
    number: u32,
    a1: usize,
    a2: usize,
    a3: usize,
    a4: usize,
    a5: usize,
) -> isize {
    // SAFETY: the caller's obligation.
    unsafe { installed().call5(number, a1, a2, a3, a4, a5) }
}

/// Ends the domain. `reason` is one of the `SHUTDOWN_` constants of `xen_guest.h`. Xen accepts any
/// other number too, and passes it to the toolstack. Returns only on an error.
///
/// Errors: `-EINVAL` for `SHUTDOWN_suspend`, which this library does not support.
#[unsafe(no_mangle)]
pub extern "C" fn xen_shutdown(reason: u32) -> c_int {
    done(Xen::new(installed()).sched().shutdown(ShutdownReason(reason)).map(|_| ()))
}

/// Lets Xen run another vCPU.
#[unsafe(no_mangle)]
pub extern "C" fn xen_yield() -> c_int {
    done(Xen::new(installed()).sched().yield_now())
}

/// Writes `length` bytes at `text` to Xen's log, which shows them line by line. On x86 this works
/// in any state; on aarch64 Xen permits it to dom0 and to domains that it started at boot.
///
/// Errors: `-EINVAL` if `text` is null; `-EPERM` on aarch64, if the domain may not.
///
/// # Safety
///
/// `length` bytes must be at `text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_log(text: *const c_void, length: usize) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { bytes(text, length) }.and_then(log))
}

#[cfg(not(target_arch = "aarch64"))]
fn log(text: &[u8]) -> Result<(), Errno> {
    use xen_hal::pac::console::XEN_HVM_DEBUGCONS_IOPORT;
    for byte in text {
        // SAFETY: the port is Xen's, which takes the byte and touches nothing of the guest.
        unsafe {
            core::arch::asm!("out dx, al", in("dx") XEN_HVM_DEBUGCONS_IOPORT, in("al") *byte,
                options(nomem, nostack, preserves_flags));
        }
    }
    Ok(())
}

#[cfg(target_arch = "aarch64")]
fn log(text: &[u8]) -> Result<(), Errno> {
    xen_hal::console::EmergencyConsole::new(xen_hal::hypercall::Hvc).write_all(text)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |place| (place.file(), place.line()));
    // SAFETY: the port provides the function, and the name has that length.
    unsafe { port::xen_panic(file.as_ptr().cast(), file.len(), line) }
}

/// The unwinder's entry, to which the library of a hosted target refers. It is never called: panics
/// abort.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
