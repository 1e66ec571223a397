//! Xen's own console, lists of hypercalls, the old timer, and calls of the toolstack.

use crate::support::prelude::*;

const WRITE: usize = 0;
const READ: usize = 1;
/// One more than a read may ask for.
const TOO_MANY: usize = 1 << 31;

#[test]
fn who_may_is_answered_by_what_is_wrong() {
    for profile in [Profile::DOM0, Profile::DOM0LESS] {
        let report = one(profile, DomainConfig::new(), |t| {
            let console = |command, count, at| t.raw(HypercallNr::CONSOLE_IO, [command, count, at]);
            let mut text = *b"told";
            t.is("unknown", console(NO_COMMAND, TOO_MANY, NOWHERE), ENOSYS);
            t.is("write from nowhere", console(WRITE, 1, NOWHERE), EFAULT);
            t.is("write of nothing from nowhere", console(WRITE, 0, NOWHERE), OK);
            t.is("write", console(WRITE, 4, address(&mut text)), OK);
            t.is("read of too much, to nowhere", console(READ, TOO_MANY, NOWHERE), E2BIG);
            t.is("read of as much as may be", console(READ, TOO_MANY - 1, NOWHERE), OK);
            t.type_in(b"input");
            t.is("read of input to nowhere", console(READ, 3, NOWHERE), EFAULT);
            let mut input = [0; 8];
            let mut read = |count| console(READ, count, address(&mut input));
            t.is("read of input, in parts", [read(3), read(8), read(8)], [3, 2, 0].map(Ok));
        });
        assert!(report.consoles.values().all(|console| console == "told"), "{report:?}");
    }
}

#[test]
fn a_guest_may_not_whatever_it_asks() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        for (what, command, count) in
            [("write", WRITE, 1), ("read", READ, TOO_MANY), ("unknown", NO_COMMAND, 0)]
        {
            t.is(what, t.raw(HypercallNr::CONSOLE_IO, [command, count, NOWHERE]), EPERM);
        }
    });
}

/// Asks for each command with an argument that is nowhere.
#[test]
fn arguments_that_are_nowhere_and_commands_that_are_not() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        let (arm, control) = (is_arm(profile), profile == Profile::DOM0);
        let (on_x86, of_control) =
            (if arm { ENOSYS } else { EFAULT }, if control { EFAULT } else { EPERM });
        let unknown = NO_COMMAND as u32;
        use xen_pac::{command::Command as _, hvm::command as hvm};
        use xen_pac::{memory::command as memory, sched::command as sched};
        let event = HypercallNr::EVENT_CHANNEL_OP;
        let mut cases: Vec<_> = (0..14).map(|command| (event, command, EFAULT)).collect();
        cases.extend([
            // An unknown command is refused before its argument is looked at.
            (event, unknown, ENOSYS),
            (HypercallNr::SCHED_OP, sched::Poll::NUMBER, EFAULT),
            (HypercallNr::SCHED_OP, sched::Shutdown::NUMBER, EFAULT),
            (HypercallNr::SCHED_OP, sched::ShutdownCode::NUMBER, EFAULT),
            (HypercallNr::SCHED_OP, sched::RemoteShutdown::NUMBER, EFAULT),
            (HypercallNr::SCHED_OP, sched::Watchdog::NUMBER, EFAULT),
            (HypercallNr::SCHED_OP, sched::PinOverride::NUMBER, of_control),
            (HypercallNr::SCHED_OP, sched::YieldCpu::NUMBER, OK),
            (HypercallNr::SCHED_OP, unknown, ENOSYS),
            (HypercallNr::HVM_OP, hvm::SetParam::NUMBER, EFAULT),
            (HypercallNr::HVM_OP, hvm::GetParam::NUMBER, EFAULT),
            (HypercallNr::HVM_OP, hvm::SetEvtchnUpcallVector::NUMBER, on_x86),
            (HypercallNr::HVM_OP, unknown, ENOSYS),
            (HypercallNr::MEMORY_OP, memory::PopulatePhysmap::NUMBER, OK),
            (HypercallNr::MEMORY_OP, memory::DecreaseReservation::NUMBER, OK),
            (HypercallNr::MEMORY_OP, memory::IncreaseReservation::NUMBER, OK),
            (HypercallNr::MEMORY_OP, memory::AddToPhysmap::NUMBER, EFAULT),
            (HypercallNr::MEMORY_OP, memory::AddToPhysmapBatch::NUMBER, EFAULT),
            (HypercallNr::MEMORY_OP, memory::RemoveFromPhysmap::NUMBER, EFAULT),
            (HypercallNr::MEMORY_OP, memory::CurrentReservation::NUMBER, EFAULT),
            (HypercallNr::MEMORY_OP, memory::MemoryMap::NUMBER, on_x86),
            (HypercallNr::MEMORY_OP, memory::MachineMemoryMap::NUMBER, ENOSYS),
            (HypercallNr::MEMORY_OP, unknown, ENOSYS),
        ]);
        for (hypercall, command, answer) in cases {
            let asked = t.raw(hypercall, [command as usize, NOWHERE, 1]);
            t.is(&format!("{hypercall:?}, command {command}"), asked, answer);
        }
    });
}

#[test]
fn calls_of_the_toolstack_and_numbers_that_are_not_used() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        let mut zeros = [0_u64; 16];
        let ask = |number, at| t.raw(HypercallNr(number), [0, 0, 0].map(|_: usize| at));
        let there = address(&mut zeros);
        for number in [7, 35, 36] {
            let answers = [ask(number, NOWHERE), ask(number, there)];
            t.is(&format!("{number}"), answers, [EFAULT, EACCES]);
        }
        let (arm, control) = (is_arm(profile), profile == Profile::DOM0);
        t.is("xenpmu_op", ask(40, NOWHERE), if arm { ENOSYS } else { EOPNOTSUPP });
        t.is("hypfs_op", ask(42, NOWHERE), if control { EINVAL } else { EPERM });
        for (number, answer) in [(26, ESRCH), (41, ENODATA), (49, EFAULT)] {
            let answer = if arm { ENOSYS } else { answer };
            t.is(&format!("{number}"), ask(number, NOWHERE), answer);
        }
        for number in [0, 11, 38, 47, 63] {
            t.is(&format!("{number}"), ask(number, NOWHERE), ENOSYS);
        }
        let above = t.raw(HypercallNr::HVM_OP, [1 << 32 | 1, NOWHERE, 0]);
        t.is("hvm_op, whose command has 64 bits", above, ENOSYS);
        let above = t.raw(HypercallNr::EVENT_CHANNEL_OP, [1 << 32 | 4, NOWHERE, 0]);
        t.is("event_channel_op, whose command has 32", above, EFAULT);
    });
}

#[test]
fn page_tables_of_a_domain() {
    let of = |t: &Table, id: Domid| t.raw(HypercallNr::MMUEXT_OP, [0, 1, 0, id.0.into()]);
    let control = domain(DomainConfig::new(), move |t| {
        t.is("a guest's", of(t, Domid(1)), EINVAL);
        t.is("those of the control domain itself", of(t, Domid::SELF), EINVAL);
        t.publish("asked", 1);
        let _ = t.wait_for_key("finished");
    });
    let asks = domain(guest(), move |t| {
        let _ = t.wait_for_key("asked");
        rows! { t;
            "its own", of(t, Domid::SELF) => EINVAL;
            "its own by its number", of(t, Domid(1)) => ESRCH;
            "those of the control domain", of(t, Domid(0)) => EPERM;
            "another guest's", of(t, Domid(2)) => EINVAL;
            "those of no domain", of(t, Domid(3)) => ESRCH;
        }
        t.publish("finished", 1);
    });
    let other = domain(guest(), |t| {
        let _ = t.wait_for_key("finished");
    });
    several(Profile::DOM0, [control, asks, other]);
}

#[test]
fn a_list_of_hypercalls_has_an_answer_for_each() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let mut list = [MulticallEntry::ZEROED; 3];
        for (entry, number) in list.iter_mut().zip([17, 13, 99]) {
            (entry.op, entry.result) = (number, 7);
        }
        let ask = |at, count| t.raw(HypercallNr::MULTICALL, [at, count, 0]);
        t.is("nowhere", [ask(NOWHERE, 1), ask(NOWHERE, 0)], [EFAULT, OK]);
        t.is("asked", ask(address(&mut list), 3), OK);
        let no = |errno: Errno| -i64::from(errno.number() as i16) as u64;
        let expected = [4 << 16 | 17, no(Errno::EINVAL), no(Errno::ENOSYS)];
        t.is("each", list.map(|entry| entry.result), expected);
    });
}

#[test]
fn the_old_timer() {
    const NANOS: u64 = 1_000_000;
    for (after, fires) in [(20 * NANOS, 20), (1 << 51, 100), (1 << 63, 100), (0, 0)] {
        one(Profile::DOMU, DomainConfig::new(), move |t| {
            let shared = map_shared(t, 0);
            t.is("bound", virq(t, Virq::TIMER.0, 0), Ok(1));
            let moment = if after == 0 { 0 } else { t.now().as_nanos() as u64 + after };
            t.is("set", t.raw(HypercallNr::SET_TIMER_OP, [moment as usize, 0, 0]), OK);
            let mut fired = 0;
            for millisecond in 1..200 {
                t.advance(Duration::from_millis(1));
                if fired == 0 && is_pending(shared, 1) {
                    fired = millisecond;
                }
            }
            t.is(&format!("{after}"), fired, fires);
        });
    }
    on([Profile::DOM0LESS], DomainConfig::new(), |_, t| {
        t.is("on Arm", t.raw(HypercallNr::SET_TIMER_OP, [0; 3]), ENOSYS);
    });
}
