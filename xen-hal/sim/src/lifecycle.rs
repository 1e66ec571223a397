//! How vCPUs begin, and how domains end or go elsewhere.

use xen_pac::base::Domid;
use xen_pac::hvm::HvmParam;
use xen_pac::sched::ShutdownReason;
use xen_pac::vcpu::Runstate;

use super::failure::What;
use super::state::{Area, Entry, Grants, Run, State, Vcpu, VcpuKey};
use super::xen::Call;
use crate::state::NANOS_PER_SECOND;
use xen_hal::platform::VcpuId;

/// By how many seconds a domain's clock may be off after a migration: other machines have been up
/// for another time.
const UPTIMES: usize = 1000;

impl State {
    /// A vCPU as failures name it.
    pub(super) fn name(&self, key: VcpuKey) -> (Domid, VcpuId) {
        (self.domain(key).id, VcpuId(key.vcpu as u32))
    }

    /// Lets a vCPU run that did not: its program starts, or goes on where it was.
    pub(super) fn bring_up(&mut self, key: VcpuKey) {
        self.vcpu_mut(key).initialised = true;
        self.vcpu_mut(key).run = Run::Ready;
        self.set_runstate(key, Runstate::RUNNABLE);
        if self.vcpu(key).started {
            return;
        }
        self.vcpu_mut(key).started = true;
        if self.vcpu(key).program.is_some() {
            self.to_start.push(key);
        } else {
            self.stop(What::NoProgram { on: self.name(key) });
        }
    }

    /// Ends a domain: its vCPUs leave their programs. What it had of others it has until the last
    /// of them has left.
    pub(super) fn end_domain(&mut self, domain: usize, reason: ShutdownReason) {
        if self.domains[domain].ended.is_some() {
            return;
        }
        self.domains[domain].ended = Some(reason);
        self.find_next_timer();
    }

    /// Closes a domain's channels, and ends its mappings.
    fn let_go(&mut self, domain: usize) {
        self.close_all_ports(domain);
        for handle in 0..self.domains[domain].grants.maps.len() {
            self.end_map(domain, handle);
        }
    }

    /// A domain was suspended. Says whether that was called off; else it has been restored on
    /// another machine, where it has its memory and nothing that was registered.
    pub(super) fn suspend(&mut self, me: VcpuKey) -> bool {
        self.domain_mut(me).suspends += 1;
        if self.random.once_in(self.adversity.cancelled_suspends) {
            return true;
        }
        let domain = me.domain;
        self.let_go(domain);
        self.forget_registrations(domain);
        let uptime = (1 + self.random.below(UPTIMES)) as u64 * NANOS_PER_SECOND;
        self.domains[domain].epoch = (uptime as i64).saturating_sub_unsigned(self.now);
        self.write_wallclock(domain);
        for vcpu in 0..self.domains[domain].vcpus.len() {
            self.write_time(VcpuKey { domain, vcpu });
        }
        self.find_next_timer();
        false
    }

    /// XenCpuid nothing of what a domain told Xen, as on a machine where it has not been before.
    fn forget_registrations(&mut self, domain: usize) {
        let state = &mut *self;
        let of = &mut state.domains[domain];
        for frame in 0..of.physmap.entries.len() {
            if matches!(of.physmap.entries[frame], Entry::Xen(_)) {
                // If the computer refuses, the page stays to be seen, and is not used any more.
                let _ = of.physmap.put(frame, Entry::Empty, &state.memory);
            }
        }
        of.parameters[HvmParam::CALLBACK_IRQ.0 as usize] = 0;
        of.upcall_vector = None;
        of.watchdogs = [None; 2];
        of.marks_runstate = false;
        state.memory.write(of.shared, 0, &[0; xen_hal::platform::PAGE_SIZE]);
        let mut frames = core::mem::take(&mut of.grants.frames);
        frames.append(&mut of.grants.status_frames);
        let first = frames[0];
        frames.drain(1..).for_each(|frame| state.frames.free(frame));
        state.memory.write(first, 0, &[0; xen_hal::platform::PAGE_SIZE]);
        // Mappings of the old table's grants live on, and say nothing of the new one's.
        of.grants = Grants { table: of.grants.table + 1, ..Grants::new(first, of.grants.max_maps) };
        for (number, vcpu) in of.vcpus.iter_mut().enumerate() {
            let registered = vcpu.info.filter(|_| vcpu.info_registered).map(|(frame, _)| frame);
            for frame in [
                registered,
                vcpu.runstate_area.and_then(Area::frame),
                vcpu.time_area.and_then(Area::frame),
            ] {
                state.frames.replace(frame, None);
            }
            vcpu.info = state.profile.block_in_shared_page(number).map(|block| (of.shared, block));
            vcpu.info_registered = false;
            vcpu.own_vector = None;
            (vcpu.runstate_area, vcpu.time_area) = (None, None);
            (vcpu.singleshot, vcpu.period) = (None, None);
        }
    }

    /// A vCPU's program is over. That of the first vCPU is the domain's, and so is that of the last
    /// one that is up.
    pub(super) fn finish(&mut self, key: VcpuKey) {
        let vcpu = self.vcpu_mut(key);
        (vcpu.run, vcpu.alive) = (Run::Finished, false);
        self.set_runstate(key, Runstate::OFFLINE);
        if key.vcpu == 0 || !self.domain(key).vcpus.iter().any(Vcpu::is_up) {
            self.end_domain(key.domain, ShutdownReason::POWEROFF);
        }
        let domain = self.domain(key);
        if domain.ended.is_some() && !domain.vcpus.iter().any(|vcpu| vcpu.alive) {
            self.let_go(key.domain);
        }
        self.running = None;
        self.elect(None);
    }

    /// A moment of the machine's as a domain counts time.
    pub(super) fn domain_time(&self, domain: usize, moment: u64) -> u64 {
        moment.saturating_add_signed(self.domains[domain].epoch)
    }

    /// The moment of the machine's that a domain calls so.
    pub(super) fn machine_time(&self, domain: usize, time: u64) -> u64 {
        time.saturating_add_signed(self.domains[domain].epoch.saturating_neg())
    }
}

impl Call<'_> {
    /// Destroys the caller's domain.
    pub(super) fn crash(&mut self, why: &'static str) {
        let on = self.state.name(self.me);
        self.state.stop(What::Crashed { on, why });
    }
}
