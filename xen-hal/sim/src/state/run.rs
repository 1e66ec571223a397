//! Which vCPUs can run, and how domains end or are restored.

use std::collections::BTreeSet;

use xen_hal::platform::{PAGE_SIZE, VcpuId};
use xen_pac::base::Domid;
use xen_pac::hvm::HvmParam;
use xen_pac::sched::ShutdownReason;
use xen_pac::vcpu::Runstate;

use super::{
    Areas, Binding, Domain, Entry, FIRST, GrantedPage, Grants, NANOS_PER_SECOND, Run, State, Vcpu,
    VcpuKey, read_entry,
};
use crate::config::FailureKind;

/// The maximum uptime, in seconds, of the host on which a domain is restored.
const MAX_UPTIME: usize = 1000;

impl State {
    /// Returns the name of a vCPU in failures.
    pub(crate) fn name(&self, key: VcpuKey) -> (Domid, VcpuId) {
        (self.domain(key).number, VcpuId(key.vcpu as u32))
    }

    /// Returns whether a vCPU must leave its program.
    pub(crate) fn is_over_for(&self, me: VcpuKey) -> bool {
        self.over.is_some() || self.domain(me).ended.is_some()
    }

    /// Changes whether a vCPU can run. The list of those that are ready stays sorted.
    pub(crate) fn set_run(&mut self, key: VcpuKey, run: Run) {
        let is_ready = run == Run::Ready && self.domain(key).ended.is_none();
        self.vcpu_mut(key).run = run;
        match (self.ready.binary_search(&key), is_ready) {
            (Err(index), true) => self.ready.insert(index, key),
            (Ok(index), false) => _ = self.ready.remove(index),
            _ => {}
        }
    }

    /// Puts a vCPU to sleep until [`wake`](Self::wake).
    pub(crate) fn sleep(&mut self, key: VcpuKey, run: Run) {
        self.set_run(key, run);
        self.set_runstate(key, Runstate::BLOCKED);
    }

    /// Wakes a vCPU that sleeps.
    pub(crate) fn wake(&mut self, key: VcpuKey) {
        if matches!(self.vcpu(key).run, Run::Blocked | Run::Polling(_) | Run::WaitingForKey(_)) {
            self.set_run(key, Run::Ready);
            self.vcpu_mut(key).poll_deadline = None;
            self.set_runstate(key, Runstate::RUNNABLE);
        }
    }

    /// Returns the runstate of a vCPU that does not have the processor.
    pub(crate) fn runstate_of(&self, key: VcpuKey) -> Runstate {
        match self.vcpu(key).run {
            Run::Ready => Runstate::RUNNABLE,
            Run::Blocked | Run::Polling(_) | Run::WaitingForKey(_) => Runstate::BLOCKED,
            Run::Down | Run::Finished => Runstate::OFFLINE,
        }
    }

    /// Publishes a value, and wakes the vCPUs that wait for it.
    pub(crate) fn publish(&mut self, name: &str, value: u64) {
        self.keys_published.insert(name.into(), value);
        let waits = Run::WaitingForKey(name.into());
        let waiting: Vec<_> = self.keys().filter(|key| self.vcpu(*key).run == waits).collect();
        waiting.into_iter().for_each(|key| self.wake(key));
    }

    /// Brings a vCPU up: its program starts, or continues where it stopped.
    pub(crate) fn bring_up(&mut self, key: VcpuKey) {
        self.vcpu_mut(key).initialised = true;
        self.set_run(key, Run::Ready);
        self.set_runstate(key, Runstate::RUNNABLE);
        if !self.vcpu(key).started {
            self.start(key);
        }
    }

    /// Starts the program of a vCPU that can run.
    pub(crate) fn start(&mut self, key: VcpuKey) {
        self.vcpu_mut(key).started = true;
        let Some(program) = self.vcpu_mut(key).program.take() else {
            return self.stop(FailureKind::NoProgram { on: self.name(key) });
        };
        self.vcpu_mut(key).alive = true;
        self.started.push((key, program));
        self.someone_leaves |= self.is_over_for(key);
    }

    /// Ends the machine: all vCPUs leave their programs. The first reason is kept.
    pub(crate) fn stop(&mut self, failure: FailureKind) {
        self.over.get_or_insert(failure);
        self.someone_leaves = true;
    }

    /// Ends a domain: its vCPUs leave their programs. The domain keeps its mappings and channels
    /// until the last vCPU has left.
    pub(crate) fn end_domain(&mut self, domain: usize, reason: ShutdownReason) {
        if self.domains[domain].ended.is_some() {
            return;
        }
        self.domains[domain].ended = Some(reason);
        self.ready.retain(|key| key.domain != domain);
        self.deadlines.retain(|_, deadline| deadline.on.domain != domain);
        self.someone_leaves = true;
        self.find_next_timer();
        self.announce_change();
    }

    /// Destroys the domain of a vCPU, as Xen does after an error that it cannot return.
    pub(crate) fn crash(&mut self, key: VcpuKey, why: &'static str) {
        self.stop(FailureKind::Crashed { on: self.name(key), why });
    }

    /// Ends a vCPU whose program has returned. The domain ends with its first vCPU, or with the
    /// last one that is up.
    pub(crate) fn finish(&mut self, key: VcpuKey) {
        if key.vcpu == 0 && !self.is_over_for(key) {
            let leaks = self.leaks_of(key.domain);
            self.domains[key.domain].leaks.extend(leaks);
        }
        self.set_run(key, Run::Finished);
        self.vcpu_mut(key).alive = false;
        self.set_runstate(key, Runstate::OFFLINE);
        if key.vcpu == 0 || !self.domain(key).vcpus.iter().any(Vcpu::is_up) {
            self.end_domain(key.domain, ShutdownReason::POWEROFF);
        }
        let domain = self.domain(key);
        if domain.ended.is_some() && !domain.vcpus.iter().any(|vcpu| vcpu.alive) {
            self.release(key.domain);
        }
        self.running = None;
    }

    /// Returns the resources that a domain has not released.
    fn leaks_of(&self, domain: usize) -> Vec<String> {
        let of = &self.domains[domain];
        let served = of.served.map_or([0; 2], |rings| [rings.console.port, rings.store.port]);
        let mut leaks = Vec::new();
        for (number, port) in of.ports.all.iter().enumerate() {
            let is_own = ![Binding::Free, Binding::Xen].contains(&port.binding);
            if is_own && !served.contains(&(number as u32)) {
                leaks.push(format!("channel: port {number}, {:?}", port.binding));
            }
        }
        for (handle, map) in of.grants.maps.iter().enumerate() {
            if let Some(map) = map {
                let (reference, owner) = (map.reference, map.owner);
                leaks.push(format!("mapping {handle}: grant {reference} of domain {owner}"));
            }
        }
        for reference in 0..of.grants.entries() {
            let entry = read_entry(&of.grants, &self.memory, reference);
            let entry = entry.filter(GrantedPage::permits_access).filter(|entry| {
                let page = self.page_of(domain, entry.gfn);
                !self.is_of_toolstack(domain, reference, entry.to, page)
            });
            if let Some(entry) = entry {
                leaks.push(format!("grant {reference}: to domain {}", entry.to));
            }
        }
        leaks.extend(self.mapped_grants(domain));
        // On x86, mapping a Xen page over memory frees the memory. That is no leak.
        let initial = FIRST..FIRST + of.initial_pages;
        let is_replaced =
            |(frame, entry): &_| initial.contains(frame) && matches!(entry, Entry::Xen(_));
        let replaced = of.physmap.entries().filter(is_replaced).count();
        let replaced = if self.profile.is_arm() { 0 } else { replaced };
        let present = self.frames.pages_of(domain) + replaced;
        let missing = of.initial_pages.saturating_sub(present);
        if missing > 0 {
            leaks.push(format!("pages: {missing} of {} are not there", of.initial_pages));
        }
        leaks
    }

    /// Closes a domain's channels and ends its mappings.
    fn release(&mut self, domain: usize) {
        self.close_all_ports(domain);
        for handle in 0..self.domains[domain].grants.maps.len() {
            self.end_map(domain, handle);
        }
    }

    /// Suspends a domain. Returns true if the suspend was cancelled. Otherwise, the domain was
    /// restored on another host, with its memory and without its registrations.
    pub(crate) fn suspend(&mut self, me: VcpuKey) -> bool {
        if self.random.once_in(self.rates.cancelled_suspends) {
            return true;
        }
        let domain = me.domain;
        self.release(domain);
        self.leave_mapped_pages(domain);
        self.forget_registrations(domain);
        let uptime = (1 + self.random.below(MAX_UPTIME)) as u64 * NANOS_PER_SECOND;
        self.domains[domain].epoch = (uptime as i64).saturating_sub_unsigned(self.now);
        // Earlier numbers are taken by the other domains and by earlier restores.
        let restored: u32 = self.domains.iter().map(|domain| domain.restores).sum();
        let last = self.domains.last().map_or(0, |last| last.number.0);
        self.domains[domain].restores += 1;
        self.domains[domain].id = Domid(last.wrapping_add(1 + restored as u16));
        for vcpu in 0..self.domains[domain].vcpus.len() {
            self.write_time(VcpuKey { domain, vcpu });
        }
        self.find_next_timer();
        if self.domains[domain].served.is_some() {
            // This does not fail: the ports were closed, and the rings return to their frames.
            let _ = self.serve(domain);
        }
        self.announce_change();
        false
    }

    /// Gives a domain a copy of each of its pages that other domains have mapped. They keep the
    /// page of the domain that ends on the old host.
    fn leave_mapped_pages(&mut self, domain: usize) {
        let id = self.domains[domain].id;
        let maps = self.domains.iter().flat_map(|other| other.grants.maps.iter().flatten());
        let mapped: BTreeSet<_> = maps.filter(|map| map.owner == id).map(|map| map.frame).collect();
        let physmap = &mut self.domains[domain].physmap;
        let all: Vec<_> = physmap.entries().collect();
        for (frame, entry) in all {
            let Entry::Ram(page) = entry else { continue };
            if !mapped.contains(&page) {
                continue;
            }
            // If the machine has no memory left, the page stays shared.
            let Some(copy) = self.frames.take_for(domain, &self.memory) else { return };
            let mut content = [0; PAGE_SIZE];
            self.memory.read(page, 0, &mut content);
            self.memory.write(copy, 0, &content);
            if physmap.free(frame, &mut self.frames, &self.memory).is_ok() {
                // If the host refuses, the frame stays empty, and the program faults there.
                let _ = physmap.put(frame, Entry::Ram(copy), &self.memory);
            }
        }
    }

    /// Removes a domain's registrations with Xen.
    fn forget_registrations(&mut self, domain: usize) {
        let state = &mut *self;
        let of = &mut state.domains[domain];
        let all: Vec<_> = of.physmap.entries().collect();
        for (frame, entry) in all {
            if matches!(entry, Entry::Xen(_)) {
                let hole = if state.profile.is_arm() { Entry::Empty } else { Entry::Hole };
                // If the host refuses, the page stays visible but is no longer used.
                let _ = of.physmap.put(frame, hole, &state.memory);
                of.holes.push(frame);
            }
        }
        of.parameters[HvmParam::CALLBACK_IRQ.0 as usize] = 0;
        of.upcall_vector = None;
        of.watchdogs = [None; 2];
        of.marks_runstate = false;
        state.memory.write(of.shared, 0, &[0; PAGE_SIZE]);
        let mut frames = core::mem::take(&mut of.grants.frames);
        frames.append(&mut of.grants.status_frames);
        let first = frames[0];
        frames.drain(1..).for_each(|frame| state.frames.free(frame));
        state.memory.write(first, 0, &[0; PAGE_SIZE]);
        of.grants = Grants::new(first, of.grants.max_maps);
        for (number, vcpu) in of.vcpus.iter_mut().enumerate() {
            let registered = vcpu.info.filter(|_| vcpu.info_registered).map(|(frame, _)| frame);
            for frame in [registered, vcpu.runstate_areas.frame(), vcpu.time_areas.frame()] {
                state.frames.replace(frame, None);
            }
            vcpu.info = state.profile.block_in_shared_page(number).map(|block| (of.shared, block));
            vcpu.info_registered = false;
            vcpu.own_vector = None;
            (vcpu.runstate_areas, vcpu.time_areas) = (Areas::default(), Areas::default());
            (vcpu.singleshot, vcpu.period) = (None, None);
            // Xen saves nothing of a vCPU that is down.
            vcpu.initialised &= vcpu.is_up();
            (vcpu.times.since, vcpu.times.spent) = (state.now, [0; 4]);
        }
    }

    /// Fills the holes of a domain with ones again: what the domain wrote there is lost.
    pub(crate) fn refill_holes(&mut self, domain: usize) {
        let Domain { holes, physmap, .. } = &mut self.domains[domain];
        holes.retain(|frame| physmap.entry(*frame) == Entry::Hole);
        for frame in holes {
            // If the host refuses, the domain's writes stay.
            let _ = physmap.memory.map_ones(*frame);
        }
    }
}
