//! The interface of programs on simulated vCPUs.

mod local;
mod peer;
#[cfg(feature = "critical-section")]
mod section;
mod snapshot;

use core::ptr::NonNull;
use core::time::Duration;
use std::sync::Arc;

use xen_hal::event::Port;
use xen_hal::hypercall::Errno;
use xen_hal::platform::{CurrentVcpu, Frame, PAGE_SIZE, VcpuId};
use xen_hal::vcpu::Area;
use xen_pac::access::Data;
use xen_pac::base::{Domid, Virq};

use crate::config::{Fault, FaultRates};
use crate::platform::{DomainSpace, Hypervisor, InterruptFlag, VirtualCounter};
use crate::state::{FIRST, Program, VcpuKey};
use crate::vcpu;
pub use local::DomainLocal;
pub use peer::hostile_peer;
pub use snapshot::Snapshot;

/// The running vCPU: implementations of the HAL's traits, and controls of the simulator.
///
/// It is a zero-sized handle. Like [`Hypervisor`], it refers to the vCPU on whose stack it is used,
/// and panics elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Guest(());

/// The result of a vCPU's program: `()`, or a `Result` whose error implements `Display`.
pub trait ProgramResult {
    /// Converts the error to its text.
    ///
    /// # Errors
    ///
    /// The error's text.
    fn into_result(self) -> Result<(), String>;
}

impl ProgramResult for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: core::fmt::Display> ProgramResult for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

pub(crate) fn boxed<R: ProgramResult>(
    program: impl FnOnce(Guest) -> R + Send + 'static,
) -> Program {
    Box::new(|| program(Guest(())).into_result())
}

impl Guest {
    /// Returns the vCPU on whose stack this is called; `None` on other threads. For port code that
    /// does not store a `Guest`.
    #[must_use]
    pub fn here() -> Option<Self> {
        vcpu::try_current().map(|_| Self(()))
    }

    /// Lets the seed preempt the vCPU here, as at an access to shared memory. Does nothing on other
    /// threads. A port can call this at a possible race over its own memory.
    pub fn preemption_point() {
        vcpu::before_access();
    }

    /// Adds input to Xen's console, which `CONSOLEIO_read` returns to this domain, and raises the
    /// console's VIRQ.
    pub fn type_in(&self, input: &[u8]) {
        vcpu::current().in_xen(|state, me| {
            state.domain_mut(me).console_input.extend(input);
            state.raise_virq(VcpuKey { vcpu: 0, ..me }, Virq::CONSOLE);
        });
    }

    /// Returns the hypercall backend.
    #[must_use]
    pub const fn xen(&self) -> Hypervisor {
        Hypervisor
    }

    /// Returns the domain's address space.
    #[must_use]
    pub const fn space(&self) -> DomainSpace {
        DomainSpace
    }

    /// Returns the counter for clocks.
    #[must_use]
    pub const fn counter(&self) -> VirtualCounter {
        VirtualCounter
    }

    /// Returns the vCPU's interrupt flag. Programs start with interrupts off.
    #[must_use]
    pub const fn interrupts(&self) -> InterruptFlag {
        InterruptFlag
    }

    /// Returns the domain's number.
    #[must_use]
    pub fn domain(&self) -> Domid {
        let current = vcpu::current();
        current.state().domain(current.me).id
    }

    /// Returns the vCPU's number.
    #[must_use]
    pub fn vcpu(&self) -> VcpuId {
        VcpuId(vcpu::current().me.vcpu as u32)
    }

    /// Returns a page of the domain's memory, initially zeroed.
    ///
    /// The pointer is valid until [`Machine::run`](crate::Machine::run) returns, except while the
    /// frame is unmapped: after the page was released, moved or unmapped, or after a restore that
    /// unmapped a shared page. An access to an unmapped frame ends the test's process, with a
    /// message that names the vCPU, the seed and the test.
    ///
    /// # Panics
    ///
    /// If the index is not below the domain's [number of pages](crate::DomainConfig::pages).
    #[must_use]
    pub fn page(&self, index: usize) -> NonNull<u8> {
        let current = vcpu::current();
        let state = current.state();
        let domain = state.domain(current.me);
        let pages = domain.initial_pages;
        assert!(index < pages, "page {index} of a domain of {pages} pages");
        domain.physmap.memory.page(FIRST + index)
    }

    /// Returns the address of a frame of the domain, for a kernel that maps all of its memory;
    /// `None` if the domain has no such frame.
    #[must_use]
    pub fn frame<T>(&self, frame: Frame) -> Option<NonNull<T>> {
        let current = vcpu::current();
        let state = current.state();
        let physmap = &state.domain(current.me).physmap;
        let frame = physmap.frame(frame.0).filter(|frame| *frame < physmap.near())?;
        Some(physmap.memory.page(frame).cast())
    }

    /// Returns an area for Xen to write to
    /// ([`register_vcpu_info`](xen_hal::vcpu::Vcpu::register_vcpu_info) and others), at the start
    /// of the [page](Self::page) with the same index, which must have no other use.
    ///
    /// In a kernel, such an area is a `static`. In the simulator, a static is not in the domain's
    /// memory.
    ///
    /// # Safety
    ///
    /// The area, and every handle created from it, must not be used after
    /// [`Machine::run`](crate::Machine::run) has returned. Each page must be used for areas of one
    /// type only.
    #[must_use]
    pub unsafe fn area<T: Data>(&self, index: usize) -> &'static Area<T> {
        const { assert!(size_of::<Area<T>>() <= PAGE_SIZE) };
        let area = self.page(index).cast::<Area<T>>();
        // SAFETY: a page is large enough, aligned and zeroed, and zeroes are an unregistered area.
        // The caller guarantees that it lives long enough.
        unsafe { area.as_ref() }
    }

    /// Sets the domain's handler of a vector or, on Arm, of an interrupt number (31 for events). It
    /// is called with interrupts off on the vCPU that takes the interrupt. An interrupt without a
    /// handler stops the machine.
    pub fn on_interrupt(&self, vector: u8, handler: impl Fn() + Send + Sync + 'static) {
        let current = vcpu::current();
        let before =
            current.state().domain_mut(current.me).handlers.insert(vector, Arc::new(handler));
        drop(before);
    }

    /// Turns interrupts on, and takes pending ones.
    pub fn enable_interrupts(&self) {
        vcpu::current().enable_interrupts();
    }

    /// Sleeps until `done` returns true, as a kernel does with `cli`, `sti` and `hlt`. Calls `done`
    /// with interrupts off, first at the call and then after each interrupt. Interrupts are on
    /// afterwards.
    pub fn wait_until(&self, mut done: impl FnMut() -> bool) {
        loop {
            vcpu::current().disable_interrupts();
            if done() {
                return vcpu::current().enable_interrupts();
            }
            vcpu::current().halt();
        }
    }

    /// Yields the processor to another vCPU. A loop that waits for another vCPU without sleeping
    /// must call this.
    pub fn relax(&self) {
        vcpu::current().relax();
    }

    /// Turns the vCPU's local APIC on or off; it is initially off. While it is off, upcalls at the
    /// vCPU's [own vector](xen_hal::hvm::Hvm::set_upcall_vector) stay pending.
    pub fn enable_local_apic(&self, on: bool) {
        vcpu::current().in_xen(|state, me| state.vcpu_mut(me).apic.on = on);
    }

    /// Returns whether Xen's CPUID leaves announce per-vCPU upcall vectors, as on x86 since 4.17.
    /// `xen_hal::hvm::upcall_vector_is_announced` reads the host's CPUID instead.
    #[must_use]
    pub fn announces_upcall_vectors(&self) -> bool {
        let profile = vcpu::current().state().profile;
        !profile.is_arm() && profile.since(4, 17)
    }

    /// Signals the end of the interrupt at the vCPU's own vector to its local APIC, which delivers
    /// no further interrupt before that.
    pub fn end_of_interrupt(&self) {
        vcpu::current().in_xen(|state, me| state.vcpu_mut(me).apic.in_service = false);
    }

    /// Sets what a further vCPU runs when [`Vcpu::initialise`](xen_hal::vcpu::Vcpu::initialise) and
    /// [`Vcpu::up`](xen_hal::vcpu::Vcpu::up) first bring it up; the entry point is ignored. The
    /// program starts with interrupts off. When it returns, the vCPU stays down.
    ///
    /// Does nothing for a vCPU that the domain does not have: Xen refuses to bring it up.
    pub fn set_program<R: ProgramResult>(
        &self,
        vcpu: VcpuId,
        program: impl FnOnce(Self) -> R + Send + 'static,
    ) {
        let current = vcpu::current();
        let before = {
            let mut state = current.state();
            let vcpu = state.domain_mut(current.me).vcpus.get_mut(vcpu.0 as usize);
            vcpu.and_then(|vcpu| vcpu.program.replace(boxed(program)))
        };
        // Drops the earlier program after the state is released, because its values can make
        // hypercalls in their `Drop`.
        drop(before);
    }

    /// Starts a further vCPU without Xen's commands: for tests that do not test these commands, and
    /// for Arm, where PSCI starts vCPUs. Otherwise, does the same as
    /// [`set_program`](Self::set_program).
    ///
    /// # Errors
    ///
    /// `ENOENT` if the domain has no such vCPU, and `EEXIST` if it was started before.
    pub fn start<R: ProgramResult>(
        &self,
        vcpu: VcpuId,
        program: impl FnOnce(Self) -> R + Send + 'static,
    ) -> Result<(), Errno> {
        let current = vcpu::current();
        let key = VcpuKey { vcpu: vcpu.0 as usize, ..current.me };
        let before = {
            let mut state = current.state();
            let of = state.domain_mut(key).vcpus.get_mut(key.vcpu).ok_or(Errno::ENOENT)?;
            if of.initialised {
                return Err(Errno::EEXIST);
            }
            let before = of.program.replace(boxed(program));
            state.bring_up(key);
            before
        };
        // As for `set_program`.
        drop(before);
        Ok(())
    }

    /// Returns the domain's time, which its clocks should show. Reading it takes no time. A loop
    /// that waits for a time must therefore call [`relax`](Self::relax) or
    /// [`advance`](Self::advance), or read the [`counter`](Self::counter).
    #[must_use]
    pub fn now(&self) -> Duration {
        let current = vcpu::current();
        let state = current.state();
        Duration::from_nanos(state.domain_time(current.me.domain, state.now))
    }

    /// Advances the machine's time, and fires the timers that become due.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        vcpu::current().in_xen(|state, _| state.pass_time(nanos));
    }

    /// Starts a deadline: the machine [fails](crate::FailureKind::Late) unless the value is dropped
    /// within `limit` of the machine's time. Time that is
    /// [stolen](FaultRates::stolen_time) does not count.
    ///
    /// It bounds the latency of a wakeup: start it in the interrupt handler that wakes a task, and
    /// drop it in the task. A lost wakeup that a later interrupt repairs is then a failure.
    pub fn deadline(&self, limit: Duration) -> Deadline {
        let (current, limit) = (vcpu::current(), limit.as_nanos().try_into().unwrap_or(u64::MAX));
        let mut state = current.state();
        let number = state.deadlines.last_key_value().map_or(0, |(last, _)| last + 1);
        let due = state.now.saturating_add(limit);
        let deadline = crate::state::Deadline { on: current.me, limit, due };
        state.deadlines.insert(number, deadline);
        Deadline(number)
    }

    /// Sets the machine's fault-injection rates.
    pub fn set_fault_rates(&self, rates: FaultRates) {
        vcpu::current().in_xen(|state, _| state.rates = rates);
    }

    /// Makes hypercalls of the domain fail.
    pub fn fail(&self, fault: Fault) {
        let current = vcpu::current();
        current.state().domain_mut(current.me).faults.add(fault);
    }

    /// Removes the faults that [`fail`](Self::fail) added.
    pub fn clear_faults(&self) {
        let current = vcpu::current();
        current.state().domain_mut(current.me).faults.clear();
    }

    /// Returns the number of hypercalls that the domain has made.
    #[must_use]
    pub fn hypercalls(&self) -> u64 {
        let current = vcpu::current();
        current.state().domain(current.me).hypercalls
    }

    /// Returns the number of times that a port of the domain became pending since it was bound. The
    /// guest must handle each, unless the port is closed or its event is cleared otherwise.
    #[must_use]
    pub fn times_raised(&self, port: Port) -> u64 {
        let current = vcpu::current();
        let state = current.state();
        state.domain(current.me).ports.all.get(port.0 as usize).map_or(0, |port| port.raised)
    }

    /// Returns and resets a hash of the vCPU switches and hypercalls since the last call. For tests
    /// that count distinct interleavings.
    #[must_use]
    pub fn take_trace_hash(&self) -> u64 {
        vcpu::current().state().trace.take()
    }

    /// Returns Xen's current state, except values that change with time.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        vcpu::current().inspect(Snapshot::of)
    }

    /// Returns a random number from the machine's seed.
    #[must_use]
    pub fn random(&self) -> u64 {
        vcpu::current().state().random.next()
    }

    /// Publishes a value under a key for all domains, in place of xenstore.
    pub fn publish(&self, key: &str, value: u64) {
        vcpu::current().in_xen(|state, _| state.publish(key, value));
    }

    /// Sleeps until the key has been [published](Self::publish), and returns its value.
    pub fn wait_for_key(&self, key: &str) -> u64 {
        vcpu::current().wait_for_key(key).unwrap_or_default()
    }
}

// SAFETY: the number is that of the vCPU on whose stack this is called.
unsafe impl CurrentVcpu for Guest {
    fn current_vcpu(&self) -> VcpuId {
        self.vcpu()
    }
}

/// A time limit that has not been met yet: see [`Guest::deadline`].
#[derive(Debug)]
#[must_use = "a deadline is met when it is dropped"]
pub struct Deadline(u64);

impl Drop for Deadline {
    fn drop(&mut self) {
        // Without a vCPU, the machine has ended.
        if let Some(current) = vcpu::try_current() {
            current.state().deadlines.remove(&self.0);
        }
    }
}
