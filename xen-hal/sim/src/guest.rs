//! What a program on a simulated vCPU has at hand.

use core::ptr::NonNull;
use core::time::Duration;
use std::sync::Arc;

use xen_pac::base::Domid;

use super::adversity::{Adversity, Fault};
use super::current;
use super::machine::{Ending, boxed};
use super::seams::{Hypervisor, Interrupts, Space, TimeCounter};
use super::snapshot::Snapshot;
use super::state::{FIRST, VcpuKey};
use xen_hal::event::Port;
use xen_hal::hypercall::Errno;
use xen_hal::platform::{Interrupts as _, VcpuId};

/// The vCPU that runs, as its program sees it: the seams of the HAL, and what the simulator offers
/// beside them.
///
/// It holds nothing: like the way into Xen, it means the vCPU on whose thread it is used, and
/// panics on any other thread.
#[derive(Clone, Copy, Debug)]
pub struct Guest(());

impl Guest {
    /// The vCPU of this thread.
    pub(super) const fn here() -> Self {
        Self(())
    }

    /// The way into Xen.
    #[must_use]
    pub const fn xen(&self) -> Hypervisor {
        Hypervisor
    }

    /// Where pointers lie.
    #[must_use]
    pub const fn space(&self) -> Space {
        Space
    }

    /// The counter that clocks interpolate with.
    #[must_use]
    pub const fn counter(&self) -> TimeCounter {
        TimeCounter
    }

    /// The vCPU's interrupt flag. Programs start with interrupts off.
    #[must_use]
    pub const fn interrupts(&self) -> Interrupts {
        Interrupts
    }

    /// The domain's number.
    #[must_use]
    pub fn domain(&self) -> Domid {
        let here = current::here();
        here.shared.lock().domain(here.me).id
    }

    /// The vCPU's number.
    #[must_use]
    pub fn current(&self) -> VcpuId {
        VcpuId(current::here().me.vcpu as u32)
    }

    /// A page of the domain's memory, full of zeros at first; which, is the caller's choice. It is
    /// there as long as the machine runs: the pointer must not be used when
    /// [`Machine::run`](super::Machine::run) has returned, nor while Xen was told to take the page
    /// away.
    ///
    /// As on a real machine, an access to a frame at which nothing is faults: the page was given
    /// back, was moved or was unmapped, or the domain was restored on another machine, and the
    /// shared page or the grant table were not mapped again. Here that is a fault of the test's own
    /// process, which ends it.
    ///
    /// # Panics
    ///
    /// For an index that is not below the number of pages that the domain was [made
    /// with](super::Setup::pages).
    #[must_use]
    pub fn page(&self, index: usize) -> NonNull<u8> {
        let here = current::here();
        let state = here.shared.lock();
        let domain = state.domain(here.me);
        assert!(index < domain.made_with, "page {index} of a domain of {} pages", domain.made_with);
        domain.physmap.memory.page(FIRST + index)
    }

    /// Has `handler` called, on the vCPU that takes the interrupt and with interrupts off, at a
    /// vector of the domain's; on Arm, at an interrupt's number (events come as 31). An interrupt
    /// without a handler ends the machine.
    pub fn on_interrupt(&self, vector: u8, handler: impl Fn() + Send + Sync + 'static) {
        let here = current::here();
        let before =
            here.shared.lock().domain_mut(here.me).handlers.insert(vector, Arc::new(handler));
        drop(before);
    }

    /// Lets interrupts in, those that are due at once.
    pub fn enable_interrupts(&self) {
        current::restore_interrupts(true);
    }

    /// Sleeps until `done`, which is asked with interrupts off at first and after each interrupt,
    /// as a kernel does with `cli`, `sti` and `hlt`. Interrupts are on afterwards.
    pub fn wait_until(&self, mut done: impl FnMut() -> bool) {
        loop {
            Interrupts.disable();
            if done() {
                return current::restore_interrupts(true);
            }
            current::halt();
        }
    }

    /// Lets other vCPUs run, in a loop that waits for one of them without sleeping. Every such loop
    /// needs it: others run only when this one lets them.
    pub fn relax(&self) {
        current::relax();
    }

    /// Turns the vCPU's local APIC on or off, through which its [own upcall
    /// vector](xen_hal::hvm::Hvm::set_upcall_vector) comes. It is off at first; an interrupt that is
    /// raised meanwhile waits for it.
    pub fn enable_local_apic(&self, on: bool) {
        current::here().in_xen_as_me(|state, me| state.vcpu_mut(me).apic.on = on);
    }

    /// Whether Xen's leaves of CPUID announce upcall vectors of a vCPU's own, as they do on x86
    /// since 4.17. What `xen_hal::hvm::upcall_vector_is_announced` reads is the laptop's CPUID,
    /// which knows of no simulation.
    #[must_use]
    pub fn announces_upcall_vectors(&self) -> bool {
        let profile = current::here().shared.lock().profile;
        !profile.is_arm() && profile.since(4, 17)
    }

    /// Tells the local APIC that the interrupt at the vCPU's own vector was handled: until then it
    /// lets no further one through.
    pub fn end_of_interrupt(&self) {
        current::here().in_xen_as_me(|state, me| state.vcpu_mut(me).apic.in_service = false);
    }

    /// Says what a further vCPU runs when it is first brought up by
    /// [`Vcpu::initialise`](xen_hal::vcpu::Vcpu::initialise) and [`Vcpu::up`](xen_hal::vcpu::Vcpu::up),
    /// in place of the code at the address that its state names. It starts with interrupts off, and
    /// when the program ends the vCPU is down for good. Nothing happens for a vCPU that the domain
    /// does not have: Xen says so when it is brought up.
    pub fn prepare<E: Ending>(
        &self,
        vcpu: VcpuId,
        program: impl FnOnce(Self) -> E + Send + 'static,
    ) {
        let here = current::here();
        let before = {
            let mut state = here.shared.lock();
            let vcpu = state.domain_mut(here.me).vcpus.get_mut(vcpu.0 as usize);
            vcpu.and_then(|vcpu| vcpu.program.replace(boxed(program)))
        };
        // What it owns may make hypercalls as it goes.
        drop(before);
    }

    /// Starts a further vCPU with a program, without Xen's commands for that: for tests that are
    /// not about them, and where they are not, as on Arm, where the firmware starts vCPUs. It
    /// starts as with [`prepare`](Self::prepare).
    ///
    /// # Errors
    ///
    /// `ENOENT` for a vCPU that the domain does not have, and `EEXIST` for one that was started
    /// before.
    pub fn start<E: Ending>(
        &self,
        vcpu: VcpuId,
        program: impl FnOnce(Self) -> E + Send + 'static,
    ) -> Result<(), Errno> {
        let here = current::here();
        let key = VcpuKey { domain: here.me.domain, vcpu: vcpu.0 as usize };
        let before = {
            let mut state = here.shared.lock();
            let of = state.domain_mut(here.me).vcpus.get_mut(key.vcpu).ok_or(Errno::ENOENT)?;
            if of.initialised {
                return Err(Errno::EEXIST);
            }
            let before = of.program.replace(boxed(program));
            state.bring_up(key);
            here.shared.start_threads(&mut state);
            before
        };
        // What it owns may make hypercalls as it goes.
        drop(before);
        Ok(())
    }

    /// Nanoseconds since Xen started, as the machine has them: what a clock of the domain's should
    /// come near. Asking takes no time: a loop that waits for a moment needs [`relax`](Self::relax)
    /// or [`advance`](Self::advance), or has to read the [`counter`](Self::counter).
    #[must_use]
    pub fn now(&self) -> Duration {
        let here = current::here();
        let state = here.shared.lock();
        Duration::from_nanos(state.domain_time(here.me.domain, state.now))
    }

    /// Lets time go on, and fires the timers that are due by then.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        current::here().in_xen_as_me(|state, _| state.pass_time(nanos));
    }

    /// Makes the machine as unkind as that from now on.
    pub fn set_adversity(&self, adversity: Adversity) {
        current::here().in_xen_as_me(|state, _| state.adversity = adversity);
    }

    /// Has hypercalls of the domain fail.
    pub fn fail(&self, fault: Fault) {
        let here = current::here();
        here.shared.lock().domain_mut(here.me).faults.add(fault);
    }

    /// Lets no hypercall of the domain fail any more.
    pub fn heal(&self) {
        let here = current::here();
        here.shared.lock().domain_mut(here.me).faults.clear();
    }

    /// How many hypercalls the domain has made.
    #[must_use]
    pub fn hypercalls(&self) -> u64 {
        let here = current::here();
        here.shared.lock().domain(here.me).hypercalls
    }

    /// How often a port of the domain's became pending since it was bound: each time it has to be
    /// handled once, unless it is closed or its event is taken otherwise.
    #[must_use]
    pub fn raised(&self, port: Port) -> u64 {
        let here = current::here();
        let state = here.shared.lock();
        state.domain(here.me).ports.all.get(port.0 as usize).map_or(0, |port| port.raised)
    }

    /// What happened since this was asked last (who ran, and which hypercalls were made), as a
    /// number: for tests that count in how many different ways something went.
    #[must_use]
    pub fn take_path(&self) -> u64 {
        let here = current::here();
        here.shared.lock().path.take()
    }

    /// All that Xen knows now, but for what time changes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        current::here().look(Snapshot::of)
    }

    /// A number from the machine's seed, for programs that leave something to chance.
    #[must_use]
    pub fn random(&self) -> u64 {
        let here = current::here();
        here.shared.lock().random.next()
    }

    /// Tells the other domains a number, under a name: what real domains have a store for.
    pub fn post(&self, name: &str, value: u64) {
        current::here().in_xen_as_me(|state, _| state.post(name, value));
    }

    /// Sleeps until somebody [posts](Self::post) under the name, and gives the number. If nobody
    /// ever will, the machine ends, and says so.
    pub fn await_post(&self, name: &str) -> u64 {
        current::await_post(name).unwrap_or_default()
    }
}
