//! The platforms that the simulator has a profile of, and running a program there.

use std::sync::{Arc, Mutex};

use conformance::Failure;
use conformance::random::{self, Plan};
use xen_hal::event::{AllPorts, Events, Port, TwoLevel};
use xen_hal::hypercall::Commands as _;
use xen_hal::memory::WidthLatch;
use xen_hal::platform::AddressSpace as _;
use xen_pac::base::Domid;
use xen_pac::grant_table::command::MapGrantRef;
use xen_pac::grant_table::{GnttabMapGrantRef, GrantReservedRef, grant_map_flags};
use xen_pac::release::Release;
use xen_sim::{Arch, DomainConfig, Guest, Machine, Profile, Role};

use crate::machine::{ARM_INTERRUPT, Simulated};

/// The simulator's profile of a platform, by the platform's name.
pub(crate) fn of(name: &str) -> Option<Profile> {
    let mut parts = name.split('-');
    let (arch, route, release) = (parts.next()?, parts.next()?, parts.next()?);
    let profile = match (arch, route) {
        ("x86_64" | "x86", "dom0" | "vmx") => Profile::DOM0,
        ("x86_64" | "x86", "domu") => Profile::DOMU,
        ("aarch64", "domu") => Profile::DOMU_AARCH64,
        ("aarch64", "dom0less") => Profile::DOM0LESS,
        _ => return None,
    };
    let (major, minor) = release.split_once('.')?;
    let release = Release::new(major.parse().ok()?, minor.parse().ok()?);
    Some(Profile { release, is_compat: arch == "x86", ..profile })
}

/// The words of a random program's plan that describe a platform's guests.
pub(crate) fn words(platform: &str) -> &'static str {
    match platform.split('-').next() {
        Some("x86") => "bits=32",
        Some("aarch64") => "arm=1",
        _ => "",
    }
}

/// The page of domain 0's shared page. Those of the rings come before it.
const SHARED: usize = 2;

/// Maps the grants of the domain's rings, as the daemons of domain 0 do.
fn map_rings(guest: &Guest, program: Domid) {
    for reference in [GrantReservedRef::CONSOLE, GrantReservedRef::XENSTORE] {
        let page = guest.page(reference.0 as usize);
        let Some(frame) = guest.space().frame_of(page) else { continue };
        let flags = grant_map_flags::HOST_MAP.val(1).value;
        let map = GnttabMapGrantRef::new(frame.0 << 12, flags, reference.0, program);
        // SAFETY: nothing else uses the page.
        let _ = unsafe { guest.xen().call_unchecked(MapGrantRef, &mut [map]) };
    }
}

/// Runs a random program, beside a domain 0 and a peer where the platform has them.
pub(crate) fn run_random(on: &Profile, mut plan: String) -> (Vec<String>, Option<String>) {
    let mut machine = Machine::new(*on, 1).expect("there is memory for a machine").dummy_policy();
    let program = Domid(2);
    if on.role == Role::Guest {
        let dom0 = move |guest: Guest| {
            // SAFETY: the simulated domain has the host's width.
            let latch = unsafe { WidthLatch::assume(guest.xen()) };
            let page = guest.page(SHARED).cast();
            // SAFETY: nothing else uses the page.
            let shared = unsafe { latch.map_shared_info(&guest.space(), page) }?;
            // On Arm, events interrupt without a registration.
            guest.on_interrupt(ARM_INTERRUPT, move || {
                if let Some(info) = shared.vcpu_info(0) {
                    let _ = TwoLevel::new(shared).dispatch(info, AllPorts, |_| ());
                }
            });
            let events = Events::new(guest.xen());
            map_rings(&guest, program);
            for port in [1, 2] {
                let _ = events.bind_interdomain(program, Port(port))?.into_port();
            }
            guest.wait_until(|| false);
            Ok::<(), xen_hal::Error>(())
        };
        machine.domain(DomainConfig::dom0(), dom0).expect("there is memory for domain 0");
    }
    if on.role != Role::Control {
        let is_arm = on.arch == Arch::Aarch64;
        let peer = move |guest: Guest| {
            random::offer(&Simulated::new(guest, is_arm, Arc::default()), program)?;
            guest.wait_until(|| false);
            Ok::<(), Failure>(())
        };
        // The toolstack's guest has the ports of the rings and, on Arm, of the UART.
        let config = match on.role {
            Role::Guest => DomainConfig::domu(),
            role => DomainConfig::new().role(role),
        }
        .background();
        machine.domain(config, peer).expect("there is memory for the peer");
        plan = format!("peer=1 {plan}");
    }
    run(machine, on, move |machine| random::run(&machine, Plan::parse(&plan)))
}

/// Runs a program, and returns the lines that it printed, and why it failed.
pub(crate) fn run(
    mut machine: Machine,
    on: &Profile,
    program: impl FnOnce(Simulated) -> Result<(), Failure> + Send + 'static,
) -> (Vec<String>, Option<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let is_arm = on.arch == Arch::Aarch64;
    let config = if on.role == Role::Guest { DomainConfig::domu() } else { DomainConfig::new() };
    let program = move |guest| program(Simulated::new(guest, is_arm, told));
    machine.domain(config.vcpus(2), program).expect("there is memory for a domain");
    let failure = machine.run().err().map(|failure| failure.to_string());
    let lines = lines.lock().expect("no line is being told any more").clone();
    (lines, failure)
}
