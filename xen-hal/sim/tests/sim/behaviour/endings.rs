//! How programs end, and what goes with them: values that are dropped when their domain has ended
//! already, pages that a peer still uses, and waits for what never comes.

use xen_hal::grant::Grant;

use crate::support::prelude::*;

const LENDER: Domid = Domid(1);
const BORROWER: Domid = Domid(2);

/// Does something when it goes.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn machine(seed: u64) -> Machine {
    Machine::new(Profile::DOMU, seed).expect("the computer has memory")
}

fn alone(
    config: DomainConfig,
    program: impl FnOnce(Guest) + Send + 'static,
) -> Result<Report, Failure> {
    let mut machine = machine(1).fault_rates(FaultRates::none());
    machine.domain(config, program).expect("the machine has memory");
    machine.run()
}

fn two(
    seed: u64,
    first: impl FnOnce(Guest) + Send + 'static,
    second: impl FnOnce(Guest) + Send + 'static,
) -> Result<Report, Failure> {
    let mut machine = machine(seed);
    machine.domain(DomainConfig::new(), first).expect("the machine has memory");
    machine.domain(DomainConfig::new(), second).expect("the machine has memory");
    machine.run()
}

/// Lends page 2 to the other domain, by a table at page 1 whose storage is leaked.
fn lend(guest: Guest) -> Grant<'static> {
    let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
    // SAFETY: the page is the table's alone, and nothing of it is used after the run.
    let table =
        unsafe { GrantTable::map(guest.xen(), guest.space(), guest.page(1).cast(), refs, 1) }
            .unwrap();
    // SAFETY: the page is the grant's alone.
    let page = unsafe { Page::from_raw(&guest.space(), guest.page(2).cast()) }.unwrap();
    table.lend(page, BORROWER, Access::ReadWrite).unwrap()
}

/// Maps what was lent by that reference at a page.
fn map(guest: Guest, reference: u32, at: usize) -> Mapping<'static, Hypervisor> {
    map_of(guest, LENDER, reference, at)
}

fn map_of(guest: Guest, domain: Domid, reference: u32, at: usize) -> Mapping<'static, Hypervisor> {
    let (space, page) = (guest.space(), guest.page(at));
    let frame = space.frame_of(page).unwrap();
    // SAFETY: nothing is kept in the page.
    unsafe { Xen::new(guest.xen()).memory().decrease_reservation([frame], Extent::PAGE) }.unwrap();
    // SAFETY: the frame is used through the target alone, and not after the run.
    let target = unsafe { MapTarget::new(&space, page.cast()) }.unwrap();
    let of = ForeignGrant { domain, reference: GrantRef(reference) };
    let request = MapRequest { of, access: Access::ReadWrite, target };
    // SAFETY: the grant is another domain's.
    unsafe { Xen::new(guest.xen()).grants().map(request) }.unwrap()
}

#[test]
fn what_a_drop_does_after_the_end_is_the_same_each_time() {
    let run = || {
        let gone = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&gone);
        let watches = move |guest: Guest| {
            while seen.load(SeqCst) == 0 {
                guest.relax();
            }
        };
        let leaves = move |guest: Guest| {
            let _goes = OnDrop(|| {
                let _ = guest.random();
                gone.store(1, SeqCst);
            });
            Xen::new(guest.xen()).sched().exit(ShutdownReason::POWEROFF);
        };
        two(3, watches, leaves).unwrap()
    };
    let first = run();
    assert!((0..100).all(|_| run() == first));
}

#[test]
fn a_mapping_is_there_until_its_domain_has_left() {
    let lender = |guest: Guest| {
        let grant = lend(guest);
        guest.publish("grant", grant.reference().0.into());
        guest.wait_for_key("over");
        let mut said = [0; 3];
        grant.bytes().copy_to(0, &mut said).unwrap();
        assert_eq!(&said, b"bye");
        drop(grant);
    };
    let borrower = |guest: Guest| {
        let mapping = map(guest, guest.wait_for_key("grant") as u32, 0);
        let _goes = OnDrop(|| mapping.bytes().unwrap().copy_from(0, b"bye").unwrap());
        guest.publish("over", 1);
        Xen::new(guest.xen()).sched().exit(ShutdownReason::POWEROFF);
    };
    // The lender may look before the borrower has said it: then nothing is shown, but nothing
    // breaks either.
    assert!((0..20).any(|seed| two(seed, lender, borrower).is_ok()));
}

#[test]
fn a_page_that_a_peer_maps_is_given_to_no_other_domain() {
    let lender = |guest: Guest| {
        let grant = lend(guest);
        guest.publish("grant", grant.reference().0.into());
        guest.wait_for_key("mapped");
        let frame = guest.space().frame_of(guest.page(2)).unwrap();
        // SAFETY: the page is not used any more.
        unsafe { Memory::new(guest.xen()).decrease_reservation([frame], Extent::PAGE) }.unwrap();
        // SAFETY: as above.
        unsafe { Memory::new(guest.xen()).populate_physmap([frame], Extent::PAGE) }.unwrap();
        guest.publish("replaced", 1);
        guest.wait_for_key("written");
        let mut byte = [1];
        grant.bytes().copy_to(0, &mut byte).unwrap();
        assert_eq!(byte, [0], "the new page is another");
    };
    let borrower = |guest: Guest| {
        let mapping = map(guest, guest.wait_for_key("grant") as u32, 0);
        guest.publish("mapped", 1);
        guest.wait_for_key("replaced");
        mapping.bytes().unwrap().copy_from(0, &[99]).unwrap();
        guest.publish("written", 1);
    };
    two(1, lender, borrower).unwrap();
}

#[test]
fn mappings_of_a_table_that_is_gone_say_nothing_of_the_next() {
    let lender = |guest: Guest| {
        core::mem::forget(lend(guest));
        guest.publish("first", 8);
        guest.wait_for_key("mapped");
        // SAFETY: what was lent and mapped before is not used again.
        unsafe { Xen::new(guest.xen()).sched().suspend() }.unwrap();
        let grant = lend(guest);
        guest.publish("number", guest.domain().0.into());
        guest.publish("second", grant.reference().0.into());
        guest.wait_for_key("unmapped the first");
        assert!(grant.usage().writing, "the second mapping is there");
        guest.publish("looked", 1);
        guest.wait_for_key("unmapped the second");
        assert!(!grant.usage().reading);
    };
    let borrower = |guest: Guest| {
        let first = map(guest, guest.wait_for_key("first") as u32, 0);
        guest.publish("mapped", 1);
        let second = guest.wait_for_key("second") as u32;
        let restored = Domid(guest.wait_for_key("number") as u16);
        let second = map_of(guest, restored, second, 1);
        first.unmap().unwrap();
        guest.publish("unmapped the first", 1);
        guest.wait_for_key("looked");
        second.unmap().unwrap();
        guest.publish("unmapped the second", 1);
    };
    two(1, lender, borrower).unwrap();
}

#[test]
fn time_has_an_end_and_nothing_hangs_there() {
    alone(DomainConfig::new(), |guest| {
        guest.advance(Duration::MAX);
        assert!(Xen::new(guest.xen()).sched().yield_now().is_ok());
    })
    .unwrap();
}

#[test]
fn a_program_that_is_over_is_not_brought_up_again() {
    alone(DomainConfig::new().vcpus(2), |guest| {
        guest.start(VcpuId(1), |_| ()).unwrap();
        guest.relax();
        let other = Xen::new(guest.xen()).vcpu(VcpuId(1));
        assert_eq!(
            (other.is_up(), other.down(), other.up(), other.is_up()),
            (Ok(false), Ok(()), Ok(()), Ok(false))
        );
        guest.relax();
    })
    .unwrap();
}

#[test]
fn a_domain_ends_with_the_last_vcpu_that_is_up() {
    let report = alone(DomainConfig::new().vcpus(2), |guest| {
        guest.start(VcpuId(1), |guest: Guest| guest.relax()).unwrap();
        Xen::new(guest.xen()).vcpu(VcpuId(0)).down().unwrap();
    });
    assert_eq!(report.unwrap().shutdown_reasons.get(&1), Some(&ShutdownReason::POWEROFF));
}

#[test]
fn programs_that_never_run_may_own_channels() {
    let bind = |guest: Guest| Xen::new(guest.xen()).events().bind_ipi(VcpuId(0)).unwrap();
    let replaced = alone(DomainConfig::new().vcpus(2), move |guest| {
        let channel = bind(guest);
        guest.set_program(VcpuId(1), move |_| drop(channel));
        guest.set_program(VcpuId(1), |_| ());
    });
    let never = alone(DomainConfig::new().vcpus(2), move |guest| {
        let channel = bind(guest);
        guest.set_program(VcpuId(1), move |_| drop(channel));
        panic!("as asked");
    });
    let kept: Arc<Mutex<Option<Channel<Hypervisor>>>> = Arc::default();
    let slot = Arc::clone(&kept);
    let outlives = std::panic::catch_unwind(move || {
        let _kept = kept;
        alone(DomainConfig::new(), move |guest| *slot.lock().unwrap() = Some(bind(guest))).unwrap();
        panic!("as asked");
    });
    assert!(replaced.is_ok() && outlives.is_err());
    assert!(matches!(never.unwrap_err().kind, FailureKind::Panicked { message, .. }
            if message == "as asked"));
}

#[test]
fn a_post_that_never_comes_is_named() {
    let failure = alone(DomainConfig::new(), |guest| _ = guest.wait_for_key("prot")).unwrap_err();
    assert!(
        failure.to_string().contains("domain 1, vCPU 0 waits for the key \"prot\""),
        "{failure}"
    );
}

#[test]
fn handlers_that_interrupt_themselves_are_noticed() {
    let failure = alone(DomainConfig::new(), |guest| {
        let latch =
            Hvm::new(guest.xen()).set_callback_via(CallbackVia::vector(0xf3).unwrap()).unwrap();
        // SAFETY: nothing else uses the page, and it is there as long as this program runs.
        unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }.unwrap();
        guest.on_interrupt(0xf3, move || guest.enable_interrupts());
        guest.enable_interrupts();
        Xen::new(guest.xen()).events().bind_ipi(VcpuId(0)).unwrap().send().unwrap();
    });
    assert!(matches!(failure.unwrap_err().kind, FailureKind::Storm { vector: 0xf3, .. }));
}

/// A vCPU that reads a granted page repeatedly lets others run.
#[test]
fn looking_at_a_lent_page_lets_others_run() {
    let lender = |guest: Guest| {
        let grant = lend(guest);
        guest.publish("grant", grant.reference().0.into());
        guest.wait_for_key("mapped");
        grant.bytes().store(0, 1_u32).unwrap();
        guest.wait_for_key("seen");
    };
    let borrower = |guest: Guest| {
        let mapping = map(guest, guest.wait_for_key("grant") as u32, 0);
        guest.publish("mapped", 1);
        let page = mapping.bytes().unwrap();
        while page.load::<u32>(0).unwrap() == 0 {
            std::hint::spin_loop();
        }
        guest.publish("seen", 1);
    };
    two(1, lender, borrower).unwrap();
}

/// However many come one after the other.
#[test]
fn an_upcall_that_is_taken_is_no_storm() {
    alone(DomainConfig::new(), |guest| {
        let latch = WidthLatch::new(guest.xen()).unwrap();
        // SAFETY: nothing else uses the page, and it is there as long as this program runs.
        let shared =
            unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }.unwrap();
        Hvm::new(guest.xen()).set_callback_via(CallbackVia::vector(0xf3).unwrap()).unwrap();
        guest.on_interrupt(0xf3, move || {
            let block = shared.vcpu_info(0).unwrap();
            let _ = TwoLevel::new(shared).dispatch(block, AllPorts, |_| ());
        });
        guest.enable_interrupts();
        let channel = Xen::new(guest.xen()).events().bind_ipi(VcpuId(0)).unwrap();
        (0..20_000).for_each(|_| channel.send().unwrap());
    })
    .unwrap();
}
