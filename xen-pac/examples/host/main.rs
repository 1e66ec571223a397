//! The shared page over ordinary memory, with a thread that plays the hypervisor.
//!
//! The hypervisor rebases the clock and raises events as fast as it can; the guest reads the clock
//! and handles the events. In the end every reading of the clock must have lain within the true
//! time around it, and every event that was raised must have been handled exactly once.
//! `cargo run -p host-example` tells the first steps line by line, and its exit status is the
//! verdict.

mod guest;
mod hypervisor;

use std::process::ExitCode;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::thread;

use xen_pac::shared_info::{SharedInfo, raw};

use crate::guest::Guest;
use crate::hypervisor::{Hypervisor, MASKED_PORT, PORTS};

fn main() -> ExitCode {
    let page = NonNull::from(Box::leak(Box::new(raw::SharedInfo::ZEROED)));
    // SAFETY: the page is leaked, so it stays for good, and from here on it is touched through
    // handles only.
    let shared = unsafe { SharedInfo::from_ptr(page) };
    let hypervisor = Hypervisor::new(shared);
    let mut guest = Guest::new(shared, &hypervisor);

    guest.mask(MASKED_PORT);
    println!("guest: masks port {MASKED_PORT}");
    let raised = thread::scope(|scope| {
        let raising = scope.spawn(|| hypervisor.run());
        guest.run();
        raising.join()
    });
    let Ok(raised) = raised else {
        println!("verdict: the hypervisor's thread panicked");
        return ExitCode::FAILURE;
    };
    verdict(&guest, &raised, hypervisor.rebases.load(Ordering::Relaxed))
}

/// Compares what the guest saw with what was done to it.
fn verdict(guest: &Guest<'_>, raised: &[u64; PORTS], rebases: u64) -> ExitCode {
    let clock_right = guest.wrong_readings == 0 && guest.readings > 0;
    println!(
        "clock : {} readings during {rebases} updates, {} read again because an update came in between, {} wrong",
        guest.readings, guest.retries, guest.wrong_readings
    );
    let mut events_right = raised[MASKED_PORT as usize] > 0;
    for (port, (raised, handled)) in raised
        .iter()
        .zip(&guest.handled)
        .enumerate()
        .filter(|(_, (raised, handled))| raised != handled)
    {
        println!("events: port {port} was raised {raised} times and handled {handled} times");
        events_right = false;
    }
    println!(
        "events: {} raised, {} handled",
        raised.iter().sum::<u64>(),
        guest.handled.iter().sum::<u64>()
    );
    if clock_right && events_right {
        println!("verdict: no reading of the clock was torn, and each event was seen once");
        ExitCode::SUCCESS
    } else {
        println!("verdict: WRONG");
        ExitCode::FAILURE
    }
}
