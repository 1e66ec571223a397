//! A guest of a simulated control domain, whose console is the terminal's.

use std::io::{self, Write};
use std::process::ExitCode;

use xen_hal::console::Console;
use xen_hal::grant::{GrantError, GrantRefAllocator, GrantTable, Page};
use xen_hal::ring::{DevicePage, YieldWait};
use xen_sim::backend::{Device, Dom0};
use xen_sim::{DomainConfig, DomainSpace, Guest, Hypervisor, Machine, Profile};

/// The guest's console.
pub(crate) type GuestConsole = Console<'static, Hypervisor, YieldWait<Hypervisor>>;

/// Runs a program in a guest with such devices. Lines of standard input are typed when the guest
/// waits for them; after the last, `end` is.
pub(crate) fn run<const N: usize>(
    devices: [Device; N],
    end: &'static str,
    program: impl FnOnce(Guest, &mut GuestConsole) -> Result<(), programs::Error> + Send + 'static,
) -> ExitCode {
    let kernel = move |guest: Guest| {
        // SAFETY: the ring has one owner, as long as the machine runs.
        let mut console = unsafe { Console::open(guest.xen(), |frame| guest.frame(frame)) }?;
        program(guest, &mut console)
    };
    match boot(devices.into(), end, kernel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn boot(
    devices: Vec<Device>,
    end: &'static str,
    kernel: impl FnOnce(Guest) -> Result<(), programs::Error> + Send + 'static,
) -> Result<(), Box<dyn std::error::Error>> {
    let dom0 = Dom0::new();
    let mut machine = Machine::new(Profile::DOM0, 0)?;
    machine.domain(DomainConfig::dom0(), dom0.program())?;
    let guest = machine.domain(DomainConfig::domu(), kernel)?;
    for device in devices {
        dom0.attach(guest, device);
    }
    let mut shown = 0;
    dom0.operate(guest, move |now| {
        if shown < now.printed.len() {
            print!("{}", now.printed[shown..].replace("\r\n", "\n"));
            shown = now.printed.len();
            // A terminal that is gone shows nothing, and the guest goes on.
            let _ = io::stdout().flush();
        } else if now.typed.is_empty() {
            let mut line = String::new();
            let read = io::stdin().read_line(&mut line).unwrap_or(0);
            now.typed.extend_from_slice(if read == 0 { end } else { &line }.as_bytes());
        }
    });
    machine.run()?;
    Ok(())
}

/// The grant table of the guest, and pages that drivers can lend.
#[allow(dead_code, reason = "not every example has devices")]
pub(crate) fn memory(
    guest: Guest,
    count: usize,
) -> Result<(GrantTable<'static, Hypervisor, DomainSpace>, Vec<DevicePage<'static>>), GrantError> {
    let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
    let (xen, space) = (guest.xen(), guest.space());
    // SAFETY: the page is the table's alone, and the guest is not suspended.
    let table = unsafe { GrantTable::map(xen, space, guest.page(1).cast(), refs, 1) }?;
    let page = |index| {
        // SAFETY: the page is the value's alone, as long as the machine runs.
        unsafe { Page::from_raw(&space, guest.page(2 + index).cast()) }.map(DevicePage::from)
    };
    Ok((table, (0..count).map(page).collect::<Result<_, _>>()?))
}
