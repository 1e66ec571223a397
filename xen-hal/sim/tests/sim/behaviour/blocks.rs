//! Where a vCPU's block lies: in the shared page, where it registered one, or nowhere.

use crate::support::prelude::*;

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
