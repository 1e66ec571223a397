//! vCPUs: hypercalls `vcpu_op` and `vm_assist` (Xen's `common/domain.c`, `arch/x86/domain.c`).

use core::sync::atomic::Ordering;

use xen_hal::hypercall::Errno;
use xen_hal::platform::{Frame, PAGE_SIZE};
use xen_pac::base::XenUlong;
use xen_pac::command::Command;
use xen_pac::shared_info::raw::{VcpuInfo, VcpuTimeInfo};
use xen_pac::vcpu::{
    Runstate, VcpuGetPhysid, VcpuRegisterRunstateMemoryArea, VcpuRegisterTimeMemoryArea,
    VcpuRegisterVcpuInfo, VcpuSetPeriodicTimer, VcpuSetSingleshotTimer, command, raw,
    singleshot_timer_flags,
};
#[cfg(target_arch = "x86_64")]
use xen_pac::vcpu::{VcpuHvmContext, VcpuHvmMode, VcpuHvmX8632};
use xen_pac::vm_assist::{VmAssistType, command as assist};

use super::{Answer, Call};
use crate::config::Role;
use crate::raw_memory::MachineFrame;
use crate::state::{Area, Run, VcpuKey};

/// The delay that Xen uses for a time that is too far away, in nanoseconds.
const HUGE_TIMEOUT: u64 = 100_000_000;
/// The bounds of a period, in nanoseconds.
const PERIODS: core::ops::RangeInclusive<u64> = 1_000_000..=(1 << 62) - 1;

pub(super) fn vcpu_op(call: &mut Call<'_>, op: usize, vcpu: usize, at: usize) -> Answer {
    // Xen takes 32 bits of the number.
    let vcpu = vcpu as u32 as usize;
    let key = VcpuKey { domain: call.me.domain, vcpu };
    if vcpu >= call.domain().vcpus.len() {
        return Err(Errno::ENOENT);
    }
    let op = op as u32;
    let on_arm = [command::RegisterRunstateMemoryArea::NUMBER, command::RegisterVcpuInfo::NUMBER];
    if call.state.profile.is_arm() && !on_arm.contains(&op) {
        return Err(Errno::EINVAL);
    }
    match op {
        #[cfg(target_arch = "x86_64")]
        command::Initialise::NUMBER if call.state.profile.since(4, 7) => initialise(call, key, at),
        command::Up::NUMBER => up(call, key),
        command::Down::NUMBER => Ok(down(call, key)),
        command::IsUp::NUMBER => Ok(usize::from(call.state.vcpu(key).is_up())),
        command::GetRunstateInfo::NUMBER => {
            let times = call.state.run_times(key);
            call.write(at, call.state.runstate_info(key, &times)).map(|()| 0)
        }
        command::SetPeriodicTimer::NUMBER => {
            let asked = call.read(at)?;
            set_periodic(call, key, asked)
        }
        command::StopPeriodicTimer::NUMBER => {
            call.state.vcpu_mut(key).period = None;
            Ok(0)
        }
        command::SetSingleshotTimer::NUMBER => set_singleshot(call, key, at),
        command::StopSingleshotTimer::NUMBER if key == call.me => {
            call.state.vcpu_mut(key).singleshot = None;
            call.state.find_next_timer();
            Ok(0)
        }
        command::RegisterVcpuInfo::NUMBER => {
            let asked = call.read(at)?;
            register_info(call, key, asked)
        }
        command::RegisterRunstateMemoryArea::NUMBER => {
            let asked: VcpuRegisterRunstateMemoryArea = call.read(at)?;
            let area = virtual_area(
                call,
                asked.addr.v().as_ptr().addr(),
                size_of::<raw::VcpuRunstateInfo>(),
            );
            register_runstate(call, key, area, false)
        }
        command::RegisterVcpuTimeMemoryArea::NUMBER => {
            let asked: VcpuRegisterTimeMemoryArea = call.read(at)?;
            let area =
                virtual_area(call, asked.addr.v().as_ptr().addr(), size_of::<VcpuTimeInfo>());
            register_time(call, key, area, false)
        }
        command::RegisterRunstatePhysArea::NUMBER if call.state.profile.since(4, 18) => {
            let asked: VcpuRegisterRunstateMemoryArea = call.read(at)?;
            let area = physical(call, asked.addr.p(), size_of::<raw::VcpuRunstateInfo>())?;
            register_runstate(call, key, area, true)
        }
        command::RegisterVcpuTimePhysArea::NUMBER if call.state.profile.since(4, 18) => {
            let asked: VcpuRegisterTimeMemoryArea = call.read(at)?;
            let area = physical(call, asked.addr.p(), size_of::<VcpuTimeInfo>())?;
            register_time(call, key, area, true)
        }
        command::SendNmi::NUMBER if at == 0 => {
            call.state.vcpu_mut(key).nmi = true;
            call.state.wake(key);
            Ok(0)
        }
        // The machine has one processor, so every vCPU of the hardware domain is pinned to it. Its
        // local APIC and ACPI have number 0. Xen looks up the processor with the vCPU's number.
        command::GetPhysid::NUMBER if call.domain().role == Role::Control => {
            let phys_id = if vcpu == 0 { 0 } else { u64::MAX };
            call.write(at, VcpuGetPhysid { phys_id }).map(|()| 0)
        }
        command::SendNmi::NUMBER
        | command::GetPhysid::NUMBER
        | command::StopSingleshotTimer::NUMBER => Err(Errno::EINVAL),
        _ => Err(Errno::ENOSYS),
    }
}

#[cfg(target_arch = "x86_64")]
fn initialise(call: &mut Call<'_>, key: VcpuKey, at: usize) -> Answer {
    // Up to 4.18 a vCPU needs a block before it can be initialised.
    if !call.state.profile.since(4, 19) && call.state.vcpu(key).info.is_none() {
        return Err(Errno::EINVAL);
    }
    let context: VcpuHvmContext = call.read(at)?;
    if call.state.vcpu(key).initialised {
        return Err(Errno::EEXIST);
    }
    if !can_start(&context) {
        return Err(Errno::EINVAL);
    }
    call.state.vcpu_mut(key).initialised = true;
    Ok(0)
}

/// Returns whether the state is valid for its mode, so that a vCPU can start in it
/// (`arch_set_info_hvm_guest`).
#[cfg(target_arch = "x86_64")]
fn can_start(context: &VcpuHvmContext) -> bool {
    const PAGING: u64 = 1 << 31;
    const PAE: u64 = 1 << 5;
    const LONG_MODE_ENABLED: u64 = 1 << 8;
    const LONG_MODE_ACTIVE: u64 = 1 << 10;
    if context.pad != 0 {
        return false;
    }
    match context.mode {
        VcpuHvmMode::BITS_32 => {
            let registers = context.cpu_regs.x86_32();
            let long_mode = registers.efer & (LONG_MODE_ENABLED | LONG_MODE_ACTIVE);
            registers.pad1 == 0
                && registers.pad2 == [0; 3]
                && segments_are_valid(&registers)
                && long_mode != LONG_MODE_ACTIVE
        }
        VcpuHvmMode::BITS_64 => {
            let registers = context.cpu_regs.x86_64();
            let has = |register: u64, bit: u64| register & bit != 0;
            // Canonical: the upper 17 bits are equal.
            matches!(registers.rip as i64 >> 47, 0 | -1)
                && has(registers.cr0, PAGING)
                && has(registers.cr4, PAE)
                && has(registers.efer, LONG_MODE_ENABLED)
        }
        _ => false,
    }
}

/// A segment's attributes: bits of its descriptor.
#[cfg(target_arch = "x86_64")]
mod segment {
    pub(super) const TYPE: u16 = 0xf;
    pub(super) const CODE: u16 = 1 << 3;
    /// Data that can be written, or code that can be read.
    pub(super) const ACCESS: u16 = 1 << 1;
    pub(super) const NOT_SYSTEM: u16 = 1 << 4;
    pub(super) const LEVEL: u16 = 3 << 5;
    pub(super) const PRESENT: u16 = 1 << 7;
    pub(super) const GRANULAR: u16 = 1 << 11;
    pub(super) const RESERVED: u16 = 0xf << 12;
    /// The type of a 32-bit task state segment, and the bit that Xen sets in it.
    pub(super) const TASK_STATE: u16 = 0xb;
    pub(super) const BUSY: u16 = 1 << 1;
}

/// `check_segment`, and what Xen checks of a 32-bit vCPU's segments together.
#[cfg(target_arch = "x86_64")]
fn segments_are_valid(registers: &VcpuHvmX8632) -> bool {
    use segment::*;
    let (cs, ds, ss) = (registers.cs_ar, registers.ds_ar, registers.ss_ar);
    let (es, tr) = (registers.es_ar, registers.tr_ar);
    let is_valid = |attributes: u16, may_be_null: bool, fits: fn(u16) -> bool| {
        attributes & RESERVED == 0
            && match attributes {
                0 => may_be_null,
                _ => attributes & PRESENT != 0 && fits(attributes),
            }
    };
    let readable =
        |attributes: u16| attributes & NOT_SYSTEM != 0 && attributes & (CODE | ACCESS) != CODE;
    let limit =
        if cs & GRANULAR == 0 { registers.cs_limit } else { registers.cs_limit << 12 | 0xfff };
    let not_above_code = |data: u16| data & PRESENT == 0 || data & LEVEL <= cs & LEVEL;
    is_valid(cs, false, |code| code & NOT_SYSTEM != 0 && code & CODE != 0)
        && is_valid(ds, true, readable)
        && is_valid(ss, false, |stack| stack & NOT_SYSTEM != 0 && stack & (CODE | ACCESS) == ACCESS)
        && is_valid(es, true, readable)
        && is_valid(tr, false, |task| task & NOT_SYSTEM == 0 && task & TYPE | BUSY == TASK_STATE)
        && registers.eip <= limit
        && ss & LEVEL == cs & LEVEL
        && not_above_code(ds)
        && not_above_code(es)
}

fn up(call: &mut Call<'_>, key: VcpuKey) -> Answer {
    if !call.state.vcpu(key).initialised {
        return Err(Errno::EINVAL);
    }
    if call.state.vcpu(key).run() == &Run::Down {
        call.state.bring_up(key);
    }
    Ok(0)
}

/// Takes a vCPU down. With its last vCPU, the domain powers off.
fn down(call: &mut Call<'_>, key: VcpuKey) -> usize {
    // A vCPU whose program has returned stays down.
    if call.state.vcpu(key).run() == &Run::Finished {
        return 0;
    }
    call.state.set_run(key, Run::Down);
    let now = if call.state.running == Some(key) { Runstate::RUNNING } else { Runstate::OFFLINE };
    call.state.set_runstate(key, now);
    if !call.domain().vcpus.iter().any(|vcpu| vcpu.is_up()) {
        let me = call.me.domain;
        call.state.end_domain(me, xen_pac::sched::ShutdownReason::POWEROFF);
    }
    0
}

fn set_periodic(call: &mut Call<'_>, key: VcpuKey, asked: VcpuSetPeriodicTimer) -> Answer {
    if !PERIODS.contains(&asked.period_ns) {
        return Err(Errno::EINVAL);
    }
    // The period starts at the last tick: if that is longer ago, a tick comes at once.
    call.state.vcpu_mut(key).period = Some(asked.period_ns);
    Ok(0)
}

fn set_singleshot(call: &mut Call<'_>, key: VcpuKey, at: usize) -> Answer {
    // The compatibility layer reads the argument before Xen looks at the vCPU.
    if call.state.profile.translates() {
        call.read::<VcpuSetSingleshotTimer>(at)?;
    }
    if key != call.me {
        return Err(Errno::EINVAL);
    }
    let asked: VcpuSetSingleshotTimer = call.read(at)?;
    let due = call.state.machine_time(key.domain, asked.timeout_abs_ns);
    let late = due.is_some_and(|due| due < call.state.now)
        && singleshot_timer_flags::FUTURE.is_set(asked.flags);
    // The simulated 4.17 is 4.17.7. Releases since 4.17.3 ignore the flag.
    if late && !call.state.profile.since(4, 17) {
        return Err(Errno::ETIME);
    }
    call.state.vcpu_mut(key).singleshot = due;
    call.state.find_next_timer();
    Ok(0)
}

/// Hypercall `set_timer_op` (`do_set_timer_op`): 0 stops the timer, and a moment that is too far
/// away, or negative, counts as one in 100 ms.
pub(super) fn set_timer(call: &mut Call<'_>, moment: u64) -> usize {
    let (me, now) = (call.me, call.state.now);
    let due = call.state.machine_time(me.domain, moment);
    let is_far = due.is_none_or(|due| due.saturating_sub(now) >> 50 != 0);
    call.state.vcpu_mut(me).singleshot = match moment {
        0 => None,
        _ if is_far || moment > i64::MAX as u64 => Some(now + HUGE_TIMEOUT),
        _ => due,
    };
    call.state.find_next_timer();
    0
}

/// Returns the alignment of an area: 64-bit integers of 32-bit guests are aligned to 4 bytes. Xen
/// takes the width that it latched when the guest set its callback, and 64 bits before. Here it is
/// the profile's from the start.
fn alignment(call: &Call<'_>) -> usize {
    if call.state.profile.translates() { 4 } else { 8 }
}

/// Returns an area by its physical address; none for the address of all ones, which unregisters it
/// (`map_guest_area`).
fn physical(call: &Call<'_>, address: u64, size: usize) -> Result<Option<Area>, Errno> {
    if address == u64::MAX {
        return Ok(None);
    }
    let (gfn, offset) = (Frame::containing(address).0, (address % PAGE_SIZE as u64) as usize);
    if offset + size > PAGE_SIZE || offset % alignment(call) != 0 {
        return Err(Errno::ENXIO);
    }
    let frame = call.domain().physmap.ram(gfn).ok_or(Errno::EINVAL)?;
    Ok(Some(Area::Physical(frame, offset)))
}

/// Returns an area by its virtual address. Xen accepts any address, and writes nothing if no page
/// is mapped there.
fn virtual_area(call: &Call<'_>, address: usize, size: usize) -> Option<Area> {
    call.reach(address, size, true).is_ok().then_some(Area::Virtual(address))
}

fn register_runstate(
    call: &mut Call<'_>,
    key: VcpuKey,
    area: Option<Area>,
    is_physical: bool,
) -> Answer {
    let before = call.state.vcpu(key).runstate_areas;
    let now = before.with(area, is_physical);
    call.state.vcpu_mut(key).runstate_areas = now;
    call.state.frames.replace(before.frame(), now.frame());
    // Xen counts the time up to now only for another vCPU.
    let times =
        if key == call.me { call.state.vcpu(key).times.clone() } else { call.state.run_times(key) };
    call.state.write_runstate(key, area, &times);
    Ok(0)
}

fn register_time(
    call: &mut Call<'_>,
    key: VcpuKey,
    area: Option<Area>,
    is_physical: bool,
) -> Answer {
    let before = call.state.vcpu(key).time_areas;
    let now = before.with(area, is_physical);
    call.state.vcpu_mut(key).time_areas = now;
    call.state.frames.replace(before.frame(), now.frame());
    call.state.write_time(key);
    Ok(0)
}

/// `map_vcpu_info`, from 4.18 on `map_guest_area`.
fn register_info(call: &mut Call<'_>, key: VcpuKey, asked: VcpuRegisterVcpuInfo) -> Answer {
    let new_rules = call.state.profile.since(4, 18);
    let (offset, size) = (asked.offset as usize, size_of::<VcpuInfo>());
    let is_address = asked.mfn <= u64::MAX / PAGE_SIZE as u64;
    if new_rules && (offset >= PAGE_SIZE || !is_address) {
        return Err(Errno::EINVAL);
    }
    let again = call.state.vcpu(key).info_registered;
    if new_rules && again {
        return Err(Errno::EBUSY);
    }
    if offset > PAGE_SIZE - size || offset % alignment(call) != 0 {
        return Err(Errno::ENXIO);
    }
    if !new_rules && (again || key != call.me && call.state.vcpu(key).is_up()) {
        return Err(Errno::EINVAL);
    }
    let frame = call.domain().physmap.ram(asked.mfn).ok_or(Errno::EINVAL)?;
    // The block has the layout of the program. The last valid offset is a multiple of its size.
    move_info(call, key, frame, offset.next_multiple_of(align_of::<VcpuInfo>()));
    Ok(0)
}

/// Moves a vCPU's `vcpu_info`, and selects all its ports, so that no event is lost.
fn move_info(call: &mut Call<'_>, key: VcpuKey, frame: MachineFrame, offset: usize) {
    let state = &mut *call.state;
    let mut block = [0; size_of::<VcpuInfo>()];
    if let Some((old, at)) = state.vcpu(key).info {
        state.memory.read(old, at, &mut block);
    }
    state.memory.write(frame, offset, &block);
    state.frames.hold(frame);
    let vcpu = state.vcpu_mut(key);
    (vcpu.info, vcpu.info_registered) = (Some((frame, offset)), true);
    state.write_time(key);
    if let Some(info) = state.memory.vcpu_info(frame, offset) {
        info.evtchn_upcall_pending().swap(1, Ordering::SeqCst);
        info.evtchn_pending_sel().swap(XenUlong::MAX, Ordering::SeqCst);
    }
    state.assert_interrupt(key);
}

pub(super) fn vm_assist(call: &mut Call<'_>, op: usize, kind: usize) -> Answer {
    // The only type that HVM guests have, since 4.8.
    let known =
        kind as u32 == VmAssistType::RUNSTATE_UPDATE_FLAG.0 && call.state.profile.since(4, 8);
    if !known {
        return Err(Errno::EINVAL);
    }
    match op as u32 {
        assist::Enable::NUMBER | assist::Disable::NUMBER => {
            call.domain_mut().marks_runstate = op as u32 == assist::Enable::NUMBER;
            Ok(0)
        }
        _ => Err(Errno::ENOSYS),
    }
}
