//! Ending the guest so that whoever started it learns how it went.
//!
//! An emulator can be given a device that ends it with a status; that is asked first, because it is
//! silent where it does not exist. Xen is asked next: it stops the domain, and what becomes of it
//! then is the toolstack's business.

use core::fmt::Display;

use xen_hal::hypercall::{Commands, detect};
use xen_pac::sched::{SchedShutdown, ShutdownReason, command::Shutdown};

use crate::arch::{self, port};
use crate::println;

/// The port of QEMU's device `isa-debug-exit`, where it was given one: writing `value` ends QEMU
/// with status `2 * value + 1`. Elsewhere nobody listens.
const EXIT_PORT: u16 = 0x501;

/// How a guest ended, as the value for [`EXIT_PORT`].
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Success = 0x10,
    Failure = 0x11,
    Panic = 0x12,
}

/// Ends the guest after a line that says that all went well.
pub fn success() -> ! {
    println!("guest: success");
    end(Status::Success)
}

/// Ends the guest after a line that says what went wrong.
pub fn failure(error: &dyn Display) -> ! {
    println!("guest: failure: {error}");
    end(Status::Failure)
}

/// Ends the guest after a panic has been reported.
pub(crate) fn panicked() -> ! {
    end(Status::Panic)
}

fn end(status: Status) -> ! {
    // SAFETY: at worst nobody listens at that port.
    unsafe { port::write_u16(EXIT_PORT, status as u16) };
    let reason =
        if status == Status::Success { ShutdownReason::POWEROFF } else { ShutdownReason::CRASH };
    if let Ok(xen) = detect() {
        // It does not come back unless Xen refuses, and then there is nothing left to try.
        let _ = xen.argument(Shutdown, &mut SchedShutdown::new(reason));
    }
    arch::stop()
}
