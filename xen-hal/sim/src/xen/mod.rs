//! Answers hypercalls from the state and the arguments, with one file for each subject. Checks
//! conditions in Xen's order; comments name Xen's functions.

mod console;
mod event;
mod grant;
mod grant_copy;
mod grant_map;
mod hvm;
#[cfg(target_arch = "x86_64")]
mod hvm_x86;
mod memory;
mod sched;
mod vcpu;
mod version;

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::access::Data;
use xen_pac::base::{Domid, XenUlong};
use xen_pac::hypercall::{HypercallNr, MulticallEntry};

use crate::config::{Fault, Role};
use crate::raw_memory;
use crate::state::{Domain, END_OF_PROGRAM, Event, State, VcpuKey};

/// The duration of a hypercall, in nanoseconds.
pub(crate) const DURATION: u64 = 1000;

type Answer = Result<usize, Errno>;

/// A hypercall that was carried out.
pub(crate) struct Outcome {
    pub(crate) value: isize,
    /// Whether interrupts are on afterwards.
    pub(crate) interrupts: bool,
    /// Whether the vCPU gives the processor away.
    pub(crate) yields: bool,
}

/// A hypercall that is being carried out.
struct Call<'a> {
    state: &'a mut State,
    /// The vCPU that made it.
    me: VcpuKey,
    interrupts: bool,
    /// Whether the instruction before the hypercall turned interrupts on.
    shadow: bool,
    yields: bool,
}

/// Returns the value that returns an error.
pub(crate) fn refusal(errno: Errno) -> isize {
    -isize::from(i16::try_from(errno.number()).unwrap_or(i16::MAX))
}

/// Carries out a hypercall.
pub(crate) fn call(
    state: &mut State,
    me: VcpuKey,
    interrupts: bool,
    shadow: bool,
    number: u32,
    arguments: [usize; 5],
) -> Outcome {
    state.hypercalls += 1;
    state.domain_mut(me).hypercalls += 1;
    state.trace.step(&[1, number.into(), arguments[0] as u64]);
    state.pass_time(DURATION);
    let fault = state.domain_mut(me).faults.next(number, arguments[0]);
    let mut call = Call { state, me, interrupts, shadow, yields: false };
    let answer = match fault {
        Some(error) => Ok(Fault::answer(number, arguments[0], error) as usize),
        None => dispatch(&mut call, number, arguments),
    };
    // A timer that was set to the past fires before the program continues.
    call.state.pass_time(0);
    let mut value = answer.map_or_else(refusal, |answer| answer as isize);
    if call.state.profile.translates() {
        // The guest sees 32 bits of the register.
        value = value as i32 as isize;
    }
    let event = Event::Hypercall { number, command: arguments[0], answer: value };
    call.state.note(me, event);
    Outcome { value, interrupts: call.interrupts, yields: call.yields }
}

/// The size of the argument of `domctl`, `sysctl` and `platform_op`. It starts with the command and
/// the version of the interface, which Xen reads first.
const TOOLSTACK_ARGUMENT: usize = 128;

/// Answers the toolstack's hypercalls. Callers have the wrong version of the interface.
fn toolstack(call: &Call<'_>, at: usize) -> Answer {
    call.reach(at, TOOLSTACK_ARGUMENT, false)?;
    if !raw_memory::is_writable::<[u64; TOOLSTACK_ARGUMENT / 8]>(at) {
        return Err(Errno::EFAULT);
    }
    Err(Errno::EACCES)
}

/// Carries out a list of hypercalls (`do_multicall`). None of them can be such a list.
fn multicall(call: &mut Call<'_>, at: usize, count: usize) -> Answer {
    for index in 0..count as u32 as usize {
        let entry = at.wrapping_add(index * size_of::<MulticallEntry>());
        if !raw_memory::is_writable::<MulticallEntry>(entry) {
            return Err(Errno::EFAULT);
        }
        call.update(entry, |call, entry: &mut MulticallEntry| {
            let number = entry.op as u32;
            let [a, b, c, d, e, ..] = entry.args.map(|argument| argument as usize);
            let answer = match HypercallNr(number) {
                HypercallNr::MULTICALL => Err(Errno::EINVAL),
                _ => dispatch(call, number, [a, b, c, d, e]),
            };
            entry.result = answer.map_or_else(refusal, |answer| answer as isize) as XenUlong;
            Ok(0)
        })?;
    }
    Ok(0)
}

/// Returns the error of a command for page tables of a domain (`get_pg_owner`). No domain can name
/// itself by its number. Only PV guests have such page tables. In the recordings of guests, domain
/// 0 is one.
fn mmuext(call: &Call<'_>, domain: Domid) -> Errno {
    let Ok(owner) = call.target(domain) else { return Errno::ESRCH };
    if domain == call.domain().id {
        return Errno::ESRCH;
    }
    let is_pv = owner != call.me.domain && call.state.domains[owner].role == Role::Control;
    if is_pv { Errno::EPERM } else { Errno::EINVAL }
}

fn dispatch(call: &mut Call<'_>, number: u32, [a, b, c, d, _]: [usize; 5]) -> Answer {
    let (arm, control) = (call.state.profile.is_arm(), call.domain().role == Role::Control);
    match HypercallNr(number) {
        HypercallNr::MULTICALL => multicall(call, a, b),
        HypercallNr::SET_TIMER_OP if !arm => Ok(vcpu::set_timer(call, a as u64)),
        HypercallNr::PLATFORM_OP | HypercallNr::SYSCTL | HypercallNr::DOMCTL => toolstack(call, a),
        // Every simulated domain has a local APIC, or none.
        HypercallNr::XENPMU_OP if !arm => Err(Errno::EOPNOTSUPP),
        HypercallNr::HYPFS_OP if !control => Err(Errno::EPERM),
        HypercallNr::HYPFS_OP => Err(Errno::EINVAL),
        // The compatibility layer translates an empty list without a call.
        HypercallNr::MMUEXT_OP if call.state.profile.translates() && b == 0 => Ok(0),
        HypercallNr::MMUEXT_OP if !arm => Err(mmuext(call, Domid(d as u16))),
        // No domain has a device model.
        HypercallNr::DM_OP if !arm => Err(Errno::ENODATA),
        // The continuation of a command of `domctl`.
        HypercallNr::ARCH_1 if !arm => {
            call.reach(a, TOOLSTACK_ARGUMENT, false).and(Err(Errno::EACCES))
        }
        HypercallNr::XEN_VERSION => version::xen_version(call, a, b),
        HypercallNr::EVENT_CHANNEL_OP => event::event_channel_op(call, a, b),
        HypercallNr::HVM_OP => hvm::hvm_op(call, a, b),
        HypercallNr::MEMORY_OP => memory::memory_op(call, a, b),
        HypercallNr::GRANT_TABLE_OP => grant::grant_table_op(call, a, b, c),
        HypercallNr::SCHED_OP => sched::sched_op(call, a, b),
        HypercallNr::VCPU_OP => vcpu::vcpu_op(call, a, b, c),
        HypercallNr::CONSOLE_IO => console::console_io(call, a, b, c),
        HypercallNr::VM_ASSIST => vcpu::vm_assist(call, a, b),
        _ => Err(Errno::ENOSYS),
    }
}

impl Call<'_> {
    fn domain(&self) -> &Domain {
        self.state.domain(self.me)
    }

    fn domain_mut(&mut self) -> &mut Domain {
        self.state.domain_mut(self.me)
    }

    /// Fails with `EFAULT` if an address cannot be mapped: beyond the program's address space, and
    /// at an empty frame of the domain's range. For any other address, the hypercall's safety
    /// contract requires that it is mapped.
    fn reach(&self, address: usize, length: usize, write: bool) -> Result<(), Errno> {
        if length == 0 {
            return Ok(());
        }
        let end = address
            .checked_add(length)
            .filter(|end| *end <= END_OF_PROGRAM && address >= PAGE_SIZE)
            .ok_or(Errno::EFAULT)?;
        let physmap = &self.domain().physmap;
        let mut page = address;
        while page < end {
            if let Some((frame, _)) = physmap.memory.locate(page) {
                let mapped =
                    if write { physmap.is_writable(frame) } else { physmap.is_mapped(frame) };
                if !mapped {
                    return Err(Errno::EFAULT);
                }
            }
            page = (page | (PAGE_SIZE - 1)) + 1;
        }
        Ok(())
    }

    /// Returns whether an interrupt can be delivered to the caller now. In the instruction after
    /// `sti` none can.
    fn can_deliver(&self) -> bool {
        self.state.can_deliver(self.me, self.interrupts && !self.shadow)
    }

    /// Copies an argument in.
    fn read<T: Data>(&self, address: usize) -> Result<T, Errno> {
        self.reach(address, size_of::<T>(), false)?;
        Ok(raw_memory::read_value(address))
    }

    /// Copies a result out.
    fn write<T: Data>(&self, address: usize, value: T) -> Result<(), Errno> {
        self.reach(address, size_of::<T>(), true)?;
        raw_memory::write_value(address, value);
        Ok(())
    }

    /// Copies an argument in, and out again if `work` succeeds.
    fn update<T: Data>(
        &mut self,
        address: usize,
        work: impl FnOnce(&mut Self, &mut T) -> Answer,
    ) -> Answer {
        let mut argument = self.read(address)?;
        let answer = work(self, &mut argument)?;
        self.write(address, argument)?;
        Ok(answer)
    }

    /// Returns the index of a domain by its number.
    fn target(&self, id: Domid) -> Result<usize, Errno> {
        self.state.domain_by_id(self.me.domain, id)
    }

    /// Does the same as [`target`](Self::target), if the caller may act on the domain as on itself.
    fn own_target(&self, id: Domid) -> Result<usize, Errno> {
        let target = self.target(id)?;
        self.state.may_act_on(self.me.domain, target)?;
        Ok(target)
    }
}
