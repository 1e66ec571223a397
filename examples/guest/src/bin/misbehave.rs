//! Ends badly in the way that its command line asks for, to show that whoever watches guests
//! notices.
#![no_std]
#![no_main]

use core::arch::asm;

use guest::{Boot, Failure, println};
use xen_hal::hypercall::Commands;
use xen_pac::base::Domid;
use xen_pac::hvm::{self, HvmParam, XenHvmParam};
use xen_pac::sched::{SchedShutdown, ShutdownReason, command::Shutdown};

guest::main!(run);

fn run(boot: Boot) -> Result<(), Failure> {
    let way = boot.command_line().split(' ').next_back().unwrap_or_default();
    println!("this guest {way}");
    match way {
        "panics" => panic!("as asked"),
        "fails" => Err(Failure::new("failing", "as asked")),
        "traps" => trap(),
        "faults" => fault(),
        "crashes" => crash(boot),
        "hangs" => hang(),
        "vanishes" => vanish(boot),
        _ => Err(Failure::new("misbehaving", "the command line does not say how")),
    }
}

/// Takes an exception, which the runtime reports.
fn trap() -> ! {
    // SAFETY: the end of the program, as meant.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Takes an exception while there is no table of handlers, which takes another, which takes a
/// third.
fn fault() -> ! {
    let nothing = [0_u8; 10];
    // SAFETY: the end of the program, as meant.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) nothing.as_ptr(), options(noreturn)) }
}

/// Gives Xen an address that it cannot use, for which it destroys the domain.
fn crash(boot: Boot) -> Result<(), Failure> {
    let mut parameter = XenHvmParam::new(Domid::SELF, HvmParam::VM86_TSS, 0xdead_beef_0000);
    // SAFETY: the end of the program, as meant.
    let answer = unsafe { boot.xen.argument_unchecked(hvm::command::SetParam, &mut parameter) };
    println!("Xen answered {answer:?}");
    Err(Failure::new("crashing", "Xen does not mind"))
}

fn hang() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Restarts the machine, past the runtime's own end.
fn vanish(boot: Boot) -> Result<(), Failure> {
    let answer = boot.xen.argument(Shutdown, &mut SchedShutdown::new(ShutdownReason::REBOOT));
    println!("Xen answered {answer:?}");
    Err(Failure::new("vanishing", "Xen does not mind"))
}
