//! The programs of the package `programs` print on the simulator what they printed on real Xen:
//! those that a Linux dom0 serves, and two domains that share a page.

#[path = "../../../../xen-hal/sim/examples/support/embassy_net.rs"]
mod embassy_net;
#[path = "../../../../xen-hal/sim/examples/support/peer.rs"]
mod peer;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Arguments;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peer::{ADDRESSES, Peer};
use programs::{
    Arrivals, Deliveries, DevicePages, OFFERED, Peer as Sharing, Services, accept, echo, files,
    offer, restore, tcp_echo,
};
use xen_hal::Xen;
use xen_hal::blk::BlockDevice;
use xen_hal::clock::Monotonic;
use xen_hal::console::Console;
use xen_hal::grant::{
    Access, ForeignGrant, GrantRefAllocator, GrantTable, GrantTablePlace, MapRequest, MapTarget,
    Page,
};
use xen_hal::hypercall::Errno;
use xen_hal::memory::{Extent, WidthLatch};
use xen_hal::net::NetDevice;
use xen_hal::platform::{AddressSpace as _, Interrupts, VcpuId};
use xen_hal::ring::{DevicePage, YieldWait};
use xen_hal::suspend::Setup;
use xen_hal::vcpu::{Area, LongMode};
use xen_hal::xenstore::Store;
use xen_pac::base::Domid;
use xen_pac::hvm::CallbackVia;
use xen_pac::shared_info::SharedInfo;
use xen_sim::backend::{Device, Disk, Dom0, Network, Operator};
use xen_sim::{
    Arch, DomainConfig, DomainSpace, FaultRates, Guest, Hypervisor, Machine, Profile, Role,
    VirtualCounter,
};

use super::machine::ARM_INTERRUPT;
use super::{PLATFORMS, Platform, recorded};

type Outcome<T> = Result<T, Box<dyn Error>>;
type GuestConsole = Console<'static, Hypervisor>;
type GuestStore = Store<'static, Hypervisor>;

/// The sectors of the disks that dom0 makes for `files` and for `restore`.
const DISKS: [usize; 2] = [16384, 128];

/// The platforms where a Linux dom0 serves the guest.
fn served() -> [&'static Platform; 5] {
    let served: Vec<_> = PLATFORMS.iter().filter(|on| on.name.contains("-domu-")).collect();
    served.try_into().expect("x86_64 and x86, each with two releases, and Arm")
}

fn served_on_x86() -> impl Iterator<Item = &'static Platform> {
    served().into_iter().filter(|on| on.profile().arch == Arch::X86)
}

/// Compares lines with a transcript.
fn compare(on: &Platform, name: &str, lines: &[String]) {
    let Some(recorded) = recorded(on, name) else {
        panic!("{} has no transcript of {name}: `cargo xtask guest {name} --record`", on.name)
    };
    assert_eq!(lines, recorded, "{}: {name}", on.name);
}

/// Runs a program in a domU with a device, and returns what it wrote to its console.
fn run(
    on: &Platform,
    rates: FaultRates,
    devices: impl IntoIterator<Item = Device>,
    program: impl FnOnce(Guest, GuestConsole, GuestStore) -> Outcome<()> + Send + 'static,
    operator: impl FnMut(&mut Operator<'_>) + Send + 'static,
) -> Vec<String> {
    let profile = Profile { role: Role::Control, is_compat: false, ..on.profile() };
    let dom0 = Dom0::new();
    let mut machine = Machine::new(profile, 1).expect("there is memory").fault_rates(rates);
    machine.domain(DomainConfig::dom0(), dom0.program()).expect("there is memory for dom0");
    let program = move |guest: Guest| {
        let storage = Box::leak(Box::new([0; Store::STORAGE]));
        // SAFETY: each ring has one owner, as long as the machine runs.
        let console = unsafe { Console::open(guest.xen(), |frame| guest.frame(frame)) }?;
        // SAFETY: as above.
        let store = unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), storage) }?;
        program(guest, console, store)
    };
    let guest = machine.domain(DomainConfig::domu().vcpus(2), program);
    let guest = guest.expect("there is memory for a domain");
    devices.into_iter().for_each(|device| dom0.attach(guest, device));
    dom0.operate(guest, operator);
    machine.run().expect("the program succeeds");
    dom0.printed(guest).lines().map(str::to_owned).collect()
}

/// Returns the grant table of a guest that is not suspended, and pages for its devices.
fn memory(
    guest: Guest,
    count: usize,
) -> Outcome<(GrantTable<'static, Hypervisor, DomainSpace>, Vec<DevicePage<'static>>)> {
    let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
    // SAFETY: the page is the table's alone, and the guest is not suspended.
    let table =
        unsafe { GrantTable::map(guest.xen(), guest.space(), guest.page(1).cast(), refs, 1) }?;
    Ok((table, (2..2 + count).map(|index| lent(guest, index)).collect::<Result<_, _>>()?))
}

/// Takes a page of the guest.
fn page(guest: Guest, index: usize) -> Outcome<Page> {
    // SAFETY: each page is taken once, and used through the value only.
    Ok(unsafe { Page::from_raw(&guest.space(), guest.page(index).cast()) }?)
}

fn lent(guest: Guest, index: usize) -> Outcome<DevicePage<'static>> {
    page(guest, index).map(DevicePage::from)
}

#[test]
fn lines_are_echoed_as_recorded() {
    for on in served() {
        let program = |_, mut console: GuestConsole, _| Ok(echo(&mut console)?);
        let mut is_typed = false;
        let lines = run(on, FaultRates::new(), [], program, move |guest| {
            if !is_typed && !guest.printed.is_empty() {
                guest.typed.extend_from_slice(b"hello\ntwo words\nquit\n");
                is_typed = true;
            }
        });
        compare(on, "echo", &lines);
    }
}

#[test]
fn a_page_is_shared_as_recorded() {
    let shares = PLATFORMS.iter().filter(|on| recorded(on, "peers").is_some());
    for (on, (seed, rates)) in
        shares.flat_map(|on| [(on, (1, FaultRates::new())), (on, (2, FaultRates::storm()))])
    {
        let profile = Profile { is_compat: false, ..on.profile() };
        let lines = Arc::new(Mutex::new(Vec::new()));
        let machine = Machine::new(profile, seed).expect("there is memory");
        let mut machine = machine.fault_rates(rates).dummy_policy();
        let config = match profile.role {
            Role::Guest => {
                let idle = |_| Ok::<(), Errno>(());
                machine.domain(DomainConfig::dom0(), idle).expect("there is memory for dom0");
                DomainConfig::domu()
            }
            role => DomainConfig::new().role(role),
        };
        for (domain, work) in [offers, accepts].into_iter().enumerate() {
            let told = Arc::clone(&lines);
            let program = move |guest| {
                let print = &mut |line: Arguments<'_>| {
                    told.lock().expect("no vCPU panics").push((domain, line.to_string()));
                };
                work(guest, profile.arch, print)
            };
            machine.domain(config, program).expect("there is memory");
        }
        machine.run().expect("both domains succeed");
        let mut lines = lines.lock().expect("no vCPU panics").clone();
        if on.name.starts_with("aarch64-domu-") {
            // There, the lines of one domain's UART follow those of the other's.
            lines.sort_by_key(|(domain, _)| *domain);
        }
        let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
        compare(on, "peers", &lines);
    }
}

/// Attaches the events of one of two domains, and calls a function with what both use.
fn sharing(
    guest: Guest,
    arch: Arch,
    print: &mut dyn FnMut(Arguments<'_>),
    work: impl FnOnce(SharedInfo<'static>, Sharing<'_>) -> Outcome<()>,
) -> Outcome<()> {
    let arrivals: &Arrivals = Box::leak(Box::default());
    let (latch, interrupt) = match CallbackVia::vector(0xf3) {
        Ok(via) if arch == Arch::X86 => (Xen::new(guest.xen()).hvm().set_callback_via(via)?, 0xf3),
        _ => (WidthLatch::new(guest.xen())?, ARM_INTERRUPT),
    };
    // SAFETY: nothing else uses the page, and it is there as long as the machine runs.
    let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
    arrivals.attach(shared);
    guest.on_interrupt(interrupt, || arrivals.handle());
    work(shared, Sharing { arrivals, wait_until: &|done| guest.wait_until(done), print })
}

fn offers(guest: Guest, arch: Arch, print: &mut dyn FnMut(Arguments<'_>)) -> Outcome<()> {
    sharing(guest, arch, print, |_, peer| {
        let (table, _) = memory(guest, 0)?;
        Ok(offer(guest.xen(), &table, page(guest, 2)?, Domid(2), peer)?)
    })
}

fn accepts(guest: Guest, arch: Arch, print: &mut dyn FnMut(Arguments<'_>)) -> Outcome<()> {
    sharing(guest, arch, print, |shared, peer| {
        let place = guest.page(2).cast();
        let frame = guest.space().frame_of(guest.page(2)).ok_or(Errno::EFAULT)?;
        // SAFETY: nothing uses the page.
        unsafe { Xen::new(guest.xen()).memory().decrease_reservation([frame], Extent::PAGE) }?;
        // SAFETY: the frame is empty, and used through the target only.
        let target = unsafe { MapTarget::new(&guest.space(), place) }?;
        let of = ForeignGrant { domain: Domid(1), reference: OFFERED };
        let map = &mut |target| {
            let request = MapRequest { of, access: Access::ReadWrite, target };
            // SAFETY: the grant is another domain's.
            unsafe { Xen::new(guest.xen()).grants().map(request) }
        };
        Ok(accept(guest.xen(), shared, target, Domid(1), map, peer)?)
    })
}

#[test]
fn a_file_system_is_kept_as_recorded() {
    for on in served() {
        let disk = Disk::new(DISKS[0]);
        let boot = |_| {
            let program = |guest: Guest, mut console: GuestConsole, mut store: GuestStore| {
                let (table, mut pages) = memory(guest, 9)?;
                let (xen, device) = (guest.xen(), "device/vbd/51712");
                let mut disk = BlockDevice::connect(xen, &mut store, device, table, &mut pages)?;
                files(&mut console, &mut disk)?;
                Ok(disk.close(&mut store)?)
            };
            run(on, FaultRates::new(), [disk.clone().into()], program, |_| ())
        };
        let lines: Vec<String> = (0..2).flat_map(boot).collect();
        compare(on, "files", &lines);
    }
}

#[test]
fn a_server_and_a_client_echo_as_recorded() {
    for on in served() {
        let peer = Peer::default();
        let program = |guest: Guest, mut console: GuestConsole, mut store: GuestStore| {
            let (table, mut pages) = memory(guest, 18)?;
            let (tx, rx) = pages.split_at_mut(9);
            let xen = guest.xen();
            let mut net = NetDevice::connect(xen, &mut store, "device/vif/0", table, tx, rx)?;
            let now = || guest.now().as_millis() as i64;
            tcp_echo(&mut console, &mut net, ADDRESSES, now, YieldWait::new(xen))?;
            Ok(net.close(&mut store)?)
        };
        let lines = run(on, FaultRates::new(), [peer.network().into()], program, |_| ());
        assert_eq!(peer.check(), ExitCode::SUCCESS);
        compare(on, "tcp", &lines);
    }
}

/// The same by `embassy-net`. The guest prints to Xen's console, as `embassy-tcp` does.
#[test]
fn embassy_s_sockets_echo_as_recorded() {
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let lines = || LINES.lock().expect("no vCPU panics");
    // The driver of Arm's virtual timer does not compile for x86.
    for on in served_on_x86() {
        let peer = Peer::default();
        let program = |guest: Guest, _: GuestConsole, mut store: GuestStore| {
            let (table, pages) = memory(guest, 18)?;
            let (tx, rx) = Box::leak(pages.into_boxed_slice()).split_at_mut(9);
            let xen = guest.xen();
            let net = NetDevice::connect(xen, &mut store, "device/vif/0", table, tx, rx)?;
            let print = |line: Arguments<'_>| {
                LINES.lock().expect("no vCPU panics").push(line.to_string());
            };
            Ok(embassy_net::run(guest, net, print)?)
        };
        run(on, FaultRates::new(), [peer.network().into()], program, |_| ());
        assert_eq!(peer.check(), ExitCode::SUCCESS);
        compare(on, "embassy-tcp", &lines());
        lines().clear();
    }
}

/// Suspends the guest three times. The first suspend is cancelled, as by `xl save -c`; then the
/// guest is restored, and a migration to this host restores it again.
#[test]
fn a_suspended_domain_prints_the_recorded_lines() {
    // Xen on Arm saves no domain.
    let saved = served().into_iter().filter(|on| on.profile().arch == Arch::X86);
    for (on, rates) in
        saved.flat_map(|on| [FaultRates::none(), FaultRates::storm()].map(|rates| (on, rates)))
    {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let printed = Arc::clone(&lines);
        let program = move |guest: Guest, console, store| {
            let mut print = |line: Arguments<'_>| {
                let line = line.to_string();
                if line == "cancelled:" {
                    guest.set_fault_rates(FaultRates { cancelled_suspends: 0, ..rates });
                }
                printed.lock().expect("no vCPU panics").push(line);
            };
            suspended(guest, console, store, &mut print)
        };
        let mut requests = 0;
        let operator = move |now: &mut Operator<'_>| {
            let lines = now.printed.lines();
            if lines.filter(|line| *line == "READY" || line.contains("all works")).count()
                > requests
            {
                requests += 1;
                now.shut_down(if requests <= 3 { "suspend" } else { "poweroff" });
            }
        };
        let devices = [Disk::new(DISKS[1]).into(), Network::new(answer).into()];
        let rates = FaultRates { cancelled_suspends: 1, ..rates };
        run(on, rates, devices, program, operator);
        compare(on, "restore", &lines.lock().expect("no vCPU panics"));
    }
}

/// Answers a question by ARP with the address that it asks for.
fn answer(frame: &[u8], to_guest: &mut VecDeque<Vec<u8>>) {
    const ARP: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    if frame.len() >= 42 && frame[12..22] == ARP {
        let own = [0xfe; 6];
        let (asker, asked) = (&frame[22..32], &frame[38..42]);
        let to = &asker[..6];
        to_guest.push_back([to, &own, &ARP[..9], &[2], &own, asked, asker, &[0; 18]].concat());
    }
}

/// Returns the areas of two vCPUs in one page.
fn areas<T: Send>(guest: Guest, index: usize) -> &'static [Area<T>] {
    let place = guest.page(index).cast::<[Area<T>; 2]>();
    // SAFETY: the page is zeroed, large enough and used for nothing else; zeroes are unregistered
    // areas. Nothing uses them after the machine has run.
    unsafe { place.as_ref() }
}

/// Registers what the guest `restore` registers, and runs its program.
fn suspended(
    guest: Guest,
    mut console: GuestConsole,
    mut store: GuestStore,
    print: &mut dyn FnMut(Arguments<'_>),
) -> Outcome<()> {
    let time_line: &Monotonic = Box::leak(Box::new(Monotonic::new()));
    let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
    let deliveries: &Deliveries = Box::leak(Box::default());
    guest.on_interrupt(0xf3, || deliveries.handle());
    let setup = Setup {
        callback: CallbackVia::vector(0xf3).ok(),
        vcpus: 2,
        dispatcher: Some(&deliveries.dispatcher),
        vcpu_infos: areas(guest, 10),
        runstates: areas(guest, 11),
        times: areas(guest, 12),
        periodic_timer: Some(Duration::from_secs(1)),
        grant_table: Some(GrantTablePlace::new(guest.page(1).cast(), refs, 1)),
        time_line: Some(time_line),
        ..Setup::new(guest.xen(), guest.space(), guest.page(0).cast())
    };
    // SAFETY: the pages and areas are used for nothing else, and outlive the machine.
    let domain = unsafe { setup.register() }.map_err(|error| error.error)?;
    let lent = |index| lent(guest, index);
    let pages = DevicePages {
        disk: [lent(2)?, lent(3)?, lent(4)?],
        tx: [lent(5)?, lent(6)?],
        rx: [lent(7)?, lent(8)?],
    };
    let services = Services {
        console: &mut console,
        store: &mut store,
        counter: VirtualCounter,
        time_line,
        first_word,
        deliveries,
        start_second: &|| start_second(guest, deliveries),
        wait_until: &|done| {
            guest.wait_until(done);
            guest.interrupts().disable();
        },
    };
    let reopen = |console: &mut Console<'_, _>, store: &mut Store<'_, _>| {
        // SAFETY: the toolstack keeps the rings at their frames.
        unsafe { console.reopen(|frame| guest.frame(frame)) }?;
        // SAFETY: as above.
        Ok(unsafe { store.reopen(|frame| guest.frame(frame)) }?)
    };
    restore(domain, page(guest, 9)?, pages, services, reopen, print)?;
    Ok(console.flush()?)
}

/// Starts the second vCPU, as the guests' runtime does: it goes down after each of its events.
fn start_second(guest: Guest, deliveries: &'static Deliveries) -> Result<(), Errno> {
    guest.set_program(VcpuId(1), |guest: Guest| -> Result<(), Errno> {
        loop {
            deliveries.send(guest.xen())?;
            Xen::new(guest.xen()).vcpu(VcpuId(1)).down()?;
        }
    });
    let vcpu = Xen::new(guest.xen()).vcpu(VcpuId(1));
    // SAFETY: the vCPU runs the program that was set.
    match unsafe { vcpu.initialise(&LongMode::new(0x1000, 0x2000, 0x3000)) } {
        // It is still initialised after a suspend that was cancelled.
        Err(error) if error.errno() != Some(Errno::EEXIST) => Err(Errno::EINVAL),
        _ => vcpu.up(),
    }
}

/// Reads the first word of the shared page.
fn first_word() -> u64 {
    let page = Guest::here().expect("a vCPU runs").page(0).cast::<u64>();
    // SAFETY: the page is mapped, and each value of its bytes is a number.
    unsafe { page.as_ptr().read_volatile() }
}
