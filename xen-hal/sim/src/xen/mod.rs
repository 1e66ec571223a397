//! What the simulated Xen answers: a file for each hypercall. In each, conditions are in the order
//! in which Xen checks them, and the functions of Xen's are named.

mod console;
mod event;
mod grant;
mod grant_copy;
mod grant_entry;
mod grant_maps;
mod hvm;
#[cfg(target_arch = "x86_64")]
mod hvm_x86;
mod memory;
mod sched;
mod vcpu;
mod version;
mod vm_assist;

use std::sync::MutexGuard;

use xen_pac::access::Data;
use xen_pac::command::Command;
use xen_pac::hypercall::Hypercall as Number;
use xen_pac::memory::command as memory_command;

use super::boundary;
use super::machine::Shared;
use super::state::{Domain, END_OF_PROGRAM, Run, State, VcpuKey};
use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;

/// What a hypercall takes, in nanoseconds.
pub(super) const DURATION: u64 = 1000;

/// What a hypercall comes to.
pub(super) type Answer = Result<usize, Errno>;

/// A hypercall that is being carried out.
pub(super) struct Call<'a> {
    pub(super) state: &'a mut State,
    /// Who made it.
    pub(super) me: VcpuKey,
    /// Whether interrupts can come to whoever made it.
    pub(super) interrupts: bool,
    /// Whether others are to run before it goes on.
    pub(super) yields: bool,
}

/// The answer by which Xen refuses.
pub(super) fn refusal(errno: Errno) -> isize {
    -isize::from(i16::try_from(errno.number()).unwrap_or(i16::MAX))
}

/// Carries out a hypercall, and passes the baton on behind it as chance has it. The answer, and
/// whether interrupts can come from now on; `None` when the caller is no more.
pub(super) fn call<'a>(
    shared: &'a Shared,
    mut state: MutexGuard<'a, State>,
    me: VcpuKey,
    interrupts: bool,
    number: u32,
    arguments: [usize; 5],
) -> Option<(MutexGuard<'a, State>, isize, bool)> {
    state.hypercalls += 1;
    state.domain_mut(me).hypercalls += 1;
    state.path.step(&[1, number.into(), arguments[0] as u64]);
    state.pass_time(DURATION);
    let fault = state.domain_mut(me).faults.strike(number, arguments[0]);
    let mut call = Call { state: &mut state, me, interrupts, yields: false };
    let answer = match fault {
        Some(errno) => failed(number, arguments[0], errno),
        None => dispatch(&mut call, number, arguments),
    };
    let (interrupts, yields) = (call.interrupts, call.yields);
    // A timer that was set to a moment in the past fires before the program goes on.
    state.pass_time(0);
    shared.start_threads(&mut state);
    let chance = state.adversity.preempt_hypercalls;
    if yields
        || state.vcpu(me).run != Run::Ready
        || state.is_over_for(me)
        || state.random.once_in(chance)
    {
        state = shared.pass(state, me)?;
    }
    let answer = answer.map_or_else(refusal, |answer| answer as isize);
    Some((state, answer, interrupts))
}

/// What a hypercall that is made to fail answers.
fn failed(number: u32, command: usize, errno: Errno) -> Answer {
    let counts = [
        memory_command::PopulatePhysmap::NUMBER,
        memory_command::IncreaseReservation::NUMBER,
        memory_command::DecreaseReservation::NUMBER,
    ];
    let never_fails = number == Number::MEMORY_OP.0 && counts.contains(&(command as u32));
    if never_fails { Ok(0) } else { Err(errno) }
}

fn dispatch(call: &mut Call<'_>, number: u32, [a, b, c, ..]: [usize; 5]) -> Answer {
    match Number(number) {
        Number::XEN_VERSION => version::xen_version(call, a, b),
        Number::EVENT_CHANNEL_OP => event::event_channel_op(call, a, b),
        Number::HVM_OP => hvm::hvm_op(call, a, b),
        Number::MEMORY_OP => memory::memory_op(call, a, b),
        Number::GRANT_TABLE_OP => grant::grant_table_op(call, a, b, c),
        Number::SCHED_OP => sched::sched_op(call, a, b),
        Number::VCPU_OP => vcpu::vcpu_op(call, a, b, c),
        Number::CONSOLE_IO => console::console_io(call, a, b, c),
        Number::VM_ASSIST => vm_assist::vm_assist(call, a, b),
        _ => Err(Errno::ENOSYS),
    }
}

impl Call<'_> {
    pub(super) fn domain(&self) -> &Domain {
        self.state.domain(self.me)
    }

    pub(super) fn domain_mut(&mut self) -> &mut Domain {
        self.state.domain_mut(self.me)
    }

    /// Whether there can be memory at an address: not where no program has any, and not in the
    /// domain's own range where nothing is mapped. Any other address was vouched for by whoever
    /// made the hypercall.
    pub(super) fn reach(&self, address: usize, length: usize, write: bool) -> Result<(), Errno> {
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
            if let Some((frame, _)) = physmap.memory.place_of(page) {
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

    /// Copies an argument in.
    pub(super) fn read<T: Data>(&self, address: usize) -> Result<T, Errno> {
        self.reach(address, size_of::<T>(), false)?;
        Ok(boundary::read_value(address))
    }

    /// Copies an answer out.
    pub(super) fn write<T: Data>(&self, address: usize, value: T) -> Result<(), Errno> {
        self.reach(address, size_of::<T>(), true)?;
        boundary::write_value(address, value);
        Ok(())
    }

    /// Reads an argument, and writes it back with what `work` put into it, if it succeeds.
    pub(super) fn update<T: Data>(
        &mut self,
        address: usize,
        work: impl FnOnce(&mut Self, &mut T) -> Answer,
    ) -> Answer {
        let mut argument = self.read(address)?;
        let answer = work(self, &mut argument)?;
        self.write(address, argument)?;
        Ok(answer)
    }

    /// The index of the domain with this number.
    pub(super) fn target(&self, id: xen_pac::base::Domid) -> Result<usize, Errno> {
        self.state.domain_by_id(self.me.domain, id)
    }

    /// The domain with this number, on which the caller may act as on itself.
    pub(super) fn own_target(&self, id: xen_pac::base::Domid) -> Result<usize, Errno> {
        let target = self.target(id)?;
        self.state.may_act_on(self.me.domain, target)?;
        Ok(target)
    }
}
