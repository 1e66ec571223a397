//! By which vector an upcall comes, and where the block of a vCPU is that announces it.

use xen_pac::hvm::command;

use crate::support::prelude::*;

const OWN: u8 = 0x55;

fn own_vector(t: &Table) {
    t.is(
        "its own vector",
        t.give(command::SetEvtchnUpcallVector, &mut XenHvmEvtchnUpcallVector::new(0, OWN)),
        OK,
    );
}

/// Counts the calls at a vector, and does `each` time what is asked.
fn count(
    guest: Guest,
    vector: u8,
    each: impl Fn(usize) + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    guest.on_interrupt(vector, move || each(counted.fetch_add(1, SeqCst) + 1));
    calls
}

#[test]
fn the_domains_vector_comes_again_until_the_mark_is_cleared() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = attach(t);
        let calls = count(**t, VECTOR, move |call| {
            if call == 3 {
                let _ = take(shared, block(shared, 0));
            }
        });
        t.is("bound", ipi(t, 0), Ok(1));
        t.enable_interrupts();
        t.is("sent", send(t, 1), OK);
        t.is("three times, and no end of interrupt was said", calls.load(SeqCst), 3);
    });
}

#[test]
fn a_vector_that_is_chosen_late_tells_what_was_pending() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = map_shared(t, 0);
        let calls = count(**t, VECTOR, move |_| _ = take(shared, block(shared, 0)));
        t.enable_interrupts();
        rows! { t;
            "bound, and sent", (ipi(t, 0), send(t, 1)) => (Ok(1), OK);
            "told nobody",
                (calls.load(SeqCst), marks(block(shared, 0))) => (0, (true, 1));
        }
        set_callback(t);
        t.is("told", calls.load(SeqCst), 1);
    });
}

#[test]
fn a_vcpus_own_vector_comes_once_for_each_mark() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = map_shared(t, 0);
        let calls = count(**t, OWN, |_| ());
        let came = || calls.load(SeqCst);
        t.enable_local_apic(true);
        t.enable_interrupts();
        own_vector(t);
        t.is("at once, for nothing", (came(), marks(block(shared, 0))), (1, (false, 0)));
        t.is("bound", ipi(t, 0), Ok(1));
        t.is("sent", send(t, 1), OK);
        t.is("not before the end of the last was said", came(), 1);
        t.end_of_interrupt();
        t.is("then", came(), 2);
        t.end_of_interrupt();
        rows! { t;
            "once only, although the mark stays",
                (came(), marks(block(shared, 0))) => (2, (true, 1));
        }
        shared.evtchn_pending(0).expect("the first word").swap(0, SeqCst);
        block(shared, 0).evtchn_pending_sel().swap(0, SeqCst);
        t.is("sent again, with the mark still there", send(t, 1), OK);
        t.is("selected, and not told", (came(), marks(block(shared, 0))), (2, (true, 1)));
        t.is("taken", take(shared, block(shared, 0)), vec![1]);
        t.is("sent", send(t, 1), OK);
        t.is("told", came(), 3);
    });
}

#[test]
fn a_vcpus_own_vector_comes_beside_the_domains() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = attach(t);
        let order = Arc::new(Mutex::new(Vec::new()));
        let (first, second) = (Arc::clone(&order), Arc::clone(&order));
        t.on_interrupt(VECTOR, move || {
            first.lock().unwrap().push(VECTOR);
            take(shared, block(shared, 0));
        });
        let guest = **t;
        t.on_interrupt(OWN, move || {
            second.lock().unwrap().push(OWN);
            guest.end_of_interrupt();
        });
        t.enable_local_apic(true);
        t.enable_interrupts();
        own_vector(t);
        t.is("bound", ipi(t, 0), Ok(1));
        order.lock().unwrap().clear();
        t.is("sent", send(t, 1), OK);
        t.is("told twice, by the domain's first", order.lock().unwrap().clone(), vec![VECTOR, OWN]);
    });
}

#[test]
fn a_vcpus_own_vector_waits_while_the_apic_is_off() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = map_shared(t, 0);
        let calls = count(**t, OWN, |_| ());
        t.enable_interrupts();
        own_vector(t);
        t.is("bound, and sent", (ipi(t, 0), send(t, 1)), (Ok(1), OK));
        t.is("not told", (calls.load(SeqCst), marks(block(shared, 0))), (0, (true, 1)));
        t.enable_local_apic(true);
        t.is("told once for all", calls.load(SeqCst), 1);
    });
}

#[test]
fn an_upcall_that_nobody_takes_ends_the_machine() {
    let failed = fails(Profile::DOMU, DomainConfig::new(), |t| {
        attach(t);
        let _ = count(**t, VECTOR, |_| ());
        t.enable_interrupts();
        t.is("bound", ipi(t, 0), Ok(1));
        let _ = send(t, 1);
    });
    assert!(matches!(failed.kind, FailureKind::Storm { vector: VECTOR, .. }), "{failed}");
}

#[test]
fn interrupts_that_are_off_are_told_later() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = map_shared(t, 0);
        let calls = count(**t, OWN, move |_| _ = take(shared, block(shared, 0)));
        t.enable_local_apic(true);
        own_vector(t);
        t.is("bound, and sent", (ipi(t, 0), send(t, 1)), (Ok(1), OK));
        t.is("not yet", calls.load(SeqCst), 0);
        t.enable_interrupts();
        t.is("both edges are one", calls.load(SeqCst), 1);
    });
}

/// Registers a block for a vCPU, in a page of the domain's.
fn register(t: &Table, vcpu: u32, page: usize) -> VcpuInfo<'static> {
    // SAFETY: the page is used for this alone, and not after the machine has run.
    let area = unsafe { t.area(page) };
    // SAFETY: the simulator has one layout.
    let latch = unsafe { WidthLatch::assume(t.xen()) };
    Vcpu::new(t.xen(), VcpuId(vcpu))
        .register_vcpu_info(&t.space(), latch, area)
        .expect("the block can be registered")
}

#[test]
fn a_block_that_moves_tells_of_everything_once() {
    on(
        [Profile::DOMU, Profile::DOM0LESS, release(18, Profile::DOMU)],
        DomainConfig::new(),
        |profile, t| {
            let (shared, interrupt) = attach_on(profile, t);
            let upcalls = Arc::new(AtomicU32::new(0));
            t.is("bound", ipi(t, 0), Ok(1));
            let counted = Arc::clone(&upcalls);
            let info = register(t, 0, 1);
            t.on_interrupt(interrupt, move || {
                counted.fetch_add(1, SeqCst);
                info.evtchn_upcall_pending().swap(0, SeqCst);
            });
            t.is("an upcall, and every word", marks(info), (true, u64::MAX));
            t.is("the old place is as it was", marks(block(shared, 0)), (false, 0));
            t.is("no port has an event", (0..64).any(|port| is_pending(shared, port)), false);
            t.enable_interrupts();
            rows! { t;
                "the upcall came", upcalls.load(SeqCst) => 1;
                "sent, with its word selected still",
                    (send(t, 1), upcalls.load(SeqCst)) => (OK, 1);
                "found", take(shared, info) => vec![1];
                "sent", (send(t, 1), upcalls.load(SeqCst)) => (OK, 2);
                "nothing comes to the old place", marks(block(shared, 0)) => (false, 0);
            }
        },
    );
}

#[test]
fn vcpus_beyond_the_shared_page_hear_nothing_before_they_register() {
    for (profile, first) in [(Profile::DOMU, 32_u32), (Profile::DOM0LESS, 1)] {
        one(profile, DomainConfig::new().vcpus(34), move |t| {
            let (shared, _) = attach_on(profile, t);
            t.is("bound", ipi(t, first), Ok(1));
            t.is("sent", send(t, 1), OK);
            t.is("its bit is set, and nobody is told", is_pending(shared, 1), true);
            let info = register(t, first, 1);
            t.is("registered, it is told", marks(info), (true, u64::MAX));
            t.is("found", take(shared, info), vec![1]);
            t.is("sent", send(t, 1), OK);
            t.is("told", marks(info), (true, 1));
        });
    }
}

#[test]
fn the_last_vcpu_with_a_place_in_the_shared_page_has_it() {
    one(Profile::DOMU, DomainConfig::new().vcpus(33), |t| {
        let shared = attach(t);
        t.is("bound", ipi(t, 31), Ok(1));
        t.is("sent", send(t, 1), OK);
        t.is("told", marks(block(shared, 31)), (true, 1));
        t.is("there is none behind it", shared.vcpu_info(32).is_none(), true);
    });
}
