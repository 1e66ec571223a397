//! The same seed gives the same run, and another one another; and a run in which every fault
//! happens each time.

use xen_hal::platform::PAGE_SIZE;

use crate::support::prelude::*;

/// What was asked, by whom, what came of it and when: in the order in which it happened.
type Log = Arc<Mutex<Vec<Line>>>;
type Line = (u16, u32, &'static str, u64, u64);

const VCPUS: usize = 4;

fn note(guest: Guest, log: &Log, what: &'static str, answer: u64) {
    let line = (guest.domain().0, guest.vcpu().0, what, answer, guest.now().as_nanos() as u64);
    log.lock().expect("nobody panicked").push(line);
}

/// A vCPU that sends, sleeps, computes and asks, as chance has it.
fn work(guest: Guest, log: &Log) {
    for _ in 0..15 {
        let chance = guest.random();
        match chance % 5 {
            0 => {
                let sent =
                    Events::new(guest.xen()).send(Port((chance >> 8) as u32 % VCPUS as u32 + 1));
                note(guest, log, "sent", sent.is_ok().into());
            }
            1 => {
                let until = guest.now() + Duration::from_micros(chance >> 40 & 0xff);
                let polled = Sched::new(guest.xen())
                    .poll(&[], Some(SystemTime::from_nanos(until.as_nanos() as i64)));
                note(guest, log, "polled", polled.is_ok().into());
            }
            2 => guest.advance(Duration::from_nanos(chance >> 50)),
            3 => note(guest, log, "counter", Counter::read(&guest.counter())),
            _ => {
                let times =
                    Vcpu::new(guest.xen(), VcpuId((chance >> 8) as u32 % VCPUS as u32)).runstate();
                note(guest, log, "since", times.map_or(0, |times| times.since.as_nanos() as u64));
            }
        }
    }
    note(guest, log, "done", 0);
    guest.publish(&format!("done {} {}", guest.domain().0, guest.vcpu().0), 1);
}

fn domain(guest: Guest, log: &Log) {
    let t = Table::new(guest);
    let (shared, notes) = (attach(&t), Notes::default());
    notes.note(guest, VECTOR, shared);
    for vcpu in 0..VCPUS {
        t.is("bound", ipi(&t, vcpu as u32), Ok(vcpu + 1));
    }
    let other = Domid(3 - t.domain().0);
    note(guest, log, "set aside", alloc(&t, Domid::SELF, other).unwrap_or_default() as u64);
    t.publish(&format!("ready {}", t.domain().0), 1);
    let _ = t.wait_for_key(&format!("ready {}", other.0));
    let bound = interdomain(&t, other, VCPUS as u32 + 1).unwrap_or_default();
    note(guest, log, "bound", bound as u64);
    guest.enable_interrupts();
    for vcpu in 1..VCPUS {
        let log = Arc::clone(log);
        t.start(vcpu as u32, move |guest| work(guest, &log));
    }
    work(guest, log);
    note(guest, log, "sent", send(&t, bound as u32).is_ok().into());
    for vcpu in 1..VCPUS {
        let _ = t.wait_for_key(&format!("done {} {vcpu}", t.domain().0));
    }
    notes.ports().iter().for_each(|port| note(guest, log, "handled", (*port).into()));
    t.publish(&format!("over {}", t.domain().0), 1);
    let _ = t.wait_for_key(&format!("over {}", other.0));
}

fn run(seed: u64, rates: FaultRates) -> (Report, Vec<Line>) {
    let log = Log::default();
    let mut machine =
        Machine::new(Profile::DOMU, seed).expect("the computer has memory").fault_rates(rates);
    for _ in 0..2 {
        let log = Arc::clone(&log);
        machine
            .domain(DomainConfig::new().vcpus(VCPUS), move |guest| domain(guest, &log))
            .expect("the machine has memory");
    }
    let report = machine.run().unwrap_or_else(|failure| panic!("{failure}"));
    let log = std::mem::take(&mut *log.lock().expect("nobody panicked"));
    (report, log)
}

#[test]
fn a_seed_gives_one_run() {
    for rates in [
        FaultRates::new(),
        FaultRates {
            cancelled_suspends: 0,
            late_upcalls: 4,
            clock_updates: 4,
            ..FaultRates::storm()
        },
    ] {
        let first = run(7, rates);
        assert!(first.1.len() > 60, "{}", first.1.len());
        for again in 1..100 {
            assert_eq!(run(7, rates), first, "run {again}");
        }
    }
}

/// A buffer that crosses a page boundary lies in two frames. Where the host's allocator puts a
/// buffer differs from run to run.
#[test]
fn the_address_of_a_buffer_makes_no_difference() {
    #[repr(align(4096))]
    struct Pages([u8; 2 * PAGE_SIZE]);

    let copies = |offset: usize| {
        let mut machine = Machine::new(Profile::DOMU, 3).expect("the host has memory");
        machine = machine.fault_rates(FaultRates::storm());
        let lender = |guest: Guest| {
            let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
            let (space, place) = (guest.space(), guest.page(1).cast());
            // SAFETY: the page is the table's alone, and the domain is not suspended.
            let table = unsafe { GrantTable::map(guest.xen(), space, place, refs, 1) };
            // SAFETY: the page is used through this value only.
            let page = unsafe { Page::from_raw(&space, guest.page(2).cast()) };
            let (table, page) = (table.expect("a table"), page.expect("a page"));
            let grant = table.lend(page, Domid(2), Access::ReadWrite).expect("a grant");
            guest.publish("reference", grant.reference().0.into());
            let _ = guest.wait_for_key("copied");
            assert!(grant.revoke().is_ok());
        };
        let copier = move |guest: Guest| {
            let (mut pages, grants) = (Box::new(Pages([7; _])), Grants::new(guest.xen()));
            let reference = GrantRef(guest.wait_for_key("reference") as u32);
            let of = ForeignGrant { domain: Domid(1), reference };
            for round in 0..20 {
                let bytes = &mut pages.0[offset..offset + 64];
                assert_eq!(grants.copy_to_grant(&guest.space(), bytes, of, round), Ok(()));
                bytes.fill(0);
                assert_eq!(grants.copy_from_grant(&guest.space(), of, round, bytes), Ok(()));
                assert_eq!(bytes, [7; 64]);
            }
            guest.publish("copied", 1);
        };
        machine.domain(DomainConfig::new(), lender).expect("the machine has memory");
        machine.domain(DomainConfig::new(), copier).expect("the machine has memory");
        machine.run().unwrap_or_else(|failure| panic!("{failure}"))
    };
    let within = copies(0);
    for offset in [PAGE_SIZE - 64, PAGE_SIZE - 63, PAGE_SIZE - 1] {
        assert_eq!(copies(offset), within, "a buffer at {offset}");
    }
}

#[test]
fn seeds_give_runs_of_their_own() {
    let order = |seed| {
        run(seed, FaultRates::new()).1.iter().map(|line| (line.0, line.1)).collect::<Vec<_>>()
    };
    let orders: BTreeSet<_> = (0..20).map(order).collect();
    assert!(orders.len() >= 18, "{} of 20 differ", orders.len());
}

#[test]
fn accesses_to_shared_memory_are_places_to_be_preempted_at() {
    let rates = FaultRates { preempt_hypercalls: 0, preempt_accesses: 2, ..FaultRates::none() };
    let order = |seed| {
        let log = Log::default();
        let noted = Arc::clone(&log);
        let mut machine =
            Machine::new(Profile::DOMU, seed).expect("the computer has memory").fault_rates(rates);
        let program = move |guest: Guest| {
            let t = Table::new(guest);
            let shared = attach(&t);
            let read = move |guest, log: &Log| {
                for word in 0..64 {
                    let _ = shared.evtchn_pending(word % 8).map(|word| word.load(SeqCst));
                    note(guest, log, "read", 0);
                }
            };
            let other = Arc::clone(&noted);
            t.start(1, move |guest| read(guest, &other));
            read(guest, &noted);
        };
        machine.domain(DomainConfig::new().vcpus(2), program).expect("the machine has memory");
        machine.run().unwrap_or_else(|failure| panic!("{failure}"));
        let lines = log.lock().expect("nobody panicked");
        lines.iter().map(|line| line.1).collect::<Vec<_>>()
    };
    let orders: BTreeSet<_> = (0..10).map(order).collect();
    assert!(orders.len() > 5, "{orders:?}");
}

/// Port code without a `Guest`: two vCPUs that add to a variable of the port.
#[test]
fn a_preemption_point_in_port_code_finds_a_race_over_its_own_memory() {
    let lost = |seed, point: bool| {
        let rates = FaultRates { preempt_accesses: 2, ..FaultRates::none() };
        let mut machine =
            Machine::new(Profile::DOMU, seed).expect("the host has memory").fault_rates(rates);
        let count = Arc::new(AtomicU32::new(0));
        let add = move |count: &AtomicU32| {
            for _ in 0..10 {
                let before = count.load(SeqCst);
                if point {
                    Guest::preemption_point();
                }
                count.store(before + 1, SeqCst);
            }
        };
        let (first, second) = (Arc::clone(&count), Arc::clone(&count));
        let program = move |guest: Guest| {
            assert!(Guest::here().is_some());
            guest.start(VcpuId(1), move |_| add(&second)).expect("the vCPU was not started");
            add(&first);
            while Vcpu::new(guest.xen(), VcpuId(1)).is_up() == Ok(true) {
                guest.relax();
            }
        };
        machine.domain(DomainConfig::new().vcpus(2), program).expect("the machine has memory");
        machine.run().unwrap_or_else(|failure| panic!("{failure}"));
        count.load(SeqCst) < 20
    };
    assert!(Guest::here().is_none());
    Guest::preemption_point();
    assert!((0..20).any(|seed| lost(seed, true)));
    assert!(!(0..20).any(|seed| lost(seed, false)));
}

#[test]
fn a_program_gets_on_although_everything_happens_each_time() {
    let always = FaultRates {
        preempt_hypercalls: 1,
        preempt_accesses: 1,
        spurious_upcalls: 1,
        late_upcalls: 1,
        clock_updates: 1,
        counter_lag: 1,
        interrupt_shadow: 1,
        stolen_time: 0,
        cancelled_suspends: 1,
    };
    for seed in 0..20 {
        let mut machine =
            Machine::new(Profile::DOMU, seed).expect("the computer has memory").fault_rates(always);
        let program = move |guest| {
            let table = Table::new(guest);
            let shared = attach(&table);
            let notes = Notes::default();
            notes.note(guest, VECTOR, shared);
            table.is("bound", ipi(&table, 0), Ok(1));
            guest.enable_interrupts();
            table.is("sent", send(&table, 1), OK);
            guest.wait_until(|| notes.ports().contains(&1));
            table.finish()
        };
        machine.domain(DomainConfig::new(), program).expect("the machine has memory");
        if let Err(failure) = machine.run() {
            panic!("{failure}");
        }
    }
}
