//! A domain that goes elsewhere, or does not.

use std::time::Duration;

use xen_hal::sim::{Adversity, Profile, Setup};
use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::EvtchnState;
use xen_pac::grant_table::GrantStatus;
use xen_pac::hvm::{HvmParam, XenHvmEvtchnUpcallVector, XenHvmParam, command as hvm};
use xen_pac::memory::{self, XenRemoveFromPhysmap};
use xen_pac::sched::{SchedShutdown, SchedWatchdog, ShutdownReason, command as sched};
use xen_pac::vcpu::{VcpuRegisterVcpuInfo, VcpuSetSingleshotTimer, command as vcpu};

use crate::support::answer::*;
use crate::support::events::{ipi, status, virq};
use crate::support::grants::{PERMIT, entry, host_map, map, map_table, put, set_version};
use crate::support::{Answer, OK, Table, one};
use crate::world::{Notes, VECTOR, attach, byte, marks, set_byte};

fn suspend(t: &Table) -> Answer {
    t.give(sched::Shutdown, &mut SchedShutdown::new(ShutdownReason::SUSPEND))
}

fn callback(t: &Table) -> u64 {
    let mut asked = XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, 1);
    t.is("callback", t.give(hvm::GetParam, &mut asked), OK);
    asked.value
}

fn remove(t: &Table, page: usize) -> Answer {
    t.give(memory::command::RemoveFromPhysmap, &mut XenRemoveFromPhysmap::new(Domid::SELF, t.frame(page)))
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
    t.is("a mapping", map(t, t.frame(9) * 4096, host_map(), 8, t.domain()).0, Ok(GrantStatus::OKAY));
    t.is("a block", t.give_vcpu(vcpu::RegisterVcpuInfo, 0, &mut VcpuRegisterVcpuInfo::new(t.frame(2), 0)), OK);
    t.is("a vector", t.give(hvm::SetEvtchnUpcallVector, &mut XenHvmEvtchnUpcallVector::new(0, 0x40)), OK);
    t.is("a watchdog", watchdog(t, 0), Ok(1));
    let due = (t.now() + Duration::from_secs(1)).as_nanos() as u64;
    t.is("a timer", t.give_vcpu(vcpu::SetSingleshotTimer, 0, &mut VcpuSetSingleshotTimer::new(due, 0)), OK);
    set_byte(t.page(20), 0, 99);
}

#[test]
fn elsewhere_nothing_is_registered() {
    one(Profile::DOMU, Setup::new(), |t| {
        register_all(t);
        let before = t.now();
        t.is("suspended, and restored", suspend(t), OK);
        t.is("ports", [1, 2].map(|port| status(t, Domid::SELF, port)), [Ok(EvtchnState::CLOSED); 2]);
        t.is("callback", callback(t), 0);
        t.is("the shared page is mapped nowhere", remove(t, 0), ENOENT);
        t.is("nor is the table", remove(t, 1), ENOENT);
        t.is("nor what was mapped of others", remove(t, 9), ENOENT);
        t.is("memory is as it was", byte(t.page(20), 0), 99);
        t.is("watchdogs", watchdog(t, 1), EINVAL);
        // Nothing ends the domain, and no interrupt without a handler comes.
        t.enable_interrupts();
        t.advance(Duration::from_secs(30));
        t.is(
            "time is another machine's",
            t.now().abs_diff(before) > Duration::from_secs(31) || t.now() < before + Duration::from_secs(30),
            true,
        );
        let shared = crate::world::map_shared(t, 0);
        t.is("the block is in the shared page again", marks(crate::world::block(shared, 0)), (false, 0));
        let notes = Notes::default();
        notes.note(**t, VECTOR, attach(t));
        t.is("events come by the domain's vector", (ipi(t, 0), crate::support::events::send(t, 1), notes.ports()), (Ok(1), OK, vec![1]));
        // The handler does not know of the block that comes now.
        xen_hal::platform::Interrupts::disable(&t.interrupts());
        t.is("another can be registered", t.give_vcpu(vcpu::RegisterVcpuInfo, 0, &mut VcpuRegisterVcpuInfo::new(t.frame(2), 0)), OK);
        map_table(t, 1);
        t.is("nothing is lent", map(t, t.frame(9) * 4096, host_map(), 8, t.domain()).0, Ok(GrantStatus::GENERAL_ERROR));
    });
}

#[test]
fn what_is_called_off_changes_nothing() {
    one(Profile::DOMU, Setup::new(), |t| {
        register_all(t);
        t.set_adversity(Adversity { cancelled_suspends: 1, ..Adversity::calm() });
        let (before, time, via) = (t.snapshot(), t.now(), callback(t));
        t.is("called off", suspend(t), Ok(1));
        t.is("nothing has changed", before.difference(&t.snapshot()), Vec::<String>::new());
        t.is("time goes on", (t.now() - time) < Duration::from_millis(1), true);
        t.is("callback", callback(t), via);
        t.is("ports", status(t, Domid::SELF, 1), Ok(EvtchnState::IPI));
        t.is("watchdogs", watchdog(t, 1), OK);
    });
}
