//! Whatever can go wrong does so each time: a program still gets on.

use crate::support::prelude::*;

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
