//! A guest of the simulator's control domain: console and xenstore over real grants and channels,
//! with the processor taken away at any access, through a restore, to a clean shutdown.

mod block;
mod capi;
mod devices;
mod hostile;
mod net;
mod resume;

use std::error::Error;
use std::sync::{Arc, Mutex};

use xen_hal::Xen;
use xen_hal::console::Console;
use xen_hal::ring::YieldWait;
use xen_hal::sched::Resumed;
use xen_hal::xenbus::{ShutdownControl, ShutdownRequest};
use xen_hal::xenstore::{Store, StoreEvent, Tree};
use xen_pac::sched::ShutdownReason;
use xen_sim::backend::{Dom0, Operator};
use xen_sim::{DomainConfig, FaultRates, Guest, Hypervisor, Machine, Profile, for_each_seed};

/// A loop that waits for the backend ends long before this, even under the storm.
const ATTEMPTS: u32 = 100_000;

type GuestConsole<'a> = Console<'a, Hypervisor, YieldWait<Hypervisor>>;
type GuestStore<'a> = Store<'a, Hypervisor, YieldWait<Hypervisor>>;

/// Echoes lines until the toolstack asks it to stop; survives being restored.
fn kernel(guest: Guest) -> Result<(), Box<dyn Error>> {
    let xen = guest.xen();
    let mut storage = [0; Store::STORAGE];
    // SAFETY: each ring has one owner, as long as the machine runs.
    let console = unsafe { Console::open(xen, |frame| guest.frame(frame)) }?;
    // SAFETY: as above.
    let store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
    let wait = || YieldWait::new(xen).attempts(ATTEMPTS);
    let (mut console, mut store) = (console.with_wait(wait()), store.with_wait(wait()));

    let mut control = ShutdownControl::watch(&mut store)?;
    store.write("data/count", "0")?;
    writeln!(console, "ready")?;
    loop {
        echo(&mut console, &mut store)?;
        match shutdown_request(&control, &mut store)? {
            None => {}
            Some(ShutdownRequest::Suspend) => {
                console.flush()?;
                // SAFETY: the domain has registered nothing.
                if unsafe { Xen::new(xen).sched().suspend() }? == Resumed::Restored {
                    // SAFETY: the toolstack keeps the rings at their frames.
                    unsafe { console.reopen(|frame| guest.frame(frame)) }?;
                    // SAFETY: as above.
                    unsafe { store.reopen(|frame| guest.frame(frame)) }?;
                    assert_eq!(store.event(&mut [0; 64])?, Some(StoreEvent::Reset));
                    control = ShutdownControl::watch(&mut store)?;
                    // The restored domain has a different number, and so a different node.
                    assert_eq!(store.exists("data/count"), Ok(false));
                    store.write("data/count", "0")?;
                    writeln!(console, "restored")?;
                }
            }
            Some(_) => break,
        }
        Xen::new(xen).sched().yield_now()?;
    }
    writeln!(console, "bye")?;
    console.flush()?;
    Ok(())
}

/// Echoes what was typed, and counts it in xenstore.
fn echo(console: &mut GuestConsole<'_>, store: &mut GuestStore<'_>) -> Result<(), Box<dyn Error>> {
    let mut keys = [0; 16];
    let count = console.try_read(&mut keys)?;
    if count > 0 {
        console.write_all(&keys[..count])?;
        store.transaction(|tree| {
            let before: usize = tree.read_number("data/count")?;
            tree.write_number("data/count", before + count)
        })?;
    }
    Ok(())
}

/// Returns the toolstack's request, if an event announces that there may be one.
fn shutdown_request(
    control: &ShutdownControl,
    store: &mut GuestStore<'_>,
) -> Result<Option<ShutdownRequest>, Box<dyn Error>> {
    let mut buffer = [0; 4096];
    let mut asked = false;
    while let Some(event) = store.event(&mut buffer)? {
        asked |=
            !matches!(event, StoreEvent::Watch { token, .. } if token != ShutdownControl::TOKEN);
    }
    Ok(if asked { control.take(store)? } else { None })
}

/// Types, waits for the echo, suspends, types again, shuts down.
fn operator() -> impl FnMut(&mut Operator<'_>) + Send {
    let long: String = ('a'..='z').cycle().take(3000).collect();
    let mut step = 0;
    move |now| {
        let lines = now.printed.lines().count();
        let text = format!("{long}\n");
        let echoes = now.printed.matches(&text).count();
        let next = match step {
            0 => now.printed.contains("ready\r\n"),
            1 => echoes == 1,
            2 => now.printed.contains("restored\r\n") || lines > 3,
            3 => echoes == 2,
            _ => false,
        };
        if !next {
            return;
        }
        step += 1;
        match step {
            1 | 3 => now.typed.extend_from_slice(text.as_bytes()),
            2 => now.shut_down("suspend"),
            _ => now.shut_down("poweroff"),
        }
    }
}

#[test]
fn a_guest_echoes_is_restored_and_shuts_down() {
    for rates in [FaultRates::none(), FaultRates::new(), FaultRates::storm()] {
        // A suspend that is cancelled leaves the operator waiting.
        let rates = FaultRates { cancelled_suspends: 0, ..rates };
        for_each_seed(12, |seed| {
            let dom0 = Dom0::new();
            let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(rates);
            machine.domain(DomainConfig::dom0(), dom0.program())?;
            let domu = machine.domain(DomainConfig::domu(), kernel)?;
            dom0.operate(domu, operator());
            let report = machine.run()?;
            let printed = dom0.printed(domu);
            assert!(printed.starts_with("ready\r\nabc"), "{printed}");
            assert_eq!(printed.lines().collect::<Vec<_>>().len(), 5, "{printed}");
            assert!(printed.ends_with("\nbye\r\n"), "{printed}");
            assert_eq!(report.shutdown_reasons[&domu.0], ShutdownReason::POWEROFF);
            Ok(report)
        });
    }
}

#[test]
fn several_guests_have_their_own_rings() {
    for_each_seed(10, |seed| {
        let dom0 = Dom0::new();
        let names = Arc::new(Mutex::new(Vec::new()));
        let mut machine = Machine::new(Profile::DOM0, seed)?;
        machine.domain(DomainConfig::dom0(), dom0.program())?;
        let mut guests = Vec::new();
        for _ in 0..3 {
            let names = Arc::clone(&names);
            guests.push(machine.domain(
                DomainConfig::domu(),
                move |guest: Guest| -> Result<(), Box<dyn Error>> {
                    let (mut storage, mut buffer) = ([0; Store::STORAGE], [0; 4096]);
                    let map = |frame| guest.frame(frame);
                    // SAFETY: the ring has one owner, as long as the machine runs.
                    let mut store = unsafe { Store::open(guest.xen(), map, &mut storage) }?;
                    let name = store.read_str("name", &mut buffer)?.to_string();
                    let map = |frame| guest.frame(frame);
                    // SAFETY: as above.
                    let mut console = unsafe { Console::open(guest.xen(), map) }?;
                    write!(console, "{name}")?;
                    console.flush()?;
                    names.lock().unwrap().push(name);
                    Ok(())
                },
            )?);
        }
        let report = machine.run()?;
        for guest in guests {
            assert_eq!(dom0.printed(guest), format!("guest-{guest}"));
        }
        let mut names = std::mem::take(&mut *names.lock().unwrap());
        names.sort_unstable();
        assert_eq!(names, ["guest-1", "guest-2", "guest-3"]);
        Ok(report)
    });
}
