//! The machine's time: its advance, the timers, and the times that Xen writes to memory.

use core::time::Duration;

use xen_pac::access::Data;
use xen_pac::base::Virq;
use xen_pac::shared_info::{SharedInfoWallclock, VcpuTimeInfoSnapshot, raw as shared_info};
use xen_pac::vcpu::{Runstate, raw as vcpu};

use super::{Area, Deadline, NANOS_PER_SECOND, RunTimes, State, VcpuKey, scale};
use crate::config::{FailureKind, Role};
use crate::raw_memory;

/// The last moment: Xen's time is a signed number of nanoseconds.
const END_OF_TIME: u64 = i64::MAX as u64;
/// The maximum number of ticks by which a counter can be behind the time stamp of its block.
const MAX_LAG: usize = 8;
/// The maximum time for which another domain has the processor, in nanoseconds.
const STOLEN: usize = 100_000;
/// The duration of a reading of the counter, in nanoseconds.
const READING: u64 = 40;
/// When a vCPU gets the processor, Xen writes its time block if the block is older than this.
const FRESH: u64 = 100_000_000;
/// The wallclock time at which the machine started: the beginning of 2026.
const STARTED: u64 = 1_767_225_600;

impl State {
    /// Advances the time by the duration of an operation of the running vCPU.
    pub(crate) fn pass_time(&mut self, nanos: u64) {
        self.advance_to(self.now.saturating_add(nanos).min(END_OF_TIME));
        if let Some(running) = self.running {
            self.tick(running);
        }
    }

    /// At random, gives the processor to another domain for some time.
    pub(crate) fn steal_time(&mut self) {
        if self.random.once_in(self.rates.stolen_time) {
            let nanos = self.random.below(STOLEN) as u64;
            for deadline in self.deadlines.values_mut() {
                deadline.due = deadline.due.saturating_add(nanos);
            }
            self.pass_time(nanos);
        }
    }

    /// Advances the time to a moment, and fires the timers that are due by then, in order.
    pub(crate) fn advance_to(&mut self, moment: u64) {
        while let Some(next) = self.next_timer.filter(|next| *next <= moment) {
            self.now = self.now.max(next);
            self.fire();
        }
        self.now = self.now.max(moment);
        let missed = self.deadlines.values().find(|deadline| deadline.due < self.now);
        if let Some(Deadline { on, limit, .. }) = missed.copied() {
            let limit = Duration::from_nanos(limit);
            self.stop(FailureKind::Late { on: self.name(on), limit });
        }
    }

    /// Fires the timers that are due.
    fn fire(&mut self) {
        for index in 0..self.domains.len() {
            if self.domains[index].ended.is_some() {
                continue;
            }
            for vcpu in 0..self.domains[index].vcpus.len() {
                let (key, now) = (VcpuKey { domain: index, vcpu }, self.now);
                let of = self.vcpu_mut(key);
                if of.singleshot.take_if(|due| *due <= now).is_some() {
                    self.raise_virq(key, Virq::TIMER);
                }
                if self.vcpu_mut(key).poll_deadline.take_if(|due| *due <= now).is_some() {
                    self.wake(key);
                }
            }
            if self.domains[index].watchdogs.iter().flatten().any(|due| *due <= self.now) {
                self.end_domain(index, xen_pac::sched::ShutdownReason::WATCHDOG);
            }
        }
        self.find_next_timer();
    }

    /// Finds the next timer. Must be called whenever a timer was changed.
    pub(crate) fn find_next_timer(&mut self) {
        let alive = self.domains.iter().filter(|domain| domain.ended.is_none());
        let timers = alive.flat_map(|domain| {
            let of_vcpus =
                domain.vcpus.iter().flat_map(|vcpu| [vcpu.singleshot, vcpu.poll_deadline]);
            of_vcpus.chain(domain.watchdogs)
        });
        self.next_timer = timers.flatten().min();
    }

    /// Fires the periodic timer of a vCPU, if the vCPU is running.
    fn tick(&mut self, key: VcpuKey) {
        let now = self.now;
        let vcpu = self.vcpu_mut(key);
        if vcpu.period.is_some_and(|period| now >= vcpu.last_tick.saturating_add(period)) {
            vcpu.last_tick = now;
            self.raise_virq(key, Virq::TIMER);
        }
    }

    /// Does what Xen does when a vCPU gets the processor: updates its times.
    pub(crate) fn resume_on_processor(&mut self, key: VcpuKey) {
        self.tick(key);
        if self.vcpu(key).time_written.is_none_or(|written| self.now - written >= FRESH) {
            self.write_time(key);
        }
    }

    /// Returns the value of a vCPU's counter.
    fn counter(&self, key: VcpuKey) -> u64 {
        let ticks = u128::from(self.now) * u128::from(self.profile.counter_frequency())
            / u128::from(NANOS_PER_SECOND);
        (ticks as u64).wrapping_add(self.vcpu(key).counter_base)
    }

    /// Moves a vCPU to a processor with another counter: Xen writes the vCPU's time block.
    fn change_processor(&mut self, key: VcpuKey) {
        self.trace.step(&[2]);
        if !self.profile.is_arm() {
            self.vcpu_mut(key).counter_base = self.random.next();
        }
        self.write_time(key);
        if self.random.once_in(self.rates.counter_lag) {
            let lag = 1 + self.random.below(MAX_LAG) as u64;
            let vcpu = self.vcpu_mut(key);
            vcpu.counter_base = vcpu.counter_base.wrapping_sub(lag);
        }
    }

    /// Reads the counter of the vCPU that runs.
    pub(crate) fn read_counter(&mut self, me: VcpuKey) -> u64 {
        self.pass_time(READING);
        if self.random.once_in(self.rates.clock_updates) {
            self.change_processor(me);
        }
        self.counter(me)
    }

    /// Writes a vCPU's time block. Arm has none.
    pub(crate) fn write_time(&mut self, key: VcpuKey) {
        self.vcpu_mut(key).time_written = Some(self.now);
        if self.profile.is_arm() {
            return;
        }
        let (shift, mul) = scale(self.profile.counter_frequency());
        let snapshot = VcpuTimeInfoSnapshot {
            tsc_timestamp: self.counter(key),
            system_time: self.domain_time(key.domain, self.now),
            tsc_to_system_mul: mul,
            tsc_shift: shift,
            flags: 0,
        };
        if let Some(info) = self.info(key) {
            info.time().publish_snapshot(&snapshot);
        }
        // An area need not be aligned. No vCPU runs meanwhile, so none reads it half written.
        let current = self.vcpu(key).time_areas.current();
        if let Some(address) = self.area::<shared_info::VcpuTimeInfo>(key, current) {
            let before: shared_info::VcpuTimeInfo = raw_memory::read_value(address);
            let VcpuTimeInfoSnapshot {
                tsc_timestamp,
                system_time,
                tsc_to_system_mul,
                tsc_shift,
                flags,
            } = snapshot;
            let version = before.version.wrapping_add(2);
            raw_memory::write_value(
                address,
                shared_info::VcpuTimeInfo {
                    version,
                    tsc_timestamp,
                    system_time,
                    tsc_to_system_mul,
                    tsc_shift,
                    flags,
                    ..before
                },
            );
        }
    }

    /// Returns the address of an area that a vCPU registered for a `T`, if pages are mapped there.
    fn area<T: Data>(&self, key: VcpuKey, area: Option<Area>) -> Option<usize> {
        let domain = self.domain(key);
        let address = match area? {
            Area::Virtual(address) => address,
            Area::Physical(frame, offset) => {
                return Some(self.memory.byte(frame, offset)?.as_ptr().expose_provenance());
            }
        };
        let end = address.checked_add(size_of::<T>() - 1)?;
        let (memory, physmap) = (&domain.physmap.memory, &domain.physmap);
        let is_there = match (memory.locate(address), memory.locate(end)) {
            (Some((first, _)), Some((last, _))) => {
                physmap.is_writable(first) && physmap.is_writable(last)
            }
            _ => raw_memory::is_writable::<T>(address),
        };
        is_there.then_some(address)
    }

    /// Changes a vCPU's runstate, and counts the time in the one before.
    pub(crate) fn set_runstate(&mut self, key: VcpuKey, state: Runstate) {
        let now = self.now;
        let times = &mut self.vcpu_mut(key).times;
        if times.state == state {
            return;
        }
        if let Some(spent) = times.spent.get_mut(times.state.0 as usize) {
            *spent += now - times.since;
        }
        (times.state, times.since) = (state, now);
        let times = times.clone();
        self.write_runstate(key, self.vcpu(key).runstate_areas.current(), &times);
    }

    /// Returns a vCPU's run times, up to now.
    pub(crate) fn run_times(&self, key: VcpuKey) -> RunTimes {
        let mut times = self.vcpu(key).times.clone();
        if let Some(spent) = times.spent.get_mut(times.state.0 as usize) {
            *spent += self.now - times.since;
        }
        times
    }

    /// Writes a vCPU's run times into an area that it registered. No vCPU runs meanwhile, so none
    /// would see the mark of an update.
    pub(crate) fn write_runstate(&self, key: VcpuKey, area: Option<Area>, times: &RunTimes) {
        if let Some(address) = self.area::<vcpu::VcpuRunstateInfo>(key, area) {
            raw_memory::write_value(address, self.runstate_info(key, times));
        }
    }

    /// Returns a vCPU's run times in its domain's time.
    pub(crate) fn runstate_info(&self, key: VcpuKey, times: &RunTimes) -> vcpu::VcpuRunstateInfo {
        let mut info = vcpu::VcpuRunstateInfo::ZEROED;
        (info.state, info.state_entry_time, info.time) =
            (times.state.0, self.domain_time(key.domain, times.since), times.spent);
        info
    }

    /// Converts a time of the machine to a domain's time.
    pub(crate) fn domain_time(&self, domain: usize, moment: u64) -> u64 {
        moment.saturating_add_signed(self.domains[domain].epoch)
    }

    /// Converts a time that a domain passed to Xen to the machine's time. Xen's time is signed, so
    /// 2^63 and above are in the past. 2^63 - 1 means never: returns `None`.
    pub(crate) fn machine_time(&self, domain: usize, time: u64) -> Option<u64> {
        let time = (time as i64 != i64::MAX).then_some(time as i64)?;
        Some(time.saturating_sub(self.domains[domain].epoch).max(0) as u64)
    }

    /// Writes a domain's wallclock. On Arm it is 0 until a control domain sets it, which has set it
    /// before the toolstack creates a guest.
    pub(crate) fn write_wallclock(&self, domain: usize) {
        let (sec, nsec) = match (self.profile.is_arm(), self.domains[domain].role) {
            (false, _) => (STARTED, 0),
            (true, Role::Guest) => (STARTED, 1),
            (true, _) => (0, 0),
        };
        let wallclock =
            SharedInfoWallclock { sec: sec as u32, nsec, sec_hi: (sec >> u32::BITS) as u32 };
        self.memory.shared_info(self.domains[domain].shared).publish_wallclock(&wallclock);
    }
}
