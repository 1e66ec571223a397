//! A domain that goes elsewhere, or does not.

use xen_pac::hvm::command as hvm;
use xen_pac::sched::command as sched;
use xen_pac::shared_info::raw;
use xen_pac::vcpu::command as vcpu;
use xen_pac::vcpu::raw as runs;

use crate::support::prelude::*;

fn suspend(t: &Table) -> Answer {
    t.give(sched::Shutdown, &mut SchedShutdown::new(ShutdownReason::SUSPEND))
}

fn callback(t: &Table) -> u64 {
    let mut asked = XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, 1);
    t.is("callback", t.give(hvm::GetParam, &mut asked), OK);
    asked.value
}

fn remove(t: &Table, page: usize) -> Answer {
    t.give(
        memory::command::RemoveFromPhysmap,
        &mut XenRemoveFromPhysmap::new(Domid::SELF, t.frame(page)),
    )
}

fn watchdog(t: &Table, id: u32) -> Answer {
    t.give(sched::Watchdog, &mut SchedWatchdog::new(id, 5))
}

/// Registers one of everything that there is to register.
fn register_all(t: &Table) {
    let _ = attach(t);
    t.is("ports", [ipi(t, 0), virq(t, Virq::TIMER.0, 0)], [Ok(1), Ok(2)]);
    t.is("version 2", set_version(t, 2).0, OK);
    t.is("and 1", set_version(t, 1).0, OK);
    map_table(t, 1);
    put(t, 1, 8, entry(PERMIT, t.domain(), t.frame(5)));
    rows! { t;
        "a mapping",
            map(t, t.frame(9) * 4096, host_map(), 8, t.domain()).0 => Ok(GrantStatus::OKAY);
        "a block",
            t.give_vcpu(vcpu::RegisterVcpuInfo, 0, &mut VcpuRegisterVcpuInfo::new(t.frame(2), 0))
            => OK;
        "a vector",
            t.give(hvm::SetEvtchnUpcallVector, &mut XenHvmEvtchnUpcallVector::new(0, 0x40)) => OK;
        "a watchdog", watchdog(t, 0) => Ok(1);
    }
    let due = (t.now() + Duration::from_secs(1)).as_nanos() as u64;
    t.is(
        "a timer",
        t.give_vcpu(vcpu::SetSingleshotTimer, 0, &mut VcpuSetSingleshotTimer::new(due, 0)),
        OK,
    );
    set_byte(t.page(20), 0, 99);
}

#[test]
fn elsewhere_nothing_is_registered() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        register_all(t);
        let before = t.now();
        rows! { t;
            "suspended, and restored", suspend(t) => OK;
            "ports",
                [1, 2].map(|port| status(t, Domid::SELF, port)) => [Ok(EvtchnState::CLOSED); 2];
            "callback", callback(t) => 0;
            "the shared page is mapped nowhere", remove(t, 0) => ENOENT;
            "nor is the table", remove(t, 1) => ENOENT;
            "nor what was mapped of others", remove(t, 9) => ENOENT;
            "memory is as it was", byte(t.page(20), 0) => 99;
            "watchdogs", watchdog(t, 1) => EINVAL;
        }
        // Nothing ends the domain, and no interrupt without a handler comes.
        t.enable_interrupts();
        t.advance(Duration::from_secs(30));
        t.is(
            "time is another machine's",
            t.now().abs_diff(before) > Duration::from_secs(31)
                || t.now() < before + Duration::from_secs(30),
            true,
        );
        let shared = map_shared(t, 0);
        t.is("the block is in the shared page again", marks(block(shared, 0)), (false, 0));
        let notes = Notes::default();
        notes.note(**t, VECTOR, attach(t));
        rows! { t;
            "events come by the domain's vector",
                (ipi(t, 0), send(t, 1), notes.ports()) => (Ok(1), OK, vec![1]);
        }
        // The handler does not know of the block that comes now.
        xen_hal::platform::Interrupts::disable(&t.interrupts());
        t.is(
            "another can be registered",
            t.give_vcpu(vcpu::RegisterVcpuInfo, 0, &mut VcpuRegisterVcpuInfo::new(t.frame(2), 0)),
            OK,
        );
        map_table(t, 1);
        rows! { t;
            "nothing is lent", map(t, t.frame(9) * 4096, host_map(), 8, t.domain()).0
                => Ok(GrantStatus::GENERAL_ERROR);
        }
    });
}

#[test]
fn what_is_called_off_changes_nothing() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        register_all(t);
        t.set_fault_rates(FaultRates { cancelled_suspends: 1, ..FaultRates::none() });
        let (before, time, via) = (t.snapshot(), t.now(), callback(t));
        t.is("called off", suspend(t), Ok(1));
        t.is("nothing has changed", before.difference(&t.snapshot()), Vec::<String>::new());
        t.is("time goes on", (t.now() - time) < Duration::from_millis(1), true);
        t.is("callback", callback(t), via);
        t.is("ports", status(t, Domid::SELF, 1), Ok(EvtchnState::IPI));
        t.is("watchdogs", watchdog(t, 1), OK);
    });
}

/// What the HAL keeps of areas is enough to register them again, and the handles from before are
/// good again.
#[test]
fn areas_are_registered_again_by_the_hal() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let _ = attach(t);
        let xen = Xen::new(t.xen());
        let latch = || WidthLatch::new(t.xen()).expect("the callback can be read and set");
        // SAFETY: the page is the area's alone, and nothing of it is used after the machine has
        // run.
        let info = unsafe { t.area::<raw::VcpuInfo>(3) };
        // SAFETY: as above.
        let times = unsafe { t.area::<runs::VcpuRunstateInfo>(4) };
        let own = xen
            .vcpu(VcpuId(0))
            .register_vcpu_info(&t.space(), latch(), info)
            .expect("the area is fit");
        // SAFETY: there is one address space.
        let run = unsafe { xen.vcpu(VcpuId(0)).register_runstate(latch(), times) }
            .expect("the area is fit");
        t.is("taken", take(attach(t), own), vec![]);
        t.is("suspended, and restored", suspend(t), OK);

        let shared = attach(t);
        t.is("written no longer", (ipi(t, 0), send(t, 1), marks(own)), (Ok(1), OK, (false, 0)));
        t.is("taken from the shared page", take(shared, block(shared, 0)), vec![1]);
        t.is("again", info.reregister(&t.space(), latch()), Ok(()));
        t.is("and the times", times.reregister(&t.space(), latch()), Ok(()));
        t.is("looks everywhere once", take(shared, own), vec![]);
        t.is("told by the old handle", (send(t, 1), take(shared, own)), (OK, vec![1]));
        t.is("its times are kept", run.read_own().state, Runstate::RUNNING);
        let again = info.reregister(&t.space(), latch());
        t.is("not twice", again, Err(VcpuError::Errno(Errno::EINVAL)));
    });
}

#[test]
fn a_domain_goes_elsewhere_after_centuries_too() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        // As many nanoseconds as a signed number has no room for.
        t.advance(Duration::from_nanos(1 << 63));
        let before = t.now();
        t.is("suspended", suspend(t), OK);
        t.is("earlier by the other machine's count", t.now() < before, true);
    });
}

/// What reads of a page return, by words.
fn word(page: std::ptr::NonNull<u8>, index: usize) -> u32 {
    let place = page.cast::<u32>().as_ptr().wrapping_add(index);
    // SAFETY: the page is mapped, even as a hole.
    unsafe { place.read_volatile() }
}

#[test]
fn after_a_restore_pages_of_xens_are_holes_until_they_are_mapped_again() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = attach(t);
        map_table(t, 1);
        shared.evtchn_mask(0).expect("a word").swap(7, SeqCst);
        t.is("suspended, and restored", suspend(t), OK);
        for page in [0, 1] {
            rows! { t;
                "reads return ones",
                    [0, 99, 1023].map(|at| word(t.page(page), at)) => [u32::MAX; 3];
            }
            set_byte(t.page(page), 9, 0);
            t.is("callback", callback(t), 0);
            t.is("writes are lost", byte(t.page(page), 9), 0xff);
            let arguments = [1, t.page(page).addr().get(), 0];
            let copied = t.raw(HypercallNr::XEN_VERSION, arguments);
            t.is("Xen finds no memory there", copied, EFAULT);
        }
        let shared = map_shared(t, 0);
        map_table(t, 1);
        t.is("the wallclock is 0", shared.wallclock().sec, 0);
        t.is("masks are 0", shared.evtchn_mask(0).map(|word| word.load(SeqCst)), Some(0));
        t.is("grant entries are 0", [0, 99].map(|at| word(t.page(1), at)), [0; 2]);
        set_callback(t);
        t.is("the callback sets it", shared.wallclock().sec > 0, true);
    });
}

#[test]
fn after_a_restore_the_domain_has_another_number_and_its_other_vcpus_run_on() {
    let report = one(Profile::DOMU, DomainConfig::new().vcpus(2), |t| {
        let (before, rounds) = (t.domain(), Arc::new(AtomicU32::new(0)));
        let count = Arc::clone(&rounds);
        t.start(1, move |guest| {
            while guest.vcpu() == VcpuId(1) {
                count.fetch_add(1, SeqCst);
                guest.relax();
            }
        });
        for (round, number) in [2, 3, 4].into_iter().enumerate() {
            t.is("suspended, and restored", suspend(t), OK);
            t.is("number", (before, t.domain()), (Domid(1), Domid(number)));
            t.is("the old number", status(t, before, 1).map(|_| 0), ESRCH);
            t.relax();
            t.is("vCPU 1 runs on", rounds.load(SeqCst) > round as u32, true);
        }
    });
    assert_eq!(report.shutdown_reasons.keys().collect::<Vec<_>>(), [&1]);
}

/// Xen saves nothing of a vCPU that is down: it must be initialised again.
#[test]
fn a_vcpu_that_is_down_is_not_restored() {
    one(Profile::DOMU, DomainConfig::new().vcpus(2), |t| {
        t.start(1, |guest| {
            let _ = Xen::new(guest.xen()).vcpu(VcpuId(1)).down();
        });
        let second = Xen::new(t.xen()).vcpu(VcpuId(1));
        while second.is_up() == Ok(true) {
            t.relax();
        }
        t.is("before", second.up(), Ok(()));
        while second.is_up() == Ok(true) {
            t.relax();
        }
        t.is("suspended, and restored", suspend(t), OK);
        t.is("after", second.up(), Err(Errno::EINVAL));
    });
}

#[test]
fn run_times_start_again_after_a_restore() {
    one(Profile::DOMU, DomainConfig::new().vcpus(2), |t| {
        t.advance(Duration::from_secs(5));
        let times = |vcpu| {
            let times = Xen::new(t.xen()).vcpu(VcpuId(vcpu)).runstate().expect("it is there");
            let spent =
                [Runstate::RUNNING, Runstate::RUNNABLE, Runstate::BLOCKED, Runstate::OFFLINE];
            spent.into_iter().filter_map(|state| times.spent_in(state)).sum::<Duration>()
        };
        t.is("before", [0, 1].map(|vcpu| times(vcpu) >= Duration::from_secs(5)), [true; 2]);
        t.is("suspended, and restored", suspend(t), OK);
        t.is("after", [0, 1].map(|vcpu| times(vcpu) < Duration::from_millis(1)), [true; 2]);
    });
}
