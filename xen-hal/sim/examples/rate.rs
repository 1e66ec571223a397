//! Measures the simulator's hypercalls per second of processor time: on one vCPU, on two that take
//! turns, and when grants are mapped and unmapped.
//!
//! `cargo xtask bench sim` runs this on one processor.

use std::error::Error;
use std::time::Duration;

use xen_hal::Xen;
use xen_hal::grant::{
    Access, ForeignGrant, GrantRef, GrantRefAllocator, GrantTable, MapRequest, MapTarget, Mapping,
    Page,
};
use xen_hal::hypercall::Errno;
use xen_hal::memory::Extent;
use xen_hal::platform::{AddressSpace, VcpuId};
use xen_hal::vcpu::{LongMode, Vcpu};
use xen_pac::base::Domid;
use xen_sim::{DomainConfig, Failure, FaultRates, Guest, Hypervisor, Machine, Profile};

type Problem = Box<dyn Error>;

/// The number of hypercalls of each vCPU.
const CALLS: u32 = 200_000;

fn main() -> Result<(), Problem> {
    println!("{:52} {:>12} {:>8}", "what", "calls/s", "µs");
    rate("one vCPU", 1, FaultRates::none())?;
    rate("two vCPUs, which run until they wait", 2, FaultRates::none())?;
    rate("two vCPUs, preempted as usual", 2, FaultRates::new())?;
    rate(
        "two vCPUs, preempted at each hypercall",
        2,
        FaultRates { preempt_hypercalls: 1, ..FaultRates::new() },
    )?;
    for (what, own) in [("a peer's grant", false), ("an own grant", true)] {
        for mapped in [1, 1000] {
            grants(&format!("{what}, mapped and unmapped, with {mapped} mapped"), own, mapped)?;
        }
    }
    Ok(())
}

/// The processor time of this process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`, and the clock exists on all Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn show(what: &str, took: Duration, calls: f64) {
    println!(
        "{what:52} {:12.0} {:8.2}",
        calls / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / calls
    );
}

fn rate(what: &str, vcpus: u32, rates: FaultRates) -> Result<(), Problem> {
    let mut machine = Machine::new(Profile::DOM0, 1)?.fault_rates(rates);
    machine
        .domain(DomainConfig::new().vcpus(vcpus as usize), move |guest| program(guest, vcpus))?;
    let began = cpu_time();
    let report = machine.run().map_err(|failure: Failure| failure.to_string())?;
    let (took, calls) = (cpu_time() - began, report.hypercalls as f64);
    show(what, took, calls);
    Ok(())
}

fn program(guest: Guest, vcpus: u32) -> Result<(), Errno> {
    let xen = Xen::new(guest.xen());
    for id in 1..vcpus {
        guest.set_program(VcpuId(id), signal);
        let vcpu: Vcpu<_> = xen.vcpu(VcpuId(id));
        // SAFETY: the vCPU runs the program above.
        unsafe { vcpu.initialise(&LongMode::new(0x1000, 0x2000, 0x3000)) }
            .map_err(|_| Errno::EINVAL)?;
        vcpu.up()?;
    }
    signal(guest)?;
    // The others end with the domain.
    while (1..vcpus).any(|id| xen.vcpu(VcpuId(id)).is_up() == Ok(true)) {
        guest.relax();
    }
    Ok(())
}

/// Signals its own channel repeatedly. Interrupts are off, so no handler runs.
fn signal(guest: Guest) -> Result<(), Errno> {
    let channel = Xen::new(guest.xen()).events().bind_ipi(guest.vcpu())?;
    (0..CALLS).try_for_each(|_| channel.send())
}

const LENDER: Domid = Domid(1);
const BORROWER: Domid = Domid(2);
/// How often a grant is mapped and unmapped.
const MAPS: u32 = 10_000;

/// Maps and unmaps a grant while it is mapped at `mapped` other frames.
fn grants(what: &str, own: bool, mapped: usize) -> Result<(), Problem> {
    let mut machine = Machine::new(Profile::DOMU, 1)?.fault_rates(FaultRates::none());
    let config = DomainConfig::new().pages(DomainConfig::MAX_PAGES);
    let title = what.to_owned();
    let measure = move |guest: Guest, reference| {
        let took = map(guest, reference, mapped)?;
        show(&title, took, (2 * MAPS).into());
        Ok::<_, Problem>(())
    };
    let lend = move |guest: Guest, to| -> Result<GrantRef, Problem> {
        let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
        let (space, place) = (guest.space(), guest.page(0).cast());
        // SAFETY: the page is reserved for the table, of which there is no other.
        let table = unsafe { GrantTable::map(guest.xen(), space, place, refs, 1) }?;
        // SAFETY: the page is used through this value alone.
        let page = unsafe { Page::from_raw(&space, guest.page(1).cast()) }?;
        let grant = table.lend(page, to, Access::ReadWrite)?;
        let reference = grant.reference();
        core::mem::forget(grant);
        Ok(reference)
    };
    if own {
        machine.domain(config, move |guest| measure(guest, lend(guest, LENDER)?))?;
    } else {
        machine.domain(config, move |guest| {
            guest.publish("grant", lend(guest, BORROWER)?.0.into());
            guest.wait_for_key("done");
            Ok::<_, Problem>(())
        })?;
        machine.domain(config, move |guest| {
            measure(guest, GrantRef(guest.wait_for_key("grant") as u32))?;
            guest.publish("done", 1);
            Ok::<_, Problem>(())
        })?;
    }
    machine.run().map_err(|failure: Failure| failure.to_string())?;
    Ok(())
}

/// Maps the lender's grant at `mapped` frames, then maps and unmaps it once more, repeatedly.
fn map(guest: Guest, reference: GrantRef, mapped: usize) -> Result<Duration, Problem> {
    let xen = Xen::new(guest.xen());
    let at = |index: usize| -> Result<Mapping<'static, Hypervisor>, Problem> {
        let (space, page) = (guest.space(), guest.page(index));
        let frame = space.frame_of(page).ok_or("each page has a frame")?;
        // SAFETY: nothing is kept in the page.
        unsafe { xen.memory().decrease_reservation([frame], Extent::PAGE) }?;
        // SAFETY: the frame is empty, and used through the target alone.
        let target = unsafe { MapTarget::new(&space, page.cast()) }?;
        let of = ForeignGrant { domain: LENDER, reference };
        let request = MapRequest { of, access: Access::ReadWrite, target };
        // SAFETY: nothing uses the page that the grant lends.
        Ok(unsafe { xen.grants().map(request) }?)
    };
    let others: Vec<_> = (0..mapped).map(|index| at(index + 2)).collect::<Result<_, _>>()?;
    let mut mapping = at(mapped + 2)?;
    let began = cpu_time();
    for _ in 0..MAPS {
        let of = ForeignGrant { domain: LENDER, reference };
        let request = MapRequest { of, access: Access::ReadWrite, target: mapping.unmap()? };
        // SAFETY: as above.
        mapping = unsafe { xen.grants().map(request) }?;
    }
    let took = cpu_time() - began;
    mapping.unmap()?;
    for other in others {
        other.unmap()?;
    }
    Ok(took)
}
