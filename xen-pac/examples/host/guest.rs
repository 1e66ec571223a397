//! The guest: what a porter writes. Reading the clock, and the upcall handler.

use std::sync::atomic::Ordering;
use std::thread;

use xen_pac::base::XenUlong;
use xen_pac::shared_info::{SharedInfo, VcpuTimeInfo};

use crate::hypervisor::{Hypervisor, MASKED_PORT, PORTS, TOLD, place_of};

pub(crate) struct Guest<'a> {
    shared: SharedInfo<'a>,
    machine: &'a Hypervisor<'a>,
    /// How often each port was handled.
    pub(crate) handled: [u64; PORTS],
    pub(crate) readings: u64,
    pub(crate) retries: u64,
    pub(crate) wrong_readings: u64,
}

impl<'a> Guest<'a> {
    pub(crate) fn new(shared: SharedInfo<'a>, machine: &'a Hypervisor<'a>) -> Self {
        Self { shared, machine, handled: [0; PORTS], readings: 0, retries: 0, wrong_readings: 0 }
    }

    /// Reads the clock all the time, and is interrupted whenever an upcall is due, until the
    /// hypervisor has no more for it.
    pub(crate) fn run(&mut self) {
        let Some(vcpu) = self.shared.vcpu_info(0) else { return };
        let mut masked = true;
        loop {
            let last_round = self.machine.finished.load(Ordering::Acquire);
            for _ in 0..10 {
                self.read_clock(vcpu.time());
            }
            if vcpu.evtchn_upcall_pending().load(Ordering::Acquire) != 0 {
                self.upcall();
            } else {
                // A guest would block here until the next upcall.
                thread::yield_now();
            }
            if masked && (last_round || self.readings > 1000) {
                masked = false;
                println!("guest: unmasks port {MASKED_PORT}");
                self.unmask(MASKED_PORT);
            } else if last_round {
                return;
            }
        }
    }

    /// The two-level protocol: clear the upcall, take the selector, and in each word that it names
    /// handle what is pending and not masked.
    fn upcall(&mut self) {
        let Some(vcpu) = self.shared.vcpu_info(0) else { return };
        vcpu.evtchn_upcall_pending().swap(0, Ordering::AcqRel);
        let mut selector = vcpu.evtchn_pending_sel().swap(0, Ordering::AcqRel);
        while selector != 0 {
            let word = selector.trailing_zeros();
            selector &= selector - 1;
            let (Some(pending), Some(mask)) =
                (self.shared.evtchn_pending(word as usize), self.shared.evtchn_mask(word as usize))
            else {
                continue;
            };
            let mut due = pending.load(Ordering::Acquire) & !mask.load(Ordering::Acquire);
            while due != 0 {
                let bit = due.trailing_zeros();
                due &= due - 1;
                // Before it is handled: an event that arrives meanwhile must make the bit pending
                // anew.
                pending.fetch_and(!(1 << bit), Ordering::AcqRel);
                self.handle(word * XenUlong::BITS + bit);
            }
        }
    }

    fn handle(&mut self, port: u32) {
        if let Some(count) = self.handled.get_mut(port as usize) {
            *count += 1;
        }
        if self.handled.iter().sum::<u64>() <= TOLD {
            println!("guest: handles port {port}");
        }
    }

    pub(crate) fn mask(&self, port: u32) {
        let (word, bit) = place_of(port);
        if let Some(mask) = self.shared.evtchn_mask(word) {
            mask.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Clears the mask, and only then looks whether an event came while it was set: that one caused
    /// no upcall, so Xen is asked for it.
    fn unmask(&self, port: u32) {
        let (word, bit) = place_of(port);
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(word), self.shared.evtchn_mask(word))
        else {
            return;
        };
        mask.fetch_and(!bit, Ordering::SeqCst);
        if pending.load(Ordering::SeqCst) & bit != 0 {
            mask.fetch_or(bit, Ordering::SeqCst);
            self.machine.unmask(port);
        }
    }

    /// Reads the clock and compares it with the true time before and after.
    fn read_clock(&mut self, time: VcpuTimeInfo<'_>) {
        let mut runs = 0;
        let before = self.machine.true_time();
        // The counter is read inside the window: beside another update's values it means another
        // time.
        let (info, ticks) = time.snapshot_with(|| {
            runs += 1;
            self.machine.counter()
        });
        let delta = ticks.wrapping_sub(info.tsc_timestamp);
        let delta = if info.tsc_shift < 0 {
            delta >> info.tsc_shift.unsigned_abs()
        } else {
            delta << info.tsc_shift
        };
        let now = info.system_time
            + ((u128::from(delta) * u128::from(info.tsc_to_system_mul)) >> 32) as u64;
        let after = self.machine.true_time();

        self.readings += 1;
        self.retries += runs - 1;
        if now < before || now > after {
            self.wrong_readings += 1;
        }
        if self.readings <= 3 {
            println!("guest: the clock says {now} ns; the truth lies from {before} to {after} ns");
        }
    }
}
