//! Fails in the way that its command line names, to test that each failure is reported.
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Boot, Failure, println};
use xen_hal::hypercall::Commands;
use xen_pac::sched::{SchedShutdown, ShutdownReason, command::Shutdown};

rt::entry!(main);

fn main(boot: Boot) -> Result<(), Failure> {
    let way = boot.command_line().split(' ').next_back().unwrap_or_default();
    println!("this guest {way}");
    match way {
        "panics" => panic!("as asked"),
        "fails" => Err(Failure::new("failing", "as asked")),
        "traps" => trap(),
        #[cfg(not(target_arch = "aarch64"))]
        "triple-faults" => x86::fault(),
        #[cfg(not(target_arch = "aarch64"))]
        "crashes" => x86::crash(boot),
        "hangs" => loop {
            core::hint::spin_loop();
        },
        "vanishes" => vanish(boot),
        _ => Err(Failure::new("misbehaving", "expected a way on the command line")),
    }
}

/// Takes an exception, which the runtime reports.
fn trap() -> ! {
    // SAFETY: the program ends here.
    #[cfg(not(target_arch = "aarch64"))]
    unsafe {
        asm!("ud2", options(noreturn))
    }
    // SAFETY: the program ends here.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("udf #0", options(noreturn))
    }
}

/// Restarts the domain without the line that reports how the guest ended.
fn vanish(boot: Boot) -> Result<(), Failure> {
    let answer = boot.xen.call(Shutdown, &mut SchedShutdown::new(ShutdownReason::REBOOT));
    println!("Xen answered {answer:?}");
    Err(Failure::new("vanishing", "Xen refuses the shutdown"))
}

#[cfg(not(target_arch = "aarch64"))]
mod x86 {
    use super::*;
    use xen_pac::base::Domid;
    use xen_pac::hvm::{self, HvmParam, XenHvmParam};

    /// Takes an exception without a table of handlers, which takes a second and a third one.
    pub(super) fn fault() -> ! {
        let nothing = [0_u8; 10];
        // SAFETY: the program ends here.
        unsafe { asm!("lidt [{}]", "ud2", in(reg) nothing.as_ptr(), options(noreturn)) }
    }

    /// Passes Xen an invalid address, for which Xen destroys the domain.
    pub(super) fn crash(boot: Boot) -> Result<(), Failure> {
        let mut parameter = XenHvmParam::new(Domid::SELF, HvmParam::VM86_TSS, 0xdead_beef_0000);
        // SAFETY: the program ends here.
        let answer = unsafe { boot.xen.call_unchecked(hvm::command::SetParam, &mut parameter) };
        println!("Xen answered {answer:?}");
        Err(Failure::new("crashing", "Xen accepts the address"))
    }
}
