//! Tests what the operations pass to Xen, and that no wakeup is lost.

use core::cell::{Cell, RefCell};
use core::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::sched::{SchedPoll, SchedWatchdog, ShutdownReason, command};

use super::{Resumed, Sched};
use crate::clock::SystemTime;
use crate::event::Port;
use crate::hypercall::Errno;
use crate::platform::Interrupts;
use crate::testing::{Fake, Script, argument_at, errno};
use crate::version::CommandError;

/// Returns the ports that a poll names.
fn ports_of(poll: &SchedPoll) -> Vec<u32> {
    // SAFETY: poll passes a slice of port numbers, borrowed for the call.
    (0..poll.nr_ports as usize)
        .map(|index| unsafe { *poll.ports.as_ptr().wrapping_add(index) })
        .collect()
}

#[test]
fn the_bare_commands_are_given() {
    let xen = Script::new().bare(command::YieldCpu, 0).bare(command::Block, 0);
    Sched::new(&xen).yield_now().unwrap();
    Sched::new(&xen).block().unwrap();
}

#[test]
fn a_poll_names_its_ports_and_its_moment() {
    for (until, timeout) in [
        (None, 0),
        (Some(7), 7),
        (Some(0), 1),
        (Some(-1), u64::MAX),
        (Some(i64::MAX - 1), u64::MAX / 2 - 1),
        (Some(i64::MAX), 0),
    ] {
        let xen = Script::new().argument(command::Poll, |poll| {
            assert_eq!((ports_of(poll), poll.timeout), (Vec::from([3, 8]), timeout));
            errno(Errno::EINVAL)
        });
        assert_eq!(
            Sched::new(&xen).poll(&[Port(3), Port(8)], until.map(SystemTime::from_nanos)),
            Err(Errno::EINVAL)
        );
    }
}

#[test]
fn a_shutdown_returns_from_a_suspend() {
    for (answer, resumed) in [
        (0, Ok(Resumed::Restored)),
        (1, Ok(Resumed::Cancelled)),
        (errno(Errno::EPERM), Err(Errno::EPERM)),
    ] {
        let xen = Script::new().argument(command::Shutdown, |shutdown| {
            assert_eq!(shutdown.reason, ShutdownReason::SUSPEND);
            answer
        });
        // SAFETY: there is nothing that could be lost.
        assert_eq!(unsafe { Sched::new(&xen).suspend() }, resumed);
    }
    let xen = Script::new();
    assert_eq!(Sched::new(&xen).shutdown(ShutdownReason::SUSPEND), Err(Errno::EINVAL));
}

#[test]
fn an_exit_insists() {
    let tries = Cell::new(0);
    let xen = Fake(|_, arguments: &[usize]| {
        tries.set(tries.get() + usize::from(arguments[0] as u32 == command::Shutdown::NUMBER));
        assert!(tries.get() < 3, "enough");
        errno(Errno::EAGAIN)
    });
    catch_unwind(AssertUnwindSafe(|| Sched::new(&xen).exit(ShutdownReason::POWEROFF)))
        .expect_err("it never returns");
    assert_eq!(tries.get(), 3);
}

#[test]
fn the_other_ends_are_told_by_their_arguments() {
    let refused = |answer: Result<(), CommandError>| answer.map_err(CommandError::errno);
    let xen = Script::new()
        .argument(command::ShutdownCode, |shutdown| {
            assert_eq!(shutdown.reason, ShutdownReason::CRASH);
            0
        })
        .argument(command::RemoteShutdown, |shutdown| {
            assert_eq!((shutdown.domain_id, shutdown.reason), (Domid(4), ShutdownReason::REBOOT));
            errno(Errno::EPERM)
        })
        .argument(command::PinOverride, |pin| {
            assert_eq!(pin.pcpu, 2);
            0
        })
        .argument(command::PinOverride, |pin| {
            assert_eq!(pin.pcpu, -1);
            0
        });
    let sched = Sched::new(&xen);
    sched.shutdown_code(ShutdownReason::CRASH).unwrap();
    assert_eq!(sched.remote_shutdown(Domid(4), ShutdownReason::REBOOT), Err(Errno::EPERM));
    sched.pin_override(Some(2)).unwrap();
    sched.pin_override(None).unwrap();
    assert_eq!(
        refused(sched.pin_override(Some(u32::MAX))),
        Err(Some(Errno::EINVAL)),
        "expected an error: the number is no CPU, and Xen would read it as unpinning"
    );
}

#[test]
fn a_watchdog_is_started_kicked_and_stopped() {
    let seen = RefCell::new(Vec::new());
    let step = |answer: isize| {
        let seen = &seen;
        move |watchdog: &mut SchedWatchdog| {
            seen.borrow_mut().push((watchdog.id, watchdog.timeout));
            answer
        }
    };
    let xen = Script::new()
        .argument(command::Watchdog, step(2))
        .argument(command::Watchdog, step(0))
        .argument(command::Watchdog, step(0))
        .argument(command::Watchdog, step(errno(Errno::EINVAL)))
        .argument(command::Watchdog, step(errno(Errno::ENOSPC)));
    let (sched, seconds) = (Sched::new(&xen), NonZero::new(30).unwrap());
    let watchdog = sched.start_watchdog(seconds).unwrap();
    assert_eq!(watchdog.id().get(), 2);
    watchdog.kick(seconds).unwrap();
    watchdog.stop().unwrap();
    assert_eq!(watchdog.kick(seconds), Err(Errno::EINVAL));
    assert_eq!(sched.start_watchdog(seconds).err(), Some(Errno::ENOSPC));
    assert_eq!(*seen.borrow(), [(0, 30), (2, 30), (2, 0), (2, 30), (0, 30)]);
}

/// A vCPU with one interrupt, whose handler counts.
#[derive(Default)]
struct Vcpu {
    off: Cell<bool>,
    pending: Cell<bool>,
    handled: Cell<u32>,
}

impl Vcpu {
    /// Raises the interrupt: its handler runs, unless interrupts are off.
    fn raise(&self) {
        self.pending.set(true);
        self.take();
    }

    fn take(&self) {
        if !self.off.get() && self.pending.take() {
            self.handled.set(self.handled.get() + 1);
        }
    }
}

// SAFETY: the handler is called by `take` alone, and not while interrupts are off.
unsafe impl Interrupts for Vcpu {
    fn disable(&self) -> bool {
        !self.off.replace(true)
    }

    unsafe fn enable(&self) {
        self.off.set(false);
        self.take();
    }

    unsafe fn wait(&self) {
        unreachable!("these waits poll");
    }
}

#[test]
fn an_event_between_the_check_and_the_sleep_ends_the_sleep() {
    let (vcpu, polls) = (Vcpu::default(), Cell::new(0));
    let xen = Fake(|_, arguments: &[usize]| {
        assert_eq!(arguments[0] as u32, command::Poll::NUMBER);
        // SAFETY: the typed call for this command passes this argument.
        assert_eq!(ports_of(unsafe { argument_at(arguments[1]) }), [3]);
        assert!(vcpu.off.get() && vcpu.pending.get(), "would sleep for ever");
        polls.set(polls.get() + 1);
        0
    });
    let checks = Cell::new(0);
    let result = Sched::new(&xen).wait_until(&vcpu, &[Port(3)], || {
        assert!(vcpu.off.get());
        let holds = vcpu.handled.get() == 1;
        checks.set(checks.get() + 1);
        if checks.get() == 1 {
            vcpu.raise();
        }
        holds
    });
    assert_eq!(result, Ok(()));
    assert_eq!((polls.get(), checks.get(), vcpu.off.get()), (1, 2, false));
}

#[test]
fn what_is_true_already_is_not_waited_for() {
    let (xen, vcpu) = (Script::new(), Vcpu::default());
    assert_eq!(Sched::new(&xen).wait_until(&vcpu, &[Port(3)], || true), Ok(()));
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let (vcpu, time) = (Vcpu::default(), Cell::new(5));
    let xen = Fake(|_, arguments: &[usize]| {
        // SAFETY: the typed call for this command passes this argument.
        let poll: &SchedPoll = unsafe { argument_at(arguments[1]) };
        assert_eq!(poll.timeout, 10);
        time.set(time.get() + 3);
        0
    });
    let deadline = SystemTime::from_nanos(10);
    let wait = |holds: bool| {
        let now = || SystemTime::from_nanos(time.get());
        Sched::new(&xen).wait_until_deadline(&vcpu, &[], deadline, now, || holds)
    };
    assert_eq!(wait(false), Ok(false));
    assert_eq!(time.get(), 11);
    assert_eq!(wait(true), Ok(true), "even when it is late");
}

#[test]
fn what_comes_true_while_the_clock_is_read_counts() {
    let (vcpu, came, deadline) = (Vcpu::default(), Cell::new(false), SystemTime::from_nanos(10));
    let now = || {
        came.set(true);
        deadline
    };
    let xen = Script::new();
    let waited = Sched::new(&xen).wait_until_deadline(&vcpu, &[], deadline, now, || came.get());
    assert_eq!(waited, Ok(true));
}

#[test]
fn a_refused_poll_leaves_interrupts_as_they_were() {
    let (vcpu, xen) =
        (Vcpu::default(), Script::new().argument(command::Poll, |_| errno(Errno::EINVAL)));
    assert_eq!(Sched::new(&xen).wait_until(&vcpu, &[Port(0)], || false), Err(Errno::EINVAL));
    assert!(!vcpu.off.get());
}
