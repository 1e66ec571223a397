//! How many hypercalls a second the simulator carries out: on one vCPU, and where two pass the
//! baton to each other.
//!
//! `cargo xtask bench sim` runs this on one processor.

use std::error::Error;
use std::time::Instant;

use xen_hal::Xen;
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::{LongMode, Vcpu};
use xen_sim::{DomainConfig, Failure, FaultRates, Guest, Machine, Profile};

/// How many hypercalls each vCPU makes.
const CALLS: u32 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:52} {:>12} {:>8}", "what", "calls/s", "µs");
    rate("one vCPU", 1, FaultRates::none())?;
    rate("two vCPUs, which run until they wait", 2, FaultRates::none())?;
    rate("two vCPUs, preempted as usual", 2, FaultRates::new())?;
    rate(
        "two vCPUs, preempted at each hypercall",
        2,
        FaultRates { preempt_hypercalls: 1, ..FaultRates::new() },
    )?;
    Ok(())
}

fn rate(what: &str, vcpus: u32, rates: FaultRates) -> Result<(), Box<dyn Error>> {
    let mut machine = Machine::new(Profile::DOM0, 1)?.fault_rates(rates);
    machine
        .domain(DomainConfig::new().vcpus(vcpus as usize), move |guest| program(guest, vcpus))?;
    let began = Instant::now();
    let report = machine.run().map_err(|failure: Failure| failure.to_string())?;
    let (took, calls) = (began.elapsed(), report.hypercalls as f64);
    println!(
        "{what:52} {:12.0} {:8.2}",
        calls / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / calls
    );
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

/// Signals a channel of its own again and again: an operation that does something and tells nobody,
/// since interrupts are off.
fn signal(guest: Guest) -> Result<(), Errno> {
    let channel = Xen::new(guest.xen()).events().bind_ipi(guest.vcpu())?;
    (0..CALLS).try_for_each(|_| channel.send())
}
