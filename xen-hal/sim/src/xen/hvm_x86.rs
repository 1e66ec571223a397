//! Parameters and upcall vectors on x86: hypercall `hvm_op` (Xen's `arch/x86/hvm/hvm.c`).

use xen_hal::hvm::is_removed;
use xen_hal::hypercall::Errno;
use xen_pac::command::Command;
use xen_pac::hvm::{
    CallbackVia, CallbackViaVariant, HVM_NR_PARAMS, HvmParam, XenHvmEvtchnUpcallVector,
    XenHvmGetMemType, XenHvmGetTime, XenHvmPagetableDying, XenHvmParam, XenHvmXentrace, command,
};

use super::{Answer, Call};
use crate::config::Profile;
use crate::state::VcpuKey;

/// The lowest vector that Xen accepts.
const LOWEST_VECTOR: u8 = 0x10;
/// Bytes of a 32-bit task state segment, the least for VM86_TSS_SIZED.
const TASK_STATE: u64 = 104;
/// The size that Xen takes if VM86_TSS sets only the address.
const OLD_TASK_STATE: u64 = 128;
/// The widths of the saved x87 instruction pointer, in bytes; 0 lets Xen choose.
const FIP_WIDTHS: [u64; 3] = [0, 4, 8];

pub(super) fn hvm_op(call: &mut Call<'_>, op: usize, at: usize) -> Answer {
    // Xen compares all bits of the number.
    match u32::try_from(op).unwrap_or(u32::MAX) {
        command::SetParam::NUMBER => {
            let asked = call.read(at)?;
            set(call, &asked)
        }
        command::GetParam::NUMBER => call.update(at, get),
        command::SetEvtchnUpcallVector::NUMBER if call.state.profile.since(4, 6) => {
            let asked = call.read(at)?;
            upcall_vector(call, asked)
        }
        command::FlushTlbs::NUMBER if at == 0 => Ok(0),
        command::FlushTlbs::NUMBER => Err(Errno::EINVAL),
        command::GetTime::NUMBER => call.update(at, |call, asked: &mut XenHvmGetTime| {
            asked.now = call.state.domain_time(call.me.domain, call.state.now);
            Ok(0)
        }),
        command => of_the_toolstack(call, command, at),
    }
}

/// Commands of device models and monitors, which change nothing here: the answer to zeros in the
/// argument, but for the domain.
fn of_the_toolstack(call: &Call<'_>, command: u32, at: usize) -> Answer {
    match command {
        command::PagetableDying::NUMBER => {
            let asked: XenHvmPagetableDying = call.read(at)?;
            let is_other = call.target(asked.domid)? != call.me.domain;
            Err(if is_other { Errno::EOPNOTSUPP } else { Errno::EINVAL })
        }
        command::Xentrace::NUMBER => {
            let asked: XenHvmXentrace = call.read(at)?;
            // The upper bits are the hypervisor's own classes of events.
            let fits = asked.event < 1 << 12 && usize::from(asked.extra_bytes) <= asked.extra.len();
            if fits { Ok(0) } else { Err(Errno::EINVAL) }
        }
        command::GetMemType::NUMBER => {
            let asked: XenHvmGetMemType = call.read(at)?;
            call.own_target(asked.domid)?;
            Ok(0)
        }
        command::GuestRequestVmEvent::NUMBER if at == 0 => Ok(0),
        command::GuestRequestVmEvent::NUMBER => Err(Errno::EINVAL),
        command::Altp2m::NUMBER => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::ENOSYS),
    }
}

/// Returns whether a domain may set this parameter of its own.
fn may_be_set(index: HvmParam) -> bool {
    [
        HvmParam::CALLBACK_IRQ,
        HvmParam::STORE_EVTCHN,
        HvmParam::VM86_TSS,
        HvmParam::CONSOLE_EVTCHN,
        HvmParam::ACPI_IOPORTS_LOCATION,
        HvmParam::VM_GENERATION_ID_ADDR,
        HvmParam::X87_FIP_WIDTH,
        HvmParam::VM86_TSS_SIZED,
    ]
    .contains(&index)
}

/// Returns whether a domain may read this parameter of its own.
fn may_be_read(index: HvmParam) -> bool {
    may_be_set(index)
        || [HvmParam::STORE_PFN, HvmParam::CONSOLE_PFN, HvmParam::ALTP2M].contains(&index)
}

/// Returns whether a parameter can be set only once.
fn is_set_once(index: HvmParam) -> bool {
    [
        HvmParam::VIRIDIAN,
        HvmParam::IOREQ_SERVER_PFN,
        HvmParam::NR_IOREQ_SERVER_PAGES,
        HvmParam::ALTP2M,
        HvmParam::MCA_CAP,
    ]
    .contains(&index)
}

/// The domain whose parameter it is, if the caller may access it.
fn target(
    call: &Call<'_>,
    asked: &XenHvmParam,
    may: fn(Profile, HvmParam) -> bool,
) -> Result<usize, Errno> {
    let late = asked.index.since().is_some_and(|since| call.state.profile.release < since);
    if late || asked.index.0 >= HVM_NR_PARAMS {
        return Err(Errno::EINVAL);
    }
    let target = call.own_target(asked.domid)?;
    if call.state.profile.since(4, 15) && is_removed(asked.index) {
        return Err(Errno::EINVAL);
    }
    if target == call.me.domain && !may(call.state.profile, asked.index) {
        Err(Errno::EPERM)
    } else {
        Ok(target)
    }
}

/// `hvmop_set_param`, `hvm_set_param`.
fn set(call: &mut Call<'_>, asked: &XenHvmParam) -> Answer {
    let target = target(call, asked, |profile, index| {
        may_be_set(index) || index == HvmParam::ALTP2M && profile.since(4, 19)
    })?;
    // Both task state parameters are one value, with the size in the upper half.
    let (index, value) = match asked.index {
        HvmParam::VM86_TSS if asked.value == 0 => (HvmParam::VM86_TSS_SIZED, 0),
        HvmParam::VM86_TSS if asked.value <= u64::from(u32::MAX) => {
            (HvmParam::VM86_TSS_SIZED, asked.value | OLD_TASK_STATE << u32::BITS)
        }
        index => (index, asked.value),
    };
    let before = call.state.domains[target].parameters[index.0 as usize];
    match asked.index {
        // Since 4.19 it is fixed when the domain is created.
        HvmParam::ALTP2M if call.state.profile.since(4, 19) => return Err(Errno::EEXIST),
        index if is_set_once(index) && before != 0 && before != value => return Err(Errno::EEXIST),
        // No simulated domain has the ports.
        HvmParam::ACPI_IOPORTS_LOCATION => return Err(Errno::ENODEV),
        HvmParam::X87_FIP_WIDTH if !FIP_WIDTHS.contains(&value) => return Err(Errno::EINVAL),
        HvmParam::VM86_TSS if asked.value > u64::from(u32::MAX) => return crash(call, target),
        HvmParam::VM86_TSS_SIZED if asked.value >> u32::BITS < TASK_STATE => {
            return crash(call, target);
        }
        _ => {}
    }
    call.state.domains[target].parameters[index.0 as usize] = value;
    if asked.index == HvmParam::CALLBACK_IRQ {
        // The width of the guest is latched (`hvm_latch_shinfo_size`).
        call.state.write_wallclock(target);
        set_callback(call, target, value);
    }
    Ok(0)
}

/// Returns an invalid task state segment crashes the domain that sets it for itself.
fn crash(call: &mut Call<'_>, target: usize) -> Answer {
    if target == call.me.domain {
        call.state.crash(call.me, "it set an invalid task state segment");
    }
    Err(Errno::EINVAL)
}

/// `hvm_set_callback_via`. No simulated domain has emulated interrupt controllers. Xen then ignores
/// every value except a vector, and an earlier vector stays.
fn set_callback(call: &mut Call<'_>, target: usize, value: u64) {
    let Ok(CallbackViaVariant::Vector { vector }) =
        CallbackVia::decode(value).map(CallbackVia::variant)
    else {
        return;
    };
    call.state.domains[target].upcall_vector = Some(vector);
    // The vector is level-triggered, so it is raised for an upcall that is already pending.
    for vcpu in 0..call.state.domains[target].vcpus.len() {
        let key = VcpuKey { domain: target, vcpu };
        if call.state.upcall_is_pending(key) {
            call.state.wake(key);
        }
    }
}

fn get(call: &mut Call<'_>, asked: &mut XenHvmParam) -> Answer {
    let target = target(call, asked, |_, index| may_be_read(index))?;
    let parameters = &call.state.domains[target].parameters;
    asked.value = match asked.index {
        HvmParam::VM86_TSS => parameters[HvmParam::VM86_TSS_SIZED.0 as usize] & u64::from(u32::MAX),
        index => parameters[index.0 as usize],
    };
    Ok(0)
}

/// `hvmop_set_evtchn_upcall_vector`, which raises the vector once.
fn upcall_vector(call: &mut Call<'_>, asked: XenHvmEvtchnUpcallVector) -> Answer {
    if asked.vector < LOWEST_VECTOR {
        return Err(Errno::EINVAL);
    }
    let key = VcpuKey { domain: call.me.domain, vcpu: asked.vcpu as usize };
    if key.vcpu >= call.domain().vcpus.len() {
        return Err(Errno::ENOENT);
    }
    call.state.vcpu_mut(key).own_vector = Some(asked.vector);
    call.state.assert_interrupt(key);
    Ok(0)
}
