//! Parameters on Arm: hypercall `hvm_op` (Xen's `arch/arm/hvm.c`).

use xen_hal::hypercall::Errno;
use xen_pac::command::Command;
use xen_pac::hvm::{HvmParam, XenHvmParam, command};

#[cfg(target_arch = "x86_64")]
use super::hvm_x86;
use super::{Answer, Call};

pub(super) fn hvm_op(call: &mut Call<'_>, op: usize, at: usize) -> Answer {
    #[cfg(target_arch = "x86_64")]
    if !call.state.profile.is_arm() {
        return hvm_x86::hvm_op(call, op, at);
    }
    // Xen compares all bits of the number.
    match u32::try_from(op).unwrap_or(u32::MAX) {
        command::SetParam::NUMBER => {
            let asked = call.read(at)?;
            set(call, &asked)
        }
        command::GetParam::NUMBER => call.update(at, |call, asked| {
            let target = target(call, asked, false)?;
            asked.value = call.state.domains[target].parameters[asked.index.0 as usize];
            Ok(0)
        }),
        // No domain here has a monitor.
        command::GuestRequestVmEvent::NUMBER if at == 0 => Ok(0),
        command::GuestRequestVmEvent::NUMBER => Err(Errno::EINVAL),
        _ => Err(Errno::ENOSYS),
    }
}

/// On Arm, Xen only stores a parameter: events always raise the same interrupt.
fn set(call: &mut Call<'_>, asked: &XenHvmParam) -> Answer {
    let target = target(call, asked, true)?;
    call.state.domains[target].parameters[asked.index.0 as usize] = asked.value;
    Ok(0)
}

/// Returns the domain whose parameter it is. On Arm, a domain may not set its own parameters, and
/// may read only these.
fn target(call: &Call<'_>, asked: &XenHvmParam, set: bool) -> Result<usize, Errno> {
    let known = [
        HvmParam::CALLBACK_IRQ,
        HvmParam::STORE_PFN,
        HvmParam::STORE_EVTCHN,
        HvmParam::CONSOLE_PFN,
        HvmParam::CONSOLE_EVTCHN,
    ];
    let target = call.own_target(asked.domid)?;
    let own = target == call.me.domain;
    match asked.index {
        HvmParam::MONITOR_RING_PFN if own => Err(Errno::EPERM),
        HvmParam::MONITOR_RING_PFN => Ok(target),
        index if !known.contains(&index) => Err(Errno::EINVAL),
        _ if set && own => Err(Errno::EPERM),
        _ => Ok(target),
    }
}
