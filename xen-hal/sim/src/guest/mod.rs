//! What a program on a simulated vCPU can use.

mod peer;
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
pub use peer::hostile_peer;
pub use snapshot::Snapshot;

/// The vCPU that runs: the HAL's traits for it, and the controls of the simulator.
///
/// It holds nothing. Like [`Hypervisor`], it means the vCPU on whose stack it is used, and panics
/// elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Guest(());

/// What a vCPU's program can return: nothing, or a `Result` whose error can be displayed.
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
    /// The vCPU on whose stack this is called; `None` on other threads. For port code that keeps no
    /// `Guest`.
    #[must_use]
    pub fn here() -> Option<Self> {
        vcpu::try_current().map(|_| Self(()))
    }

    /// A point at which the vCPU can lose the processor, as at an access to shared memory. Does
    /// nothing on other threads. A port can call this where a race over its own memory is possible.
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

    /// The hypercall backend.
    #[must_use]
    pub const fn xen(&self) -> Hypervisor {
        Hypervisor
    }

    /// The domain's memory.
    #[must_use]
    pub const fn space(&self) -> DomainSpace {
        DomainSpace
    }

    /// The counter that clocks interpolate with.
    #[must_use]
    pub const fn counter(&self) -> VirtualCounter {
        VirtualCounter
    }

    /// The vCPU's interrupt flag. Programs start with interrupts off.
    #[must_use]
    pub const fn interrupts(&self) -> InterruptFlag {
        InterruptFlag
    }

    /// The domain's number.
    #[must_use]
    pub fn domain(&self) -> Domid {
        let current = vcpu::current();
        current.state().domain(current.me).id
    }

    /// The vCPU's number.
    #[must_use]
    pub fn vcpu(&self) -> VcpuId {
        VcpuId(vcpu::current().me.vcpu as u32)
    }

    /// A page of the domain's memory, zeroed at first.
    ///
    /// The pointer is valid until [`Machine::run`](crate::Machine::run) returns, except while the
    /// page is not at its frame: because it was given back, moved or unmapped, or because a shared
    /// page was not mapped again after a restore. An access then ends the test's process, with a
    /// message that names the vCPU, the seed and the test.
    ///
    /// # Panics
    ///
    /// If the index is not below the [number of pages](crate::DomainConfig::pages) that the domain
    /// was created with.
    #[must_use]
    pub fn page(&self, index: usize) -> NonNull<u8> {
        let current = vcpu::current();
        let state = current.state();
        let domain = state.domain(current.me);
        let pages = domain.initial_pages;
        assert!(index < pages, "page {index} of a domain of {pages} pages");
        domain.physmap.memory.page(FIRST + index)
    }

    /// Where a frame of the domain is, as a kernel that maps all of its memory finds it. `None` if
    /// the domain has no such frame.
    #[must_use]
    pub fn frame<T>(&self, frame: Frame) -> Option<NonNull<T>> {
        let current = vcpu::current();
        let state = current.state();
        let physmap = &state.domain(current.me).physmap;
        let frame = physmap.frame(frame.0).filter(|frame| *frame < physmap.near())?;
        Some(physmap.memory.page(frame).cast())
    }

    /// An area for Xen to write to
    /// ([`register_vcpu_info`](xen_hal::vcpu::Vcpu::register_vcpu_info) and others), at the start
    /// of the [page](Self::page) with the same index, which must not be used otherwise.
    ///
    /// In a kernel such an area is a `static`. Here a static would not lie in the domain's memory.
    ///
    /// # Safety
    ///
    /// The area, and every handle that comes of it, must not be used after
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

    /// Sets the handler of an interrupt of the domain: of a vector, or on Arm of an interrupt
    /// number (events come as 31). It is called on the vCPU that takes the interrupt, with
    /// interrupts off. An interrupt without a handler ends the machine.
    pub fn on_interrupt(&self, vector: u8, handler: impl Fn() + Send + Sync + 'static) {
        let current = vcpu::current();
        let before =
            current.state().domain_mut(current.me).handlers.insert(vector, Arc::new(handler));
        drop(before);
    }

    /// Turns interrupts on, and takes those that are due.
    pub fn enable_interrupts(&self) {
        vcpu::current().enable_interrupts();
    }

    /// Sleeps until `done` returns true, as a kernel does with `cli`, `sti` and `hlt`: `done` is
    /// called with interrupts off, at first and after each interrupt. Interrupts are on afterwards.
    pub fn wait_until(&self, mut done: impl FnMut() -> bool) {
        loop {
            vcpu::current().disable_interrupts();
            if done() {
                return vcpu::current().enable_interrupts();
            }
            vcpu::current().halt();
        }
    }

    /// Gives another vCPU the processor. Every loop that waits for another vCPU without sleeping
    /// must call this.
    pub fn relax(&self) {
        vcpu::current().relax();
    }

    /// Turns the vCPU's local APIC on or off. It is off at first. Its [own upcall
    /// vector](xen_hal::hvm::Hvm::set_upcall_vector) comes through it, and waits while it is off.
    pub fn enable_local_apic(&self, on: bool) {
        vcpu::current().in_xen(|state, me| state.vcpu_mut(me).apic.on = on);
    }

    /// Whether Xen's CPUID leaves announce upcall vectors of a vCPU's own, as on x86 since 4.17.
    /// `xen_hal::hvm::upcall_vector_is_announced` reads the host's CPUID instead.
    #[must_use]
    pub fn announces_upcall_vectors(&self) -> bool {
        let profile = vcpu::current().state().profile;
        !profile.is_arm() && profile.since(4, 17)
    }

    /// Signals the end of the interrupt at the vCPU's own vector to its local APIC, which delivers
    /// no further one until then.
    pub fn end_of_interrupt(&self) {
        vcpu::current().in_xen(|state, me| state.vcpu_mut(me).apic.in_service = false);
    }

    /// Sets what a further vCPU runs when [`Vcpu::initialise`](xen_hal::vcpu::Vcpu::initialise) and
    /// [`Vcpu::up`](xen_hal::vcpu::Vcpu::up) first bring it up, in place of the code at its entry
    /// point. It starts with interrupts off. When the program returns, the vCPU is down for good.
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
        // Values that the program owns can make hypercalls in their `Drop`.
        drop(before);
    }

    /// Starts a further vCPU without Xen's commands: for tests that are not about these, and for
    /// Arm, where the firmware starts vCPUs. Otherwise as [`set_program`](Self::set_program).
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

    /// The domain's time: what its clocks should show. Reading it takes no time, so a loop that
    /// waits for a moment must call [`relax`](Self::relax) or [`advance`](Self::advance), or read
    /// the [`counter`](Self::counter).
    #[must_use]
    pub fn now(&self) -> Duration {
        let current = vcpu::current();
        let state = current.state();
        Duration::from_nanos(state.domain_time(current.me.domain, state.now))
    }

    /// Advances the machine's time, and fires the timers that are due by then.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        vcpu::current().in_xen(|state, _| state.pass_time(nanos));
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

    /// How many hypercalls the domain has made.
    #[must_use]
    pub fn hypercalls(&self) -> u64 {
        let current = vcpu::current();
        current.state().domain(current.me).hypercalls
    }

    /// How often a port of the domain became pending since it was bound. Each time must be handled
    /// once, unless the port is closed or its event is cleared otherwise.
    #[must_use]
    pub fn times_raised(&self, port: Port) -> u64 {
        let current = vcpu::current();
        let state = current.state();
        state.domain(current.me).ports.all.get(port.0 as usize).map_or(0, |port| port.raised)
    }

    /// Takes the hash of what happened since it was last taken: which vCPUs ran, and which
    /// hypercalls they made. For tests that count distinct interleavings.
    #[must_use]
    pub fn take_trace_hash(&self) -> u64 {
        vcpu::current().state().trace.take()
    }

    /// What Xen knows now, except what time alone changes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        vcpu::current().inspect(Snapshot::of)
    }

    /// A random number from the machine's seed.
    #[must_use]
    pub fn random(&self) -> u64 {
        vcpu::current().state().random.next()
    }

    /// Publishes a value under a key for all domains, as real domains do through xenstore.
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
