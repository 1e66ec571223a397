//! The thread that plays Xen: it keeps the clock's values fresh and raises events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xen_pac::base::XenUlong;
use xen_pac::shared_info::{SharedInfo, VcpuTimeInfoSnapshot};

/// How many ports the hypervisor raises; they fill two words and part of a third, or more where
/// words are shorter.
pub(crate) const PORTS: usize = 150;
/// The port that the guest masks for a while.
pub(crate) const MASKED_PORT: u32 = 77;
/// How many steps of each side are told.
pub(crate) const TOLD: u64 = 12;
/// How often an event is sent.
const SENDS: u64 = 100_000;

pub(crate) struct Hypervisor<'a> {
    shared: SharedInfo<'a>,
    start: Instant,
    pub(crate) rebases: AtomicU64,
    pub(crate) finished: AtomicBool,
}

impl<'a> Hypervisor<'a> {
    pub(crate) fn new(shared: SharedInfo<'a>) -> Self {
        let new = Self {
            shared,
            start: Instant::now(),
            rebases: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        };
        new.rebase(0);
        new
    }

    /// Nanoseconds since boot.
    pub(crate) fn true_time(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The time stamp counter of a machine with 4 GHz.
    pub(crate) fn counter(&self) -> u64 {
        self.true_time() * 4
    }

    /// Raises events on all ports in no order that the guest could guess, and says how often each
    /// was raised.
    pub(crate) fn run(&self) -> [u64; PORTS] {
        let mut raised = [0; PORTS];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for send in 0..SENDS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let port = (random % PORTS as u64) as u32;
            let first = self.raise(port);
            raised[port as usize] += u64::from(first);
            if send < TOLD {
                println!("xen  : raised port {port}");
                thread::sleep(Duration::from_millis(1));
            } else if !first {
                // The guest lags behind, perhaps because it has no processor: let it run.
                thread::yield_now();
            }
            for update in 0..random % 8 {
                self.rebase(random.wrapping_add(update));
            }
        }
        self.finished.store(true, Ordering::Release);
        raised
    }

    /// Marks a port pending and, unless it is masked, causes an upcall. Says whether it was not
    /// pending before: events that were not handled yet merge.
    fn raise(&self, port: u32) -> bool {
        let (word, bit) = place_of(port);
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(word), self.shared.evtchn_mask(word))
        else {
            return false;
        };
        if pending.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
            return false;
        }
        if mask.load(Ordering::SeqCst) & bit == 0 {
            self.cause_upcall(word);
        }
        true
    }

    /// The hypercall that the guest makes when a port became pending while it was masked.
    pub(crate) fn unmask(&self, port: u32) {
        let (word, bit) = place_of(port);
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(word), self.shared.evtchn_mask(word))
        else {
            return;
        };
        if mask.fetch_and(!bit, Ordering::SeqCst) & bit != 0
            && pending.load(Ordering::SeqCst) & bit != 0
        {
            self.cause_upcall(word);
        }
    }

    fn cause_upcall(&self, word: usize) {
        if let Some(vcpu) = self.shared.vcpu_info(0) {
            vcpu.evtchn_pending_sel().fetch_or(1 << word, Ordering::AcqRel);
            vcpu.evtchn_upcall_pending().fetch_or(1, Ordering::AcqRel);
        }
    }

    /// Describes the same clock anew: from the present moment on, and by another pair of shift and
    /// factor. Values of two updates do not fit together.
    fn rebase(&self, random: u64) {
        let Some(vcpu) = self.shared.vcpu_info(0) else { return };
        let now = self.true_time();
        let (tsc_shift, tsc_to_system_mul) =
            [(-1, 1 << 31), (0, 1 << 30), (1, 1 << 29)][(random % 3) as usize];
        vcpu.time().publish_snapshot(&VcpuTimeInfoSnapshot {
            tsc_timestamp: now * 4,
            system_time: now,
            tsc_to_system_mul,
            tsc_shift,
            flags: 0,
        });
        self.rebases.fetch_add(1, Ordering::Relaxed);
    }
}

/// In which word a port has its bit, and that bit.
pub(crate) const fn place_of(port: u32) -> (usize, XenUlong) {
    ((port / XenUlong::BITS) as usize, 1 << (port % XenUlong::BITS))
}
