//! The two ways in which x86 is told: by the domain's vector, which stays raised, and by a vCPU's
//! own, which comes once.

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
