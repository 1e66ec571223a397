//! vCPUs as coroutines: their stacks, their panics, what an invalid access shows, and that nothing
//! of a machine is left.

use crate::support::prelude::*;

const SEED: u64 = 4712;

fn two(
    seed: u64,
    program: impl Fn(Guest, usize) -> Result<(), String> + Send + Sync + 'static,
) -> Result<Report, Failure> {
    let program = Arc::new(program);
    let rates = FaultRates { preempt_hypercalls: 1, ..FaultRates::new() };
    let mut machine =
        Machine::new(Profile::DOM0, seed).expect("the host has memory").fault_rates(rates);
    for domain in 0..2 {
        let program = Arc::clone(&program);
        let program = move |guest| program(guest, domain);
        machine.domain(DomainConfig::new(), program).expect("the machine has memory");
    }
    machine.run()
}

fn yield_now(guest: Guest) {
    let _ = Xen::new(guest.xen()).sched().yield_now();
}

/// Runs one of the ignored tests below in a process of its own.
fn in_child(test: &str, variables: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("the test knows where it is");
    let test = format!("behaviour::stacks::{test}");
    let arguments = ["--exact", &test, "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUST_MIN_STACK").envs(variables.iter().copied());
    command.output().expect("the test can be run again")
}

/// A child that must end by a signal, and what it writes to standard error.
fn dies(test: &str) -> String {
    let output = in_child(test, &[]);
    assert_eq!(output.status.code(), None, "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[inline(never)]
fn deep(levels: usize) -> u64 {
    let frame = [levels as u64; 128];
    let below = if levels == 0 { 0 } else { deep(std::hint::black_box(levels - 1)) };
    std::hint::black_box(&frame)[levels % 128] + below
}

#[test]
#[ignore = "its process is killed: another test runs it"]
fn overflows() {
    let _ =
        two(SEED, |_, domain| if domain == 1 { Err(deep(usize::MAX).to_string()) } else { Ok(()) });
}

#[test]
#[ignore = "its process is killed: another test runs it"]
fn accesses_a_page_that_is_gone() {
    let _ = two(SEED, |guest, domain| {
        yield_now(guest);
        if domain == 1 {
            let page = guest.page(5);
            let frame = AddressSpace::frame_of(&guest.space(), page);
            let memory = Xen::new(guest.xen()).memory();
            // SAFETY: nothing is kept in the page.
            let _ = unsafe { memory.decrease_reservation(frame, Extent::PAGE) };
            // SAFETY: the access faults, on purpose.
            return Err(format!("{}", unsafe { page.read_volatile() }));
        }
        Ok(())
    });
}

#[test]
#[ignore = "it needs a process of its own: another test runs it"]
fn needs_four_megabytes() {
    let result = two(SEED, |_, _| if deep(4096) > 0 { Ok(()) } else { Err(String::new()) });
    assert!(result.is_ok());
}

#[test]
#[ignore = "its process is killed: another test runs it"]
fn spins() {
    let _ = two(SEED, |_, _| {
        while std::hint::black_box(true) {
            std::hint::spin_loop();
        }
        Ok(())
    });
}

#[test]
fn a_program_that_spins_is_stopped_with_the_seed_and_the_test() {
    let output = in_child("spins", &[("XEN_SIM_TIME_LIMIT", "1")]);
    assert_eq!(output.status.code(), None, "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("the machine with seed 4712 has not ended after 1 s"), "{error}");
    assert!(error.contains("XEN_SIM_SEED=4712 cargo test behaviour::stacks::spins"), "{error}");
}

#[test]
fn an_overflow_names_the_vcpu_the_seed_and_the_test() {
    let error = dies("overflows");
    assert!(error.contains("domain 1, vCPU 0 has overflowed its stack"), "{error}");
    assert!(error.contains("XEN_SIM_SEED=4712 cargo test behaviour::stacks::overflows"), "{error}");
}

#[test]
fn an_access_to_a_page_that_is_gone_names_the_vcpu_the_page_and_the_seed() {
    let error = dies("accesses_a_page_that_is_gone");
    let expected = "domain 1, vCPU 0 accessed frame 0x15 of its domain, which is page 5, where no";
    assert!(error.contains(expected), "{error}");
    assert!(
        error.contains("XEN_SIM_SEED=4712 cargo test behaviour::stacks::accesses_a_page"),
        "{error}"
    );
}

#[test]
fn rust_min_stack_sets_the_size_of_stacks() {
    let by_default = in_child("needs_four_megabytes", &[]);
    assert_eq!(by_default.status.code(), None, "{by_default:?}");
    let large = in_child("needs_four_megabytes", &[("RUST_MIN_STACK", "16777216")]);
    assert!(large.status.success(), "{large:?}");
}

#[test]
fn a_vcpu_that_unwinds_keeps_the_processor() {
    struct Calls(Guest);
    impl Drop for Calls {
        fn drop(&mut self) {
            (0..50).for_each(|_| yield_now(self.0));
        }
    }
    let seen = Arc::new(AtomicU32::new(0));
    for seed in 0..50 {
        let seen = Arc::clone(&seen);
        let failure = two(seed, move |guest, domain| {
            let _calls = Calls(guest);
            for round in 0..40 {
                yield_now(guest);
                seen.fetch_add((domain == 0 && std::thread::panicking()).into(), Ordering::Relaxed);
                assert!(domain == 0 || round < 3, "on purpose");
            }
            Ok(())
        });
        let failure = failure.expect_err("a program panics");
        assert!(
            matches!(&failure.kind, FailureKind::Panicked { .. })
                && failure.to_string().contains("panicked: on purpose"),
            "{failure}"
        );
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0, "the other vCPU does not seem to panic");
}

#[test]
fn thread_locals_are_shared_by_a_machine_and_new_in_the_next() {
    thread_local! { static COUNT: Cell<u32> = const { Cell::new(0) }; }
    for _ in 0..2 {
        let total = Arc::new(AtomicU32::new(0));
        let last = Arc::clone(&total);
        let run = two(SEED, move |guest, _| {
            for _ in 0..20 {
                COUNT.set(COUNT.get() + 1);
                yield_now(guest);
            }
            last.store(COUNT.get(), Ordering::Relaxed);
            Ok(())
        });
        assert!(run.is_ok() && total.load(Ordering::Relaxed) == 40);
    }
}

#[test]
fn a_machine_can_run_a_machine() {
    let outer = two(SEED, |guest, domain| {
        yield_now(guest);
        let inner = two(SEED + domain as u64, |guest, _| {
            yield_now(guest);
            if guest.vcpu() == VcpuId(0) { Ok(()) } else { Err("another vCPU".to_string()) }
        });
        yield_now(guest);
        inner.map(drop).map_err(|failure| failure.to_string())
    });
    assert!(outer.is_ok(), "{outer:?}");
}

const MACHINES: u64 = 1000;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux tells of threads").count()
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("Linux tells of mappings").lines().count()
}

fn files() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux tells of files").count()
}

/// A domain with two vCPUs and pages that were moved about, which ends in one way or another.
fn program(guest: Guest, end: u64) {
    let t = Table::new(guest);
    let _ = attach(&t);
    map_table(&t, 1);
    put(&t, 1, 8, entry(PERMIT, t.domain(), t.frame(2)));
    let _ = map(&t, t.frame(9) * 4096, host_map(), 8, t.domain());
    t.start(1, |guest| _ = Sched::new(guest.xen()).poll(&[], None));
    match end % 4 {
        0 => t.advance(Duration::from_secs(1)),
        1 => t.wait_until(|| false),
        2 => std::panic::resume_unwind(Box::new("on purpose")),
        _ => _ = Sched::new(t.xen()).poll(&[Port(77)], None),
    }
}

#[test]
#[ignore = "it needs a process of its own: another test runs it"]
fn in_a_process_of_its_own() {
    let run = |seed| {
        let mut machine = Machine::new(Profile::DOMU, seed).expect("the computer has memory");
        for _ in 0..2 {
            machine
                .domain(DomainConfig::new().vcpus(2), move |guest| program(guest, seed))
                .expect("the machine has memory");
        }
        let failed = machine.run().is_err();
        assert_eq!(failed, seed % 4 == 1 || seed % 4 == 2, "seed {seed}");
    };
    // What is made once, for the first machine, stays.
    (0..8).for_each(run);
    let before = (threads(), mappings(), files());
    (0..MACHINES).for_each(run);
    // Machines that never run are as gone.
    (0..MACHINES / 10).for_each(|seed| {
        let mut machine = Machine::new(Profile::DOMU, seed).expect("the computer has memory");
        machine.domain(DomainConfig::new(), |_| ()).expect("the machine has memory");
    });
    let after = (threads(), mappings(), files());
    // The allocator may have taken or given back an arena meanwhile; a machine that stayed would be
    // three mappings and more, for each.
    assert_eq!((before.0, before.2), (after.0, after.2), "{before:?} {after:?}");
    assert!(after.1 <= before.1 + 20, "{before:?} {after:?}");
}

#[test]
fn of_a_thousand_machines_no_thread_and_no_mapping_is_left() {
    let output = in_child("in_a_process_of_its_own", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
