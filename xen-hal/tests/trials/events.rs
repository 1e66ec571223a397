//! Random operations on ports, on two vCPUs at once: mask, unmask, send, and handlers that stop
//! early or send. The simulator counts how often each port became pending: each time it must be
//! handled exactly once, and a handler must run after the last event was sent.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use xen_hal::event::Port;
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_sim::{DomainConfig, Failure, FaultRates, Guest, Machine, Profile, Report};

use super::Interleavings;
use super::kernel::Kernel;

/// How many ports are used.
const PORTS: usize = 6;
/// The distance between them: some share a word of the bitmaps; others have their own, where no
/// other event hides a lost one.
const SPREAD: usize = 40;
/// How often a vCPU gives way before an event that is not handled counts as lost.
const PATIENCE: u32 = 500;
/// How many operations each vCPU performs before the check.
const ACTS: u32 = 8;

/// The counts of a port.
struct Tally {
    /// How often an event was sent, counted before the hypercall.
    sent: AtomicU64,
    /// The value of `sent` when its handler last ran.
    seen: AtomicU64,
    /// How often its handler ran.
    handled: AtomicU64,
}

impl Tally {
    const fn new() -> Self {
        Self { sent: AtomicU64::new(0), seen: AtomicU64::new(0), handled: AtomicU64::new(0) }
    }
}

struct Trial {
    kernel: Arc<Kernel>,
    ports: Vec<Port>,
    tallies: Arc<[Tally; PORTS]>,
    /// How often a vCPU has reached a barrier.
    arrived: AtomicU32,
}

/// Runs `rounds` of random operations on each of two vCPUs.
pub(crate) fn machine(
    seed: u64,
    rounds: u32,
    rates: FaultRates,
    interleavings: Interleavings,
) -> Result<Report, Failure> {
    let mut machine =
        Machine::new(Profile::DOM0, seed).expect("the host has memory").fault_rates(rates);
    let program = move |guest| program(guest, rounds, &interleavings);
    machine.domain(DomainConfig::new().vcpus(2).pages(4), program).expect("the machine has memory");
    machine.run()
}

/// The index of a port among those that are used.
fn index(port: Port) -> Option<usize> {
    let port = (port.0 as usize).checked_sub(1)?;
    (port % SPREAD == 0 && port / SPREAD < PORTS).then_some(port / SPREAD)
}

fn program(guest: Guest, rounds: u32, interleavings: &Interleavings) -> Result<(), Errno> {
    let tallies = Arc::new([const { Tally::new() }; PORTS]);
    let counts = Arc::clone(&tallies);
    let kernel = Kernel::start(guest, move |kernel, port| handle(kernel, port, &counts))?;
    let events = kernel.xen().events();
    let all = (0..PORTS * SPREAD).map(|port| {
        events.bind_ipi(VcpuId((port / SPREAD % 2) as u32)).map(|channel| channel.into_port())
    });
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let ports: Vec<_> = all.into_iter().step_by(SPREAD).collect();
    assert!(ports.iter().enumerate().all(|(at, port)| index(*port) == Some(at)), "{ports:?}");
    ports.iter().skip(1).step_by(2).for_each(|port| kernel.give(*port));
    let trial = Arc::new(Trial { kernel, ports, tallies, arrived: AtomicU32::new(0) });
    let second = Arc::clone(&trial);
    trial.kernel.second(move |guest: Guest| {
        guest.enable_interrupts();
        (1..=rounds).try_for_each(|round| second.round(guest, round))
    })?;
    guest.enable_interrupts();
    for round in 1..=rounds {
        trial.round(guest, round)?;
        interleavings.note(guest.take_trace_hash());
    }
    Ok(())
}

/// Counts, and sometimes stops the dispatch or sends another event.
fn handle(kernel: &Kernel, port: Port, tallies: &[Tally; PORTS]) -> ControlFlow<()> {
    if let Some(index) = index(port) {
        let tally = &tallies[index];
        tally.seen.store(tally.sent.load(Ordering::SeqCst), Ordering::SeqCst);
        tally.handled.fetch_add(1, Ordering::SeqCst);
        if kernel.guest.random() % 8 == 0 {
            tally.sent.fetch_add(1, Ordering::SeqCst);
            kernel.xen().events().send(port).expect("the port is an IPI's");
        }
        if kernel.guest.random() % 4 == 0 {
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

impl Trial {
    fn round(&self, guest: Guest, round: u32) -> Result<(), Errno> {
        (0..ACTS).try_for_each(|_| self.act(guest))?;
        // Unmasks all ports, so that every event is handled. Ports that are not masked are left
        // alone: their events must arrive without help.
        let (me, bitmaps) = (guest.vcpu().0 as usize, self.kernel.bitmaps());
        for port in self
            .ports
            .iter()
            .filter(|port| bitmaps.is_masked(**port) && self.kernel.own[me].contains(**port))
        {
            bitmaps.unmask(self.kernel.xen().events(), *port, &self.kernel.own[me])?;
        }
        self.meet(guest, 4 * round - 2);
        if me == 0 {
            self.judge(guest);
        }
        self.meet(guest, 4 * round);
        Ok(())
    }

    /// A barrier: waits until both vCPUs together have arrived this often.
    fn meet(&self, guest: Guest, arrivals: u32) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        while self.arrived.load(Ordering::SeqCst) < arrivals {
            guest.relax();
        }
    }

    fn act(&self, guest: Guest) -> Result<(), Errno> {
        let (bitmaps, events, me) =
            (self.kernel.bitmaps(), self.kernel.xen().events(), guest.vcpu().0 as usize);
        let port = self.ports[guest.random() as usize % PORTS];
        let own = &self.kernel.own[me];
        let mine = own.contains(port);
        match guest.random() % 8 {
            0 if mine => _ = bitmaps.mask(port),
            1 if mine => bitmaps.unmask(events, port, own)?,
            2 if !mine => bitmaps.unmask(events, port, own)?,
            3 => events.unmask(port)?,
            _ => {
                index(port)
                    .inspect(|index| _ = self.tallies[*index].sent.fetch_add(1, Ordering::SeqCst));
                events.send(port)?;
            }
        }
        Ok(())
    }

    /// Checks that each pending event was handled once. Handlers that still run get time to end.
    fn judge(&self, guest: Guest) {
        for _ in 0..PATIENCE {
            if self.ports.iter().all(|port| self.verdict(guest, *port).is_none()) {
                return;
            }
            guest.relax();
        }
        if let Some(verdict) = self.ports.iter().find_map(|port| self.verdict(guest, *port)) {
            panic!("{verdict}");
        }
    }

    /// What is wrong with a port, if anything.
    fn verdict(&self, guest: Guest, port: Port) -> Option<String> {
        let tally = &self.tallies[index(port)?];
        let (raised, handled) = (guest.times_raised(port), tally.handled.load(Ordering::SeqCst));
        if self.kernel.bitmaps().is_pending(port) {
            return Some(format!("{port:?} is left pending"));
        }
        if raised != handled {
            return Some(format!(
                "{port:?} became pending {raised} times and was handled {handled} times"
            ));
        }
        let (sent, seen) = (tally.sent.load(Ordering::SeqCst), tally.seen.load(Ordering::SeqCst));
        (sent != seen).then(|| {
            format!("{port:?} was signalled {sent} times, and not handled after {seen} of them")
        })
    }
}
