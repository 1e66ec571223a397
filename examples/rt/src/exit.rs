//! Ends the guest with a status, and handles panics.
//!
//! First a line on the console reports the status. Then the emulator's exit device is written, if
//! there is one. Last, a hypercall shuts the domain down; on Arm, PSCI powers it off.

use core::fmt::{self, Display};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use xen_pac::sched::ShutdownReason;

use crate::{arch, println};

/// The status of a guest, as the emulator's exit device takes it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Success = 0x10,
    Failure = 0x11,
    Panic = 0x12,
}

/// Ends the guest after a line that reports success.
pub fn success() -> ! {
    println!("guest: success");
    end(Status::Success)
}

/// Ends the guest after a line that reports `error`.
pub fn failure(error: &dyn Display) -> ! {
    println!("guest: failure: {error}");
    end(Status::Failure)
}

fn end(status: Status) -> ! {
    arch::exit_emulator(status as u8);
    let reason =
        if status == Status::Success { ShutdownReason::POWEROFF } else { ShutdownReason::CRASH };
    // If the call succeeds, it does not return. If there is no Xen, or Xen refuses, the vCPU halts
    // below.
    arch::shut_down(reason);
    arch::stop()
}

/// True once a panic is being reported.
static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let message = info.message();
    match info.location() {
        Some(place) => panicked(format_args!("at {place}: {message}")),
        None => panicked(format_args!("at an unknown place: {message}")),
    }
}

/// Ends the guest after a line that reports a panic or an exception.
pub(crate) fn panicked(report: fmt::Arguments<'_>) -> ! {
    // A panic while another is being reported is not reported.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        println!("guest: panic {report}");
    }
    end(Status::Panic)
}
