//! When a hypercall fails, nothing is half-done: of each operation of the HAL's, each of its
//! hypercalls fails in turn; the error is passed on, and all that Xen knows is as it was before.

mod attempt;
#[allow(dead_code, reason = "trials use more of it")]
#[path = "../trials/kernel.rs"]
mod kernel;
mod operations;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use attempt::{Attempt, ERROR};
use kernel::Kernel;
use operations::{Leaves, OPERATIONS, Operation};
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};

/// Makes an attempt on a fresh machine.
fn attempt(operation: &'static Operation, fails: Option<u64>) -> Attempt {
    let slot = Arc::new(Mutex::new(Attempt { fails, ..Attempt::default() }));
    let filled = Arc::clone(&slot);
    let mut machine = Machine::new(Profile::DOM0, 1)
        .expect("there is memory for a machine")
        .fault_rates(FaultRates::none());
    let program = move |guest: Guest| {
        let kernel = Kernel::start(guest, |_, _| ControlFlow::Continue(()))
            .expect("a domain may have its shared page");
        (operation.run)(&kernel, &mut filled.lock().expect("no other thread uses it"));
    };
    machine
        .domain(DomainConfig::new().vcpus(2).pages(64), program)
        .expect("there is memory for a domain");
    // An operation whose own clean-up fails afterwards shows it here.
    machine.run().unwrap_or_else(|failure| {
        panic!("{}, with hypercall {fails:?} failing: {failure}", operation.name)
    });
    let attempt = slot
        .lock()
        .map(|mut attempt| std::mem::take(&mut *attempt))
        .unwrap_or_else(|_| panic!("{} ends the domain", operation.name));
    assert!(attempt.ended.is_some(), "{} tries nothing", operation.name);
    attempt
}

fn check(operation: &'static Operation) -> u64 {
    let undisturbed = attempt(operation, None);
    assert_eq!(undisturbed.ended, Some(Ok(())), "{} works when nothing fails", operation.name);
    assert_eq!(
        undisturbed.hypercalls, operation.hypercalls,
        "{} makes so many hypercalls",
        operation.name
    );
    for fails in 1..=undisturbed.hypercalls {
        let disturbed = attempt(operation, Some(fails));
        let name = format!("{}, with hypercall {fails} failing", operation.name);
        let error = match disturbed.ended {
            Some(Err(error)) => error,
            ended => panic!("{name}, ended with {ended:?}"),
        };
        let (before, after) =
            (disturbed.before.expect("it was tried"), disturbed.after.expect("it was tried"));
        let has_reason = !matches!(
            operation.leaves,
            Leaves::NothingAndNoReason | Leaves::SomeAndNoReason { .. }
        );
        assert!(!has_reason || error.contains(&ERROR.to_string()), "{name}, says {error}");
        if let Leaves::WhatWasDone { from, says } | Leaves::SomeAndNoReason { from, says } =
            operation.leaves
        {
            if fails >= from {
                assert!(before != after, "{name}, leaves something, as documented: {says}");
                continue;
            }
        }
        let difference = before.difference(&after);
        assert!(difference.is_empty(), "{name}, leaves\n{}", difference.join("\n"));
    }
    undisturbed.hypercalls
}

#[test]
fn each_operation_fails_without_a_trace() {
    let failures: u64 = OPERATIONS.iter().map(check).sum();
    println!("{} operations, {failures} hypercalls that failed", OPERATIONS.len());
}

#[test]
fn a_trace_would_be_noticed() {
    static LEAKY: Operation = Operation {
        name: "two channels, of which the first stays when the second fails",
        hypercalls: 2,
        leaves: Leaves::Nothing,
        run: |kernel, attempt| {
            let events = kernel.xen().events();
            attempt.during(kernel.guest, || {
                let first = events.bind_ipi(xen_hal::platform::VcpuId(0))?.into_port();
                events
                    .bind_ipi(xen_hal::platform::VcpuId(0))
                    .map(|second| (first, second.into_port()))
            });
        },
    };
    let noticed = std::panic::catch_unwind(|| check(&LEAKY)).expect_err("a port is left");
    let message = noticed.downcast_ref::<String>().expect("it says what is left");
    assert!(message.contains("+ domain 0: port 1: Ipi"), "{message}");
}
