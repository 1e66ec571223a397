//! Suspend and restore with every subsystem in use: ten in a row, some of them cancelled; and each
//! hypercall of a registration failing in turn.

#![allow(clippy::result_large_err, reason = "the errors return everything that is registered")]

use std::num::NonZero;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xen_hal::clock::{Clock, Instant, Monotonic, PvClock, SystemTime};
use xen_hal::console::Console;
use xen_hal::event::{Channel, Dispatcher, Drain, EventError, Listener, Port, TwoLevel};
use xen_hal::grant::{
    Access, DeferredGrant, ForeignGrant, GrantError, GrantRef, GrantRefAllocator, GrantTablePlace,
    MapRequest, Page,
};
use xen_hal::hvm::{UpcallVector, parameter};
use xen_hal::hypercall::Errno;
use xen_hal::memory::Extent;
use xen_hal::platform::{AddressSpace, VcpuId};
use xen_hal::ring::YieldWait;
use xen_hal::suspend::{Registered, RestoreError, Setup, Suspended};
use xen_hal::vcpu::{Area, VcpuError};
use xen_hal::xenstore::{Store, Tree};
use xen_hal::{Error, Xen};
use xen_pac::base::{Domid, Virq};
use xen_pac::hvm::CallbackVia;
use xen_pac::hypercall::HypercallNr;
use xen_pac::shared_info::raw;
use xen_pac::vcpu::Runstate;
use xen_sim::backend::Dom0;
use xen_sim::{
    DomainConfig, DomainSpace, Fault, FaultRates, Guest, Hypervisor, Machine, Profile, Snapshot,
    for_each_seed, runs_all_seeds,
};

const FIRST: VcpuId = VcpuId(0);
const VECTOR: u8 = 0xf3;
const OWN_VECTOR: u8 = 0x40;
/// The pages of the domain: the shared page, two pages of the grant table, areas, a page that is
/// lent, and a frame at which a foreign page is mapped.
const SHARED: usize = 0;
const TABLE: usize = 1;
const AREAS: usize = 3;
const LENT: usize = 8;
const TARGET: usize = 9;
const TABLE_PAGES: usize = 2;

type Domain = Registered<Hypervisor, DomainSpace>;

/// The areas of two vCPUs in one page.
fn areas<T: Send>(guest: Guest, page: usize) -> &'static [Area<T>] {
    let place = guest.page(page).cast::<[Area<T>; 2]>();
    // SAFETY: the page is zeroed, large enough and used for nothing else; zeroes are unregistered
    // areas. Nothing uses them after the machine has run.
    unsafe { place.as_ref() }
}

/// A setup of everything.
fn setup(guest: Guest, counter: &'static Counter) -> Setup<Hypervisor, DomainSpace> {
    let refs: &'static GrantRefAllocator<TABLE_PAGES> = Box::leak(Box::default());
    let table = guest.page(TABLE).cast();
    Setup {
        callback: CallbackVia::vector(VECTOR).ok(),
        vcpus: 2,
        upcall_vector: UpcallVector::new(OWN_VECTOR).ok(),
        periodic_timer: Some(Duration::from_secs(100)),
        vcpu_infos: areas(guest, AREAS),
        dispatcher: Some(&counter.dispatcher),
        runstates: areas(guest, AREAS + 1),
        times: areas(guest, AREAS + 2),
        grant_table: Some(GrantTablePlace::new(table, refs, TABLE_PAGES as u32)),
        time_line: Some(Box::leak(Box::new(Monotonic::new()))),
        ..Setup::new(guest.xen(), guest.space(), guest.page(SHARED).cast())
    }
}

fn register(guest: Guest, counter: &'static Counter) -> Domain {
    // SAFETY: the pages are used for nothing else, and nothing outlives the machine.
    unsafe { setup(guest, counter).register() }.expect("no hypercall fails")
}

fn now(guest: Guest, domain: &Domain) -> Result<SystemTime, Error> {
    let info = domain.vcpu_info(FIRST).ok_or(Errno::ENOENT)?;
    let features = Xen::new(guest.xen()).version().features()?;
    Ok(PvClock::new(features, info.time(), guest.counter())?.now())
}

fn page(guest: Guest, index: usize) -> Page {
    // SAFETY: the page is the value's alone.
    unsafe { Page::from_raw(&guest.space(), guest.page(index).cast()) }.expect("it is a page")
}

/// Counts the events of each port, which the dispatcher of the setup hands to the handler of the
/// domain's vector.
struct Counter {
    dispatcher: Dispatcher<2>,
    events: [AtomicU32; 64],
}

impl Counter {
    fn new() -> &'static Self {
        let events = [const { AtomicU32::new(0) }; 64];
        Box::leak(Box::new(Self { dispatcher: Dispatcher::new(), events }))
    }

    fn install(&'static self, guest: Guest) {
        guest.on_interrupt(VECTOR, move || {
            let _: Drain = self.dispatcher.dispatch(FIRST, |it| {
                self.events[it.0 as usize].fetch_add(1, Ordering::Relaxed);
            });
        });
        guest.on_interrupt(OWN_VECTOR, move || guest.end_of_interrupt());
        guest.enable_local_apic(true);
    }

    fn listen(&self, channel: Channel<Hypervisor>) -> Listener<'_, Hypervisor> {
        self.dispatcher.listen(channel, FIRST).expect("the setup has attached the dispatcher")
    }

    fn of(&self, port: Port) -> u32 {
        self.events[port.0 as usize].load(Ordering::Relaxed)
    }
}

/// Uses every subsystem once. Everything that is checked needs its registration.
fn use_everything(guest: Guest, domain: &Domain, counter: &Counter, round: u32) {
    let (xen, line) = (Xen::new(guest.xen()), setup_line(domain));
    // Events, by both vectors.
    let ipi = counter.listen(xen.events().bind_ipi(FIRST).expect("a port is free"));
    let before = counter.of(ipi.port());
    ipi.send().expect("it is an IPI");
    guest.wait_until(|| counter.of(ipi.port()) > before);
    // The clock and a timer, set to a moment of the kernel's own time.
    let timer = counter.listen(xen.events().bind_virq(Virq::TIMER, FIRST).expect("it is free"));
    let start = line.instant(now(guest, domain).expect("there is a clock"));
    let deadline = start + Duration::from_millis(3);
    let fired = counter.of(timer.port());
    let at = line.system_time(deadline);
    xen.vcpu(FIRST).set_singleshot_timer(at).expect("it is the vCPU's own");
    guest.wait_until(|| counter.of(timer.port()) > fired);
    let woken = line.instant(now(guest, domain).expect("there is a clock"));
    assert!(woken >= deadline && woken - deadline < Duration::from_secs(1), "{woken:?}");
    // The watchdog, parameters and the wallclock.
    let second = NonZero::new(60).expect("it is not 0");
    let watchdog = xen.sched().start_watchdog(second).expect("both are free");
    watchdog.stop().expect("it runs");
    let via = xen.hvm().get(parameter::CALLBACK_IRQ).expect("it can be read");
    assert_eq!(via, CallbackVia::vector(VECTOR).expect("it is no exception"));
    assert!(domain.shared_info().wallclock().sec > 0);
    // Run times and the copy of the time.
    let flag = domain.update_flag().expect("Xen marks them");
    let times = domain.runstate(FIRST).expect("they are registered");
    assert_eq!(
        (times.read(flag).state, times.read_own().state),
        (Runstate::RUNNING, Runstate::RUNNING)
    );
    // Grants of its own.
    let table = domain.grant_table().expect("it is registered");
    assert_eq!((table.frames(), table.available()), (2, 1024 - 8));
    let grant = table.lend(page(guest, LENT), Domid(7), Access::ReadOnly).expect("one is free");
    drop(grant.revoke().expect("no peer uses it"));
    // A page of another domain.
    guest.publish(&format!("number {round}"), guest.domain().0.into());
    let reference = guest.wait_for_key(&format!("lent {round}"));
    let frame = guest.space().frame_of(guest.page(TARGET)).expect("a page has a frame");
    // SAFETY: nothing is kept in the page; it has no memory from the second time on.
    let _ = unsafe { xen.memory().decrease_reservation([frame], Extent::PAGE) };
    // SAFETY: the frame is used through one target at a time.
    let target = unsafe { domain.map_target(guest.page(TARGET).cast()) }.expect("it is a page");
    let of = ForeignGrant { domain: Domid(2), reference: GrantRef(reference as u32) };
    // SAFETY: the grant is another domain's.
    let mapping = unsafe { xen.grants().map(MapRequest { of, access: Access::ReadOnly, target }) };
    let mut byte = [0];
    mapping.expect("the page is lent").copy_to(0, &mut byte).expect("a page has bytes");
    assert_eq!(byte, [round as u8]);
    guest.publish(&format!("read {round}"), 1);
}

fn setup_line(domain: &Domain) -> &'static Monotonic {
    domain.time_line().expect("the setup has one")
}

/// Lends a page to the other domain in each round, by its number in that round.
fn lender(guest: Guest, rounds: u32) {
    let refs: &'static GrantRefAllocator<1> = Box::leak(Box::default());
    let setup = Setup {
        grant_table: Some(GrantTablePlace::new(guest.page(TABLE).cast(), refs, 1)),
        ..Setup::new(guest.xen(), guest.space(), guest.page(SHARED).cast())
    };
    // SAFETY: as in `register`.
    let domain = unsafe { setup.register() }.expect("no hypercall fails");
    let table = domain.grant_table().expect("it is registered");
    for round in 0..rounds {
        let page = page(guest, LENT);
        page.copy_from(0, &[round as u8]).expect("a page has bytes");
        let peer = Domid(guest.wait_for_key(&format!("number {round}")) as u16);
        let grant = table.lend(page, peer, Access::ReadOnly).expect("one is free");
        guest.publish(&format!("lent {round}"), grant.reference().0.into());
        guest.wait_for_key(&format!("read {round}"));
        drop(grant);
    }
}

/// The console and xenstore of the domain, whose rings are at the same frames after a restore.
struct Rings<'a> {
    console: Console<'a, Hypervisor, YieldWait<Hypervisor>>,
    store: Store<'a, Hypervisor, YieldWait<Hypervisor>>,
}

impl<'a> Rings<'a> {
    fn open(guest: Guest, storage: &'a mut [u8]) -> Self {
        let wait = || YieldWait::new(guest.xen()).attempts(100_000);
        // SAFETY: each ring has one owner, as long as the machine runs.
        let console = unsafe { Console::open(guest.xen(), |frame| guest.frame(frame)) };
        // SAFETY: as above.
        let store = unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), storage) };
        Self {
            console: console.expect("there is a console").with_wait(wait()),
            store: store.expect("there is a store").with_wait(wait()),
        }
    }

    fn reopen(&mut self, guest: Guest) {
        // SAFETY: the toolstack keeps the rings at their frames.
        unsafe { self.console.reopen(|frame| guest.frame(frame)) }.expect("there is a console");
        // SAFETY: as above.
        unsafe { self.store.reopen(|frame| guest.frame(frame)) }.expect("there is a store");
    }

    fn use_both(&mut self, round: u32) {
        self.store.write("data/round", round.to_string()).expect("the store answers");
        let read = self.store.read_number::<u32>("data/round").expect("the store answers");
        writeln!(self.console, "round {read}").expect("the console takes it");
        self.console.flush().expect("the console is read");
    }
}

/// What is kept across a suspend.
struct Kept {
    channel: Channel<Hypervisor>,
    deferred: DeferredGrant,
    instant: Instant,
}

fn keep(guest: Guest, domain: &Domain) -> Kept {
    let table = domain.grant_table().expect("it is registered");
    // A peer that does not let go of two pages; one grant is dropped and one deferred.
    let lend = || {
        let grant = table.lend(page(guest, LENT), Domid(7), Access::ReadOnly).expect("free");
        set_flags(guest, grant.reference(), |flags| flags | 8);
        grant
    };
    drop(lend());
    let deferred = table.recover(lend().defer()).expect_err("the peer uses the page");
    assert_eq!((table.reclaim(), table.available()), (0, 1024 - 8 - 2));
    Kept {
        channel: Xen::new(guest.xen()).events().bind_ipi(FIRST).expect("a port is free"),
        deferred,
        instant: setup_line(domain).instant(now(guest, domain).expect("there is a clock")),
    }
}

/// Changes the flags of an entry of the grant table, as Xen does when a peer uses the page.
fn set_flags(guest: Guest, reference: GrantRef, change: impl Fn(u16) -> u16) {
    let entry = guest.page(TABLE).cast::<u16>().as_ptr().wrapping_add(4 * reference.0 as usize);
    // SAFETY: the entry is in the mapped table.
    let flags = unsafe { entry.read_volatile() };
    // SAFETY: as above.
    unsafe { entry.write_volatile(change(flags)) };
}

fn suspend(guest: Guest, domain: Domain) -> Suspended<Hypervisor, DomainSpace> {
    xen_hal::platform::Interrupts::disable(&guest.interrupts());
    let time = now(guest, &domain).expect("there is a clock");
    domain.suspend(time).expect("Xen does not refuse")
}

#[test]
fn ten_suspends_in_a_row_with_everything_in_use() {
    const ROUNDS: u32 = 11;
    let ends = Arc::new(Mutex::new([0; 2]));
    let counted = Arc::clone(&ends);
    for_each_seed(20, move |seed| {
        let rates = FaultRates { cancelled_suspends: 3, ..FaultRates::none() };
        let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(rates);
        let ends = Arc::clone(&counted);
        let dom0 = Dom0::new();
        machine.domain(DomainConfig::dom0(), dom0.program())?;
        let domu =
            machine.domain(DomainConfig::domu().vcpus(2).pages(64), move |guest: Guest| {
                let mut storage = [0; Store::STORAGE];
                let mut rings = Rings::open(guest, &mut storage);
                rings.use_both(0);
                let counter = Counter::new();
                let mut domain = register(guest, counter);
                counter.install(guest);
                use_everything(guest, &domain, counter, 0);
                for round in 1..ROUNDS {
                    let kept = keep(guest, &domain);
                    let (registered, restored) = match suspend(guest, domain) {
                        Suspended::Cancelled(domain) => (domain, false),
                        Suspended::Restored(restored) => {
                            let again = restored.register(|domain| now(guest, domain));
                            (again.expect("no hypercall fails"), true)
                        }
                    };
                    domain = registered;
                    ends.lock().unwrap()[usize::from(restored)] += 1;
                    let events = Xen::new(guest.xen()).events();
                    let Kept { channel, deferred, instant } = kept;
                    let table = domain.grant_table().expect("it is registered");
                    let read = setup_line(&domain).instant(now(guest, &domain).expect("a clock"));
                    assert!(read >= instant && read - instant < Duration::from_secs(1), "{read:?}");
                    assert_eq!(channel.is_current(), !restored);
                    if restored {
                        rings.reopen(guest);
                        assert_eq!(channel.status(), Err(Errno::EINVAL));
                        let new = events.bind_ipi(FIRST).expect("a port is free");
                        assert_eq!(new.port(), channel.port(), "the number is in use again");
                        drop(channel);
                        new.close().expect("the old channel has not closed it");
                    } else {
                        channel.close().expect("it is open");
                        // The peer lets go now.
                        for reference in 8..32 {
                            set_flags(guest, GrantRef(reference), |flags| flags & !8);
                        }
                        assert_eq!(table.reclaim(), 1);
                    }
                    table.recover(deferred).map(drop).expect("no peer uses the page");
                    use_everything(guest, &domain, counter, round);
                    rings.use_both(round);
                }
            })?;
        machine.domain(DomainConfig::domu(), |guest| lender(guest, ROUNDS))?;
        let report = machine.run()?;
        let lines: String = (0..ROUNDS).map(|round| format!("round {round}\r\n")).collect();
        assert_eq!(dom0.printed(domu), lines);
        Ok(report)
    });
    let ends = *ends.lock().unwrap();
    let all = ends.iter().all(|count| *count > 30);
    assert!(all || !runs_all_seeds(), "cancelled and restored: {ends:?}");
}

type Registration = Result<Domain, RestoreError<Hypervisor, DomainSpace>>;

/// Registers with hypercall `fails` failing, and continues after that. Returns what Xen knows then,
/// and the number of hypercalls.
fn with_failure(
    guest: Guest,
    fails: Option<u64>,
    register: impl FnOnce() -> Registration,
) -> (Domain, Snapshot, u64) {
    let before = guest.hypercalls();
    if let Some(fails) = fails {
        guest.fail(Fault::Nth(fails, Errno::EIO));
    }
    let result = register();
    guest.clear_faults();
    let domain = match (result, fails) {
        (Ok(domain), None) => domain,
        (Err(RestoreError { restored, error, .. }), Some(_)) => {
            assert!(format!("{error:?}").contains("EIO"), "{error:?}");
            let now = |domain: &Domain| match now(guest, domain) {
                // Arm has no such clock.
                Err(Error::Clock(_)) => Ok(SystemTime::default()),
                time => time,
            };
            restored.register(now).expect("none fails now")
        }
        (result, _) => panic!("with {fails:?} failing: {result:?}"),
    };
    (domain, guest.snapshot(), guest.hypercalls() - before)
}

/// Registers at boot and after a restore, with hypercall `fails` failing each time, and once more
/// without. Xen knows the same each time. Returns how many hypercalls each took.
fn registrations(fails: Option<u64>) -> [u64; 3] {
    let slot = Arc::new(Mutex::new([0; 3]));
    let filled = Arc::clone(&slot);
    let mut machine = Machine::new(Profile::DOMU, 1).unwrap().fault_rates(FaultRates::none());
    let kernel = move |guest: Guest| {
        let counter = Counter::new();
        // SAFETY: as in `register`.
        let boot = || unsafe { setup(guest, counter).register() };
        let (domain, at_boot, boot) = with_failure(guest, fails, boot);
        let restore = |domain, fails| match suspend(guest, domain) {
            Suspended::Restored(restored) => {
                with_failure(guest, fails, || restored.register(|domain| now(guest, domain)))
            }
            Suspended::Cancelled(_) => panic!("no suspend is cancelled"),
        };
        let (domain, restored, first) = restore(domain, fails);
        let (domain, undisturbed, second) = restore(domain, None);
        for snapshot in [&at_boot, &restored] {
            // The bytes of pages to which Xen writes times are others.
            let timed = [SHARED, AREAS, AREAS + 1, AREAS + 2]
                .map(|index| guest.space().frame_of(guest.page(index)).expect("it has a frame"));
            let timed = timed.map(|frame| format!(": frame {}:", frame.0));
            let mut difference = undisturbed.difference(snapshot);
            difference.retain(|line| !timed.iter().any(|frame| line.contains(frame)));
            assert!(difference.is_empty(), "{fails:?} fails:\n{}", difference.join("\n"));
        }
        *filled.lock().unwrap() = [boot, first, second];
        counter.install(guest);
        use_everything(guest, &domain, counter, 0);
    };
    machine.domain(DomainConfig::new().vcpus(2).pages(64), kernel).unwrap();
    machine.domain(DomainConfig::new(), |guest| lender(guest, 1)).unwrap();
    machine.run().unwrap_or_else(|failure| panic!("with {fails:?} failing: {failure}"));
    let calls = slot.lock().unwrap();
    *calls
}

#[test]
fn each_hypercall_of_a_registration_can_fail_and_be_repeated() {
    let [boot, first, second] = registrations(None);
    assert_eq!((boot, first, second), (16, 17, 17), "the last one reads the features");
    for fails in 1..=boot {
        // The version of the grant table is asked for again with the page that was not mapped.
        let [at_boot, restored, undisturbed] = registrations(Some(fails));
        for repeated in [at_boot - boot, restored - first] {
            assert!((1..=2).contains(&repeated), "{fails}: {repeated} hypercalls more");
        }
        assert_eq!(undisturbed, second);
    }
}

/// A domain is registered without the flag on a Xen that lacks it. Other errors are returned.
#[test]
fn a_xen_without_the_update_flag_does_not_end_a_restore() {
    for (errno, is_lacking) in
        [(Errno::EINVAL, true), (Errno::ENOSYS, true), (Errno::EPERM, false), (Errno::EIO, false)]
    {
        let mut machine = Machine::new(Profile::DOMU, 1).unwrap().fault_rates(FaultRates::none());
        let kernel = move |guest: Guest| {
            let domain = register(guest, Counter::new());
            assert!(domain.update_flag().is_some());
            let Suspended::Restored(restored) = suspend(guest, domain) else {
                panic!("no suspend is cancelled")
            };
            guest.fail(Fault::Each(HypercallNr::VM_ASSIST, errno));
            match restored.register(|domain| now(guest, domain)) {
                Ok(domain) => {
                    assert!(is_lacking && domain.update_flag().is_none());
                    let area = domain.runstate(FIRST).expect("it is registered");
                    assert_eq!(area.read_own().state, Runstate::RUNNING);
                }
                Err(RestoreError { error, .. }) => {
                    let text = format!("{error:?}");
                    assert!(!is_lacking && text.contains(&format!("{errno:?}")), "{text}");
                }
            }
        };
        machine.domain(DomainConfig::new().vcpus(2).pages(64), kernel).unwrap();
        machine.run().unwrap_or_else(|failure| panic!("with {errno:?}: {failure}"));
    }
}

/// A clock that is common to all vCPUs: a time line does not note its readings.
struct Common(Guest);

impl Clock for Common {
    fn now(&self) -> SystemTime {
        SystemTime::from_nanos(self.0.now().as_nanos() as i64)
    }

    fn is_common(&self) -> bool {
        true
    }
}

/// Arm has no callback to set, no vectors and no periodic timers, and refuses to map a page twice.
#[test]
fn a_guest_on_arm_is_restored_too() {
    let restored = |fails: Option<u64>| {
        let calls = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&calls);
        let rates = FaultRates::none();
        let mut machine = Machine::new(Profile::DOM0LESS, 1).unwrap().fault_rates(rates);
        let kernel = move |guest: Guest| {
            let Setup { vcpu_infos, runstates, grant_table, time_line, .. } =
                setup(guest, Counter::new());
            let page = guest.page(SHARED).cast();
            let (xen, space) = (guest.xen(), guest.space());
            let setup =
                Setup { vcpu_infos, runstates, grant_table, ..Setup::new(xen, space, page) };
            let setup = Setup { time_line, ..setup };
            // SAFETY: as in `register`.
            let domain = unsafe { setup.register() }.expect("no hypercall fails");
            let time = || Common(guest).now();
            guest.advance(Duration::from_secs(9));
            let before = Common(guest).instant(setup_line(&domain));
            let Suspended::Restored(restored) = domain.suspend(time()).expect("it is suspended")
            else {
                panic!("no suspend is cancelled")
            };
            let restore = || restored.register(|_| Ok(time()));
            let (domain, _, calls) = with_failure(guest, fails, restore);
            *counted.lock().unwrap() = calls;
            assert!(Common(guest).instant(setup_line(&domain)) >= before);
            let table = domain.grant_table().expect("it is registered");
            assert_eq!((table.frames(), table.available()), (2, 1024 - 8));
            assert!(table.slot().is_ok());
            let ipi = Xen::new(xen).events().bind_ipi(FIRST).expect("a port is free");
            ipi.send().expect("it is an IPI");
            assert!(TwoLevel::new(domain.shared_info()).is_pending(ipi.port()));
        };
        machine.domain(DomainConfig::new().vcpus(2).pages(64), kernel).unwrap();
        machine.run().unwrap_or_else(|failure| panic!("with {fails:?} failing: {failure}"));
        let calls = calls.lock().unwrap();
        *calls
    };
    let calls = restored(None);
    assert!(calls > 8, "{calls}");
    (1..=calls).for_each(|fails| assert!(restored(Some(fails)) > calls, "{fails}"));
}

/// Without the types' help: what refuses to work after a restore.
#[test]
fn what_is_not_registered_again_is_refused() {
    let mut machine = Machine::new(Profile::DOMU, 1).unwrap().fault_rates(FaultRates::none());
    let kernel = |guest: Guest| {
        let domain = register(guest, Counter::new());
        let latch = domain.latch();
        let table = domain.grant_table().expect("it is registered");
        let (free, frames) = (table.available(), table.frames());
        // SAFETY: the table is tried below, and this is what is tested; nothing else is used.
        unsafe { Xen::new(guest.xen()).sched().suspend() }.expect("no suspend fails");
        for _ in 0..3 {
            assert_eq!(table.slot().unwrap_err(), GrantError::TableLost);
            let lent = table.lend(page(guest, LENT), Domid(7), Access::ReadOnly).unwrap_err();
            assert_eq!(lent.error(), GrantError::TableLost);
        }
        assert_eq!((table.available(), table.frames()), (free, frames), "none is lost");
        let area: &Area<raw::VcpuInfo> = areas(guest, AREAS).first().expect("there are two");
        let stale = area.reregister(&guest.space(), latch);
        assert_eq!(stale, Err(VcpuError::StaleLatch));
    };
    machine.domain(DomainConfig::new().vcpus(2).pages(64), kernel).unwrap();
    machine.run().unwrap();
}

/// A dispatcher finds nothing from the suspend to the end of the registration, and then what is
/// listened to anew; after a cancelled suspend it continues. A channel from before a restore is
/// closed, or its number is another's.
#[test]
fn a_dispatcher_follows_the_suspend() {
    for_each_seed(20, |seed| {
        let rates = FaultRates { cancelled_suspends: 2, ..FaultRates::none() };
        let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(rates);
        let kernel = |guest: Guest| {
            let counter = Counter::new();
            let domain = register(guest, counter);
            let events = Xen::new(guest.xen()).events();
            let bind = || events.bind_ipi(FIRST).expect("a port is free");
            let [old, other] = [(); 2].map(|()| counter.listen(bind()));
            let rings = |listener: &Listener<'_, Hypervisor>| {
                let before = counter.of(listener.port());
                listener.send().expect("it is an IPI");
                let dispatched = |it: Port| {
                    counter.events[it.0 as usize].fetch_add(1, Ordering::Relaxed);
                };
                assert_eq!(counter.dispatcher.dispatch(FIRST, dispatched), Drain::Finished);
                counter.of(listener.port()) - before
            };
            assert_eq!([rings(&old), rings(&other)], [1, 1]);
            let restored = match suspend(guest, domain) {
                Suspended::Cancelled(_) => return assert_eq!([rings(&old), rings(&other)], [1, 1]),
                Suspended::Restored(restored) => restored,
            };
            assert!(!counter.dispatcher.mask(old.port()), "it has no bitmaps");
            assert_eq!(old.unmask(FIRST), Err(EventError::NotAttached));
            assert_eq!(counter.dispatcher.dispatch(FIRST, |_| panic!()), Drain::Finished);
            let error = counter.dispatcher.listen(bind(), FIRST).expect_err("it is not attached");
            assert_eq!(error.error, EventError::NotAttached);
            drop(error.channel);
            let _domain = restored.register(|domain| now(guest, domain)).expect("none fails");
            // The number is free: Xen refuses. `status` and `migrate` refuse by themselves.
            assert_eq!(old.send(), Err(Errno::EINVAL));
            let new = counter.listen(bind());
            assert_eq!(new.port(), old.port());
            // The number is in use: this signals the new channel.
            let before = counter.of(new.port());
            old.send().expect("the number is an IPI's");
            let _ = counter.dispatcher.dispatch(FIRST, |it| {
                counter.events[it.0 as usize].fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(counter.of(new.port()) - before, 1);
            assert_eq!(old.channel().status(), Err(Errno::EINVAL));
            assert_eq!(old.migrate(FIRST, || ()), Err(EventError::Stale(old.port())));
            drop((old, other));
            assert_eq!(rings(&new), 1, "it is open, listened to and not masked");
        };
        machine.domain(DomainConfig::new().vcpus(2).pages(64), kernel)?;
        Ok(machine.run()?)
    });
}
