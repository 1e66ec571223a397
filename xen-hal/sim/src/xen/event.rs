//! Event channels: hypercall `event_channel_op` (Xen's `common/event_channel.c`).

use xen_hal::hypercall::Errno;
use xen_pac::base::{Domid, Virq};
use xen_pac::command::Command;
use xen_pac::event_channel::{
    EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu,
    EvtchnBindVirq, EvtchnClose, EvtchnExpandArray, EvtchnInitControl, EvtchnReset, EvtchnSend,
    EvtchnSetPriority, EvtchnState, EvtchnStatus, EvtchnStatusU, EvtchnStatusUInterdomain,
    EvtchnUnmask, command,
};

use super::{Answer, Call};
use crate::config::Role;
use crate::state::{Binding, VcpuKey};

/// How many VIRQs there are.
const VIRQS: u32 = 24;
/// How many PIRQs the control domain and a guest can bind on x86, on a machine with 24 inputs of
/// I/O APICs and one processor (`arch_hwdom_irqs`).
const PIRQS: (u32, u32) = (24 + 192, 24 + 32);
/// The number of PIRQs on Arm, where none can be bound.
const ARM_PIRQS: u32 = 1024;
/// The command with which Xen continues a long reset.
const RESET_CONT: u32 = 14;
/// The greatest offset of a FIFO control block in its page.
const CONTROL_END: u32 = 4024;

/// Returns whether a VIRQ belongs to the domain, and not to each vCPU.
const fn is_global(virq: Virq) -> bool {
    !matches!(virq, Virq::TIMER | Virq::DEBUG | Virq::XENOPROF | Virq::XENPMU)
}

/// Returns whether a VIRQ belongs to the whole machine, so that only one domain can bind it: here
/// the control domain.
fn is_of_the_machine(virq: Virq) -> bool {
    is_global(virq) && virq != Virq::ARGO
}

pub(super) fn event_channel_op(call: &mut Call<'_>, op: usize, at: usize) -> Answer {
    match op as u32 {
        command::AllocUnbound::NUMBER => call.update(at, alloc_unbound),
        command::BindInterdomain::NUMBER => call.update(at, bind_interdomain),
        command::BindVirq::NUMBER => call.update(at, bind_virq),
        command::BindIpi::NUMBER => call.update(at, bind_ipi),
        command::BindPirq::NUMBER => call.update(at, bind_pirq),
        command::Close::NUMBER => close(call, call.read::<EvtchnClose>(at)?.port),
        command::Send::NUMBER => send(call, call.read::<EvtchnSend>(at)?.port),
        command::Status::NUMBER => call.update(at, status),
        command::BindVcpu::NUMBER => bind_vcpu(call, call.read(at)?),
        command::Unmask::NUMBER => unmask(call, call.read::<EvtchnUnmask>(at)?.port),
        command::Reset::NUMBER => reset(call, call.read::<EvtchnReset>(at)?.dom),
        RESET_CONT => {
            let target = call.own_target(call.read::<EvtchnReset>(at)?.dom)?;
            // No reset takes too long here.
            Err(if target == call.me.domain { Errno::EBUSY } else { Errno::EINVAL })
        }
        command::InitControl::NUMBER => init_control(call, call.read(at)?),
        command::ExpandArray::NUMBER => {
            call.read::<EvtchnExpandArray>(at)?;
            // Every domain here uses the two-level form.
            Err(Errno::EOPNOTSUPP)
        }
        command::SetPriority::NUMBER => {
            let asked: EvtchnSetPriority = call.read(at)?;
            call.domain().ports.get(asked.port)?;
            Err(Errno::ENOSYS)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Returns the caller's number for `DOMID_SELF`.
fn resolved(call: &Call<'_>, domain: Domid) -> Domid {
    if domain == Domid::SELF { call.domain().id } else { domain }
}

fn alloc_unbound(call: &mut Call<'_>, asked: &mut EvtchnAllocUnbound) -> Answer {
    let target = call.target(asked.dom)?;
    call.state.domains[target].ports.allocate()?;
    let remote = resolved(call, asked.remote_dom);
    // Only SILO looks up the remote domain.
    if call.state.is_silo {
        let other = call.target(remote)?;
        if call.state.silo_forbids(call.me.domain, target, other) {
            return Err(Errno::EPERM);
        }
    }
    call.state.may_act_on(call.me.domain, target)?;
    asked.port = call.state.domains[target].ports.bind(Binding::Unbound { remote }, 0)?;
    Ok(0)
}

fn bind_interdomain(call: &mut Call<'_>, asked: &mut EvtchnBindInterdomain) -> Answer {
    let me = call.domain().id;
    let there = call.target(asked.remote_dom)?;
    let local = call.domain_mut().ports.allocate()?;
    let far = call.state.domains[there].ports.usable(asked.remote_port)?;
    if far.binding != (Binding::Unbound { remote: me }) {
        return Err(Errno::EINVAL);
    }
    if call.state.silo_forbids(call.me.domain, call.me.domain, there) {
        return Err(Errno::EPERM);
    }
    let remote = call.state.domains[there].id;
    call.domain_mut().ports.bind(Binding::Interdomain { remote, port: asked.remote_port }, 0)?;
    call.state.domains[there].ports.all[asked.remote_port as usize].binding =
        Binding::Interdomain { remote: me, port: local };
    asked.local_port = local;
    // Earlier events may have been lost, so the new port starts with a pending event.
    call.state.set_pending(call.me.domain, local);
    Ok(0)
}

fn bind_virq(call: &mut Call<'_>, asked: &mut EvtchnBindVirq) -> Answer {
    let (virq, vcpu) = (asked.virq, asked.vcpu as usize);
    if virq.0 >= VIRQS || is_global(virq) && vcpu != 0 {
        return Err(Errno::EINVAL);
    }
    if vcpu >= call.domain().vcpus.len() {
        return Err(Errno::ENOENT);
    }
    if call.state.profile.since(4, 21)
        && is_of_the_machine(virq)
        && call.domain().role != Role::Control
    {
        return Err(Errno::EBUSY);
    }
    if call.domain().ports.of_virq(virq, (!is_global(virq)).then_some(vcpu)).is_some() {
        return Err(Errno::EEXIST);
    }
    asked.port = call.domain_mut().ports.bind(Binding::Virq(virq), vcpu)?;
    Ok(0)
}

fn bind_ipi(call: &mut Call<'_>, asked: &mut EvtchnBindIpi) -> Answer {
    let vcpu = asked.vcpu as usize;
    if vcpu >= call.domain().vcpus.len() {
        return Err(Errno::ENOENT);
    }
    asked.port = call.domain_mut().ports.bind(Binding::Ipi, vcpu)?;
    Ok(0)
}

fn bind_pirq(call: &mut Call<'_>, asked: &mut EvtchnBindPirq) -> Answer {
    let arm = call.state.profile.is_arm();
    let of_control = call.domain().role == Role::Control;
    let (control, guest) = if arm { (ARM_PIRQS, ARM_PIRQS) } else { PIRQS };
    if asked.pirq >= if of_control { control } else { guest } {
        return Err(Errno::EINVAL);
    }
    let binding = Binding::Pirq(asked.pirq);
    if call.domain().ports.all.iter().any(|port| port.binding == binding) {
        return Err(Errno::EEXIST);
    }
    if arm {
        call.domain().ports.clone().allocate()?;
        return Err(Errno::ENOMEM);
    }
    asked.port = call.domain_mut().ports.bind(binding, 0)?;
    Ok(0)
}

fn close(call: &mut Call<'_>, port: u32) -> Answer {
    call.domain().ports.usable(port)?;
    call.state.close_port(call.me.domain, port);
    Ok(0)
}

fn send(call: &mut Call<'_>, port: u32) -> Answer {
    let me = call.me.domain;
    match call.domain().ports.usable(port)?.binding {
        Binding::Ipi => call.state.set_pending(me, port),
        Binding::Interdomain { remote, port } => {
            if let Ok(there) = call.target(remote) {
                call.state.set_pending(there, port);
            }
        }
        Binding::Unbound { .. } => {}
        Binding::Virq(_) | Binding::Pirq(_) | Binding::Free | Binding::Xen => {
            return Err(Errno::EINVAL);
        }
    }
    Ok(0)
}

fn status(call: &mut Call<'_>, asked: &mut EvtchnStatus) -> Answer {
    let target = call.target(asked.dom)?;
    let port = call.state.domains[target].ports.get(asked.port)?.clone();
    asked.vcpu = port.vcpu as u32;
    // The bytes of the union that a kind does not use stay as they were.
    let before = asked.u.interdomain();
    let word = |value: u32| EvtchnStatusUInterdomain {
        dom: Domid(value as u16),
        _pad0: ((value >> 16) as u16).to_le_bytes(),
        ..before
    };
    let (status, u) = match port.binding {
        Binding::Xen => return Err(Errno::EACCES),
        Binding::Free => (EvtchnState::CLOSED, before),
        Binding::Unbound { remote } => {
            (EvtchnState::UNBOUND, EvtchnStatusUInterdomain { dom: remote, ..before })
        }
        Binding::Interdomain { remote, port } => {
            (EvtchnState::INTERDOMAIN, EvtchnStatusUInterdomain { dom: remote, port, ..before })
        }
        Binding::Pirq(number) => (EvtchnState::PIRQ, word(number)),
        Binding::Virq(virq) => (EvtchnState::VIRQ, word(virq.0)),
        Binding::Ipi => (EvtchnState::IPI, before),
    };
    call.state.may_act_on(call.me.domain, target)?;
    (asked.status, asked.u) = (status, EvtchnStatusU::from_interdomain(u));
    Ok(0)
}

fn bind_vcpu(call: &mut Call<'_>, asked: EvtchnBindVcpu) -> Answer {
    let vcpu = asked.vcpu as usize;
    if vcpu >= call.domain().vcpus.len() {
        return Err(Errno::ENOENT);
    }
    match call.domain().ports.usable(asked.port)?.binding {
        Binding::Ipi => return Err(Errno::EINVAL),
        Binding::Virq(virq) if !is_global(virq) => return Err(Errno::EINVAL),
        _ => {}
    }
    call.domain_mut().ports.all[asked.port as usize].vcpu = vcpu;
    Ok(0)
}

fn unmask(call: &mut Call<'_>, port: u32) -> Answer {
    call.domain().ports.get(port)?;
    if let Ok(found) = call.domain().ports.usable(port) {
        let key = VcpuKey { domain: call.me.domain, vcpu: found.vcpu };
        call.state.unmask_port(key, port);
    }
    Ok(0)
}

fn reset(call: &mut Call<'_>, domain: Domid) -> Answer {
    let target = call.target(domain)?;
    call.state.may_act_on(call.me.domain, target)?;
    // Another domain must be paused, and the simulator pauses none.
    if target != call.me.domain {
        return Err(Errno::EINVAL);
    }
    call.state.close_all_ports(target);
    Ok(0)
}

/// Makes all checks, then refuses the FIFO form, as does a Xen that was started without it.
fn init_control(call: &mut Call<'_>, asked: EvtchnInitControl) -> Answer {
    if asked.vcpu as usize >= call.domain().vcpus.len() {
        return Err(Errno::ENOENT);
    }
    let is_memory = || call.domain().physmap.ram(asked.control_gfn).is_some();
    if asked.offset > CONTROL_END || !asked.offset.is_multiple_of(8) || !is_memory() {
        return Err(Errno::EINVAL);
    }
    Err(Errno::ENOSYS)
}
