//! The control domain's services, beside what was recorded on real Xen.

use std::fmt::Arguments;
use std::fs;
use std::sync::{Arc, Mutex};

use programs::{DISTURB, DISTURBED, browse, probe};
use xen_hal::console::{Console, ConsoleError};
use xen_hal::xenstore::{Store, StoreError};
use xen_pac::base::Domid;
use xen_sim::backend::Dom0;
use xen_sim::{DomainConfig, FaultRates, Guest, Hypervisor, Machine, Profile};

use crate::support::{ARM_DOM0, release};

/// Runs a program in a domU, which that control domain serves.
fn run(
    dom0: &Dom0,
    profile: Profile,
    seed: u64,
    rates: FaultRates,
    program: impl FnOnce(Guest) -> Result<(), programs::Error> + Send + 'static,
) {
    // The toolstack's grants and channels are no leaks of the guest.
    let mut machine = Machine::new(profile, seed).unwrap().fault_rates(rates).fail_on_leaks();
    machine.domain(DomainConfig::dom0(), dom0.program()).unwrap();
    machine.domain(DomainConfig::domu(), program).unwrap();
    machine.run().unwrap();
}

fn open_console(guest: Guest) -> Result<Console<'static, Hypervisor>, ConsoleError> {
    // SAFETY: each ring has one owner, as long as the machine runs.
    unsafe { Console::open(guest.xen(), |frame| guest.frame(frame)) }
}

fn open_store(guest: Guest, storage: &mut [u8]) -> Result<Store<'_, Hypervisor>, StoreError> {
    // SAFETY: each ring has one owner, as long as the machine runs.
    unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), storage) }
}

#[test]
fn xenstore_answers_as_recorded() {
    for (platform, profile) in [
        ("x86_64-domu-4.17", Profile::DOM0),
        ("x86_64-domu-4.20", release(20, Profile::DOM0)),
        ("x86-domu-4.17", Profile::DOM0),
        ("x86-domu-4.20", release(20, Profile::DOM0)),
        ("aarch64-domu-4.17", ARM_DOM0),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/conformance/transcripts");
        let recorded = fs::read_to_string(format!("{folder}/{platform}/xenstore.txt")).unwrap();
        let recorded: Vec<&str> = recorded.lines().filter(|line| !line.starts_with('#')).collect();
        for rates in [FaultRates::none(), FaultRates::storm()] {
            assert_eq!(probed(profile, rates), recorded, "{platform}");
        }
    }
}

/// Returns the lines of the program that was recorded.
fn probed(profile: Profile, rates: FaultRates) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let dom0 = Dom0::new();
    let mut is_disturbed = false;
    dom0.operate(Domid(1), move |guest| {
        if !is_disturbed && guest.printed.contains(DISTURB) {
            guest.store.set(&format!("/local/domain/1/{DISTURBED}"), "dom0");
            guest.typed.push(b'\n');
            is_disturbed = true;
        }
    });
    run(&dom0, profile, 7, rates, move |guest| {
        let (mut console, mut storage) = (open_console(guest)?, [0; Store::STORAGE]);
        let mut store = open_store(guest, &mut storage)?;
        let tell = &mut |line: Arguments<'_>| told.lock().unwrap().push(line.to_string());
        probe(&mut store, &mut console, tell)
    });
    std::mem::take(&mut lines.lock().unwrap())
}

#[test]
fn the_browser_shows_what_the_toolstack_made() {
    let dom0 = Dom0::new();
    run(&dom0, Profile::DOM0, 1, FaultRates::new(), |guest| {
        let (mut console, mut storage) = (open_console(guest)?, [0; Store::STORAGE]);
        let mut store = open_store(guest, &mut storage)?;
        browse(&mut console, &mut store, "cat name; watch data/x; set data/x 7; cat data/x; quit")
    });
    let printed = dom0.printed(Domid(1));
    let expected = "> cat name\nguest-1\n> watch data/x\nchanged: data/x\n> set data/x 7\n\
                    > cat data/x\n7\nchanged: data/x\n> quit\n";
    // When an event is shown depends on when it arrives.
    let mut lines: Vec<&str> = printed.lines().collect();
    let mut expected: Vec<&str> = expected.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}
