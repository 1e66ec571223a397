//! One vCPU waits for another: in no interleaving a wakeup is lost. A lost one is a deadlock, which
//! the simulator reports.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use xen_hal::event::{AllPorts, Port};
use xen_hal::hypercall::Errno;
use xen_hal::platform::{Interrupts, VcpuId};
use xen_sim::{DomainConfig, Failure, FaultRates, Guest, Machine, Profile, Report};

use super::Interleavings;
use super::kernel::Kernel;

/// How the first vCPU waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By `Sched::wait_until`, for what the port's handler does.
    Handler,
    /// By `Sched::wait_until`, for a port that stays masked.
    Masked,
    /// As kernels do: interrupts off, a look, and a halt that lets them in.
    Halt,
}

struct Trial {
    kernel: Arc<Kernel>,
    /// The ports of the first and of the second vCPU.
    ports: [Port; 2],
    sent: AtomicU32,
    handled: Arc<[AtomicU32; 2]>,
}

/// `rounds` times, the second vCPU sends an event while the first goes to sleep for it, and then
/// the other way round.
pub(crate) fn machine(
    way: Way,
    seed: u64,
    rounds: u32,
    interleavings: Interleavings,
) -> Result<Report, Failure> {
    let rates = FaultRates { preempt_accesses: 4, ..FaultRates::new() };
    let mut machine =
        Machine::new(Profile::DOM0, seed).expect("the host has memory").fault_rates(rates);
    let program = move |guest| program(guest, way, rounds, &interleavings);
    machine.domain(DomainConfig::new().vcpus(2).pages(4), program).expect("the machine has memory");
    machine.run()
}

fn program(
    guest: Guest,
    way: Way,
    rounds: u32,
    interleavings: &Interleavings,
) -> Result<(), Errno> {
    let handled = Arc::new([const { AtomicU32::new(0) }; 2]);
    let counts = Arc::clone(&handled);
    let kernel = Kernel::start(guest, move |kernel, _| {
        counts[kernel.guest.vcpu().0 as usize].fetch_add(1, Ordering::SeqCst);
        ControlFlow::Continue(())
    })?;
    let events = kernel.xen().events();
    let ports = [events.bind_ipi(VcpuId(0))?.into_port(), events.bind_ipi(VcpuId(1))?.into_port()];
    kernel.give(ports[1]);
    if way == Way::Masked {
        kernel.bitmaps().mask(ports[0]);
        kernel.bitmaps().mask(ports[1]);
    }
    let trial = Arc::new(Trial { kernel, ports, sent: AtomicU32::new(0), handled });
    let second = Arc::clone(&trial);
    trial.kernel.second(move |_| (1..=rounds).try_for_each(|round| second.round(1, way, round)))?;
    guest.enable_interrupts();
    for round in 1..=rounds {
        trial.round(0, way, round)?;
        interleavings.note(guest.take_trace_hash());
    }
    if way == Way::Masked {
        trial.kernel.bitmaps().unmask(trial.kernel.xen().events(), trial.ports[0], AllPorts)?;
    }
    assert_eq!(trial.sent.load(Ordering::SeqCst), rounds);
    Ok(())
}

impl Trial {
    /// One vCPU's half: the first waits and then answers, the second sends and then waits for the
    /// answer.
    fn round(&self, me: usize, way: Way, round: u32) -> Result<(), Errno> {
        let events = self.kernel.xen().events();
        // Varies the distance between the two vCPUs.
        for _ in 0..self.kernel.guest.random() % 8 {
            let _ = self.kernel.bitmaps().is_masked(self.ports[me]);
        }
        if me == 1 {
            self.kernel.guest.enable_interrupts();
            self.sent.store(round, Ordering::SeqCst);
            events.send(self.ports[0])?;
            return self.wait(1, way, round);
        }
        self.wait(0, way, round)?;
        assert_eq!(
            self.sent.load(Ordering::SeqCst),
            round,
            "what the event announces has been done"
        );
        events.send(self.ports[1])
    }

    fn wait(&self, me: usize, way: Way, round: u32) -> Result<(), Errno> {
        let (guest, port) = (self.kernel.guest, self.ports[me]);
        let arrived = || self.handled[me].load(Ordering::SeqCst) >= round;
        match way {
            Way::Handler => {
                self.kernel.xen().sched().wait_until(&guest.interrupts(), &[port], arrived)
            }
            Way::Masked => {
                self.kernel
                    .xen()
                    .sched()
                    .wait_until(&guest.interrupts(), &[port], || self.kernel.bitmaps().clear(port))
            }
            Way::Halt => {
                guest.interrupts().wait_until(arrived);
                Ok(())
            }
        }
    }
}
