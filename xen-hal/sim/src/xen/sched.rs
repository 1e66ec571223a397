//! Waiting, shutdown and watchdogs: hypercall `sched_op` (Xen's `common/sched/core.c`,
//! `common/domain.c`).

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use core::sync::atomic::Ordering;

use xen_hal::hypercall::Errno;
use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::sched::{
    SchedPinOverride, SchedPoll, SchedRemoteShutdown, SchedShutdown, SchedWatchdog, ShutdownReason,
    command,
};

use super::{Answer, Call};
use crate::config::Role;
use crate::state::{NANOS_PER_SECOND, Run};

/// How many ports can be polled at once.
const MAX_PORTS: u32 = 128;

pub(super) fn sched_op(call: &mut Call<'_>, op: usize, at: usize) -> Answer {
    match op as u32 {
        command::YieldCpu::NUMBER => {
            call.yields = true;
            Ok(0)
        }
        command::Block::NUMBER => block(call),
        command::Poll::NUMBER => {
            let asked = call.read(at)?;
            poll(call, &asked)
        }
        command::Shutdown::NUMBER => {
            let asked: SchedShutdown = call.read(at)?;
            shutdown(call, asked.reason)
        }
        command::ShutdownCode::NUMBER => {
            let asked: SchedShutdown = call.read(at)?;
            call.domain_mut().shutdown_code = Some(asked.reason);
            Ok(0)
        }
        command::RemoteShutdown::NUMBER => {
            let asked = call.read(at)?;
            remote_shutdown(call, asked)
        }
        command::Watchdog::NUMBER => {
            let asked = call.read(at)?;
            watchdog(call, asked)
        }
        command::PinOverride::NUMBER if call.state.profile.since(4, 7) => {
            if call.domain().role != Role::Control {
                return Err(Errno::EPERM);
            }
            let asked: SchedPinOverride = call.read(at)?;
            pin_override(call, asked.pcpu)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Pins the vCPU to a processor, of which there is one, or unpins it.
fn pin_override(call: &mut Call<'_>, pcpu: i32) -> Answer {
    let pinned = &mut call.state.vcpu_mut(call.me).pinned;
    match (pcpu, *pinned) {
        (0, true) => return Err(Errno::EBUSY),
        (0, false) | (..0, true) => *pinned = pcpu == 0,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Sleeps unless an interrupt can be delivered now. On Arm this turns interrupts on.
fn block(call: &mut Call<'_>) -> Answer {
    let me = call.me;
    if call.state.profile.is_arm() {
        call.interrupts = true;
    }
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(info) = call.state.info(me) {
        info.evtchn_upcall_mask().swap(0, Ordering::SeqCst);
    }
    if !call.can_deliver() {
        call.state.sleep(me, Run::Blocked);
    }
    Ok(0)
}

/// `do_poll`.
fn poll(call: &mut Call<'_>, asked: &SchedPoll) -> Answer {
    if asked.nr_ports > MAX_PORTS {
        return Err(Errno::EINVAL);
    }
    let (me, count) = (call.me, asked.nr_ports as usize);
    let list = asked.ports.as_ptr();
    if call.can_deliver() {
        return Ok(0);
    }
    let mut ports = Vec::new();
    for index in 0..count {
        let port = call.read::<u32>(list.wrapping_add(index).addr())?;
        call.domain().ports.usable(port)?;
        if call.state.is_pending(me.domain, port) {
            return Ok(0);
        }
        ports.push(port);
    }
    call.state.sleep(me, Run::Polling(ports));
    if asked.timeout != 0 {
        let due = call.state.machine_time(me.domain, asked.timeout);
        call.state.vcpu_mut(me).poll_deadline = due;
        call.state.find_next_timer();
    }
    Ok(0)
}

fn shutdown(call: &mut Call<'_>, reason: ShutdownReason) -> Answer {
    let me = call.me.domain;
    if reason == ShutdownReason::SUSPEND {
        return Ok(usize::from(call.state.suspend(call.me)));
    }
    let reason = call.domain().shutdown_code.unwrap_or(reason);
    call.state.end_domain(me, reason);
    Ok(0)
}

fn remote_shutdown(call: &mut Call<'_>, asked: SchedRemoteShutdown) -> Answer {
    // This command does not accept `DOMID_SELF`.
    if asked.domain_id == Domid::SELF {
        return Err(Errno::ESRCH);
    }
    let target = call.target(asked.domain_id)?;
    if call.domain().role != Role::Control {
        return Err(Errno::EPERM);
    }
    call.state.end_domain(target, asked.reason);
    Ok(0)
}

/// `domain_watchdog`.
fn watchdog(call: &mut Call<'_>, asked: SchedWatchdog) -> Answer {
    let expires = call.state.now.saturating_add(u64::from(asked.timeout) * NANOS_PER_SECOND);
    let watchdogs = &mut call.domain_mut().watchdogs;
    let answer = if asked.id == 0 {
        // A timeout of 0 ends the domain at once.
        match watchdogs.iter().position(Option::is_none) {
            Some(free) => {
                watchdogs[free] = Some(expires);
                free + 1
            }
            // Xen returns the error in 32 bits, which are a positive number in 64 bits.
            None => (-i32::from(Errno::ENOSPC.number() as i16)) as u32 as usize,
        }
    } else {
        let watchdog = watchdogs
            .get_mut(asked.id as usize - 1)
            .filter(|watchdog| watchdog.is_some())
            .ok_or(Errno::EINVAL)?;
        *watchdog = (asked.timeout > 0).then_some(expires);
        0
    };
    call.state.find_next_timer();
    Ok(answer)
}
