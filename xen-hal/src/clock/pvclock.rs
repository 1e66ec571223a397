//! Reads Xen's system time from a vCPU's time block and the TSC on x86.

use xen_pac::features::Feature;
use xen_pac::shared_info::{VcpuTimeInfo, VcpuTimeInfoSnapshot, pvclock_flags};

use super::{Clock, Instant, Monotonic, SystemTime, frequency, scale};
use crate::platform::Counter;
use crate::version::Features;

/// Reads a vCPU's clock: the values of its time block, extended by the TSC.
///
/// Each vCPU has its own block, which only that vCPU can use. Do not share a `PvClock` between
/// vCPUs; share a [`Monotonic`].
#[derive(Clone, Copy, Debug)]
pub struct PvClock<'a, C> {
    block: VcpuTimeInfo<'a>,
    counter: C,
}

/// The domain lacks `XENFEAT_hvm_safe_pvclock`: its TSC runs at another rate or offset than the
/// time block assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsafePvClockError;

impl core::fmt::Display for UnsafePvClockError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(
            "expected XENFEAT_hvm_safe_pvclock, found a Xen without it: the time block does not \
             match the TSC of an HVM guest; use another clock",
        )
    }
}

impl core::error::Error for UnsafePvClockError {}

impl<'a, C: Counter> PvClock<'a, C> {
    /// Creates a clock over a vCPU's time block, in a domain with `features`.
    ///
    /// # Errors
    ///
    /// [`UnsafePvClockError`] if the features lack `hvm_safe_pvclock`.
    pub fn new(
        features: Features,
        block: VcpuTimeInfo<'a>,
        counter: C,
    ) -> Result<Self, UnsafePvClockError> {
        if features.has(Feature::HVM_SAFE_PVCLOCK) {
            Ok(Self { block, counter })
        } else {
            Err(UnsafePvClockError)
        }
    }

    /// Creates the clock in a domain whose features were checked by [`new`](Self::new).
    #[cfg(feature = "embassy-time-driver")]
    pub(crate) const fn of_checked(block: VcpuTimeInfo<'a>, counter: C) -> Self {
        Self { block, counter }
    }

    /// True after Xen has written the block. Until then, the clock reads 0.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.block.snapshot().tsc_to_system_mul != 0
    }

    /// Returns the TSC's rate in ticks per second, as Xen reports it; `None` before the first
    /// update.
    #[must_use]
    pub fn frequency(&self) -> Option<u64> {
        let time = self.block.snapshot();
        frequency(time.tsc_to_system_mul, time.tsc_shift)
    }

    #[inline]
    fn read(&self) -> (SystemTime, bool) {
        let (time, ticks) = self.block.snapshot_with(|| self.counter.read());
        (time_at(&time, ticks), time.flags().is_set(pvclock_flags::TSC_STABLE))
    }
}

impl<C: Counter> Clock for PvClock<'_, C> {
    /// Returns the system time; 0 until Xen has written the block for the first time.
    ///
    /// Spins while Xen writes the block, for a few instructions.
    #[inline]
    fn now(&self) -> SystemTime {
        self.read().0
    }

    #[inline]
    fn is_common(&self) -> bool {
        self.read().1
    }

    /// If Xen reports a stable TSC, does not compare the reading with those of other vCPUs.
    #[inline]
    fn instant(&self, line: &Monotonic) -> Instant {
        let (now, stable) = self.read();
        if stable { line.unclamped(now) } else { line.instant(now) }
    }
}

/// Returns the time of a snapshot at a reading of the counter. The difference is signed, because a
/// counter can be a few ticks behind the snapshot's TSC stamp.
#[inline]
fn time_at(time: &VcpuTimeInfoSnapshot, ticks: u64) -> SystemTime {
    let since = ticks.wrapping_sub(time.tsc_timestamp) as i64;
    let elapsed = scale(since, time.tsc_to_system_mul, time.tsc_shift);
    SystemTime::from_nanos((time.system_time as i64).wrapping_add(elapsed))
}

#[cfg(test)]
mod tests {
    //! Tests the clock on a time block in ordinary memory, to which a thread writes as Xen does.

    use core::cell::Cell;
    use core::ptr::NonNull;
    use std::boxed::Box;
    use std::string::ToString;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    use xen_pac::shared_info::raw;

    use super::*;

    /// A counter that the test moves.
    struct Manual(Cell<u64>);

    impl Counter for Manual {
        fn read(&self) -> u64 {
            self.0.get()
        }
    }

    /// Returns a block that lives until the test process ends.
    fn block() -> VcpuTimeInfo<'static> {
        let memory = NonNull::from(Box::leak(Box::new(raw::VcpuTimeInfo::ZEROED)));
        // SAFETY: the memory is never freed, and only this handle and its copies touch it.
        unsafe { VcpuTimeInfo::from_ptr(memory) }
    }

    fn safe() -> Features {
        Features::from_words([1 << Feature::HVM_SAFE_PVCLOCK.0])
    }

    /// Returns a snapshot with one nanosecond per tick, taken at tick 100, when the time was
    /// `system_time`.
    fn one_to_one(system_time: u64, flags: u8) -> VcpuTimeInfoSnapshot {
        VcpuTimeInfoSnapshot {
            tsc_timestamp: 100,
            system_time,
            tsc_to_system_mul: 1 << 31,
            tsc_shift: 1,
            flags,
        }
    }

    #[test]
    fn a_domain_without_the_feature_gets_no_clock() {
        let refused = PvClock::new(Features::default(), block(), Manual(Cell::new(0)));
        let error = refused.map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("expected XENFEAT_hvm_safe_pvclock"), "{error}");
    }

    #[test]
    fn ticks_carry_the_time_forward() {
        let block = block();
        let clock = PvClock::new(safe(), block, Manual(Cell::new(150))).unwrap();
        assert!(!clock.is_running());
        assert_eq!((clock.now().as_nanos(), clock.frequency()), (0, None));
        block.publish_snapshot(&one_to_one(1_000, 0));
        assert!(clock.is_running());
        assert_eq!((clock.now().as_nanos(), clock.frequency()), (1_050, Some(1_000_000_000)));
    }

    #[test]
    fn the_clamp_is_used_unless_the_tsc_is_stable() {
        let block = block();
        let clock = PvClock::new(safe(), block, Manual(Cell::new(100))).unwrap();
        let line = Monotonic::new();
        let ahead = line.instant(SystemTime::from_nanos(5_000));
        block.publish_snapshot(&one_to_one(1_000, 0));
        assert_eq!((clock.instant(&line), clock.is_common()), (ahead, false));
        block.publish_snapshot(&one_to_one(1_000, pvclock_flags::TSC_STABLE.mask));
        assert_eq!((clock.instant(&line).as_nanos(), clock.is_common()), (1_000, true));
    }

    #[test]
    fn a_counter_behind_its_stamp_reads_a_little_earlier() {
        let block = block();
        let ticks = Cell::new(0);
        let clock = PvClock::new(safe(), block, Behind(&ticks)).unwrap();
        let line = Monotonic::new();
        // 2.5 GHz: 0.4 ns a tick.
        block.publish_snapshot(&VcpuTimeInfoSnapshot {
            tsc_timestamp: 1_000_000,
            system_time: 5_000_000_000,
            tsc_to_system_mul: 0x6666_6666,
            tsc_shift: 0,
            flags: 0,
        });
        for (read, shows) in [(1_000_000, 0), (999_999, -1), (999_000, -400), (1_000_005, 1)] {
            ticks.set(read);
            assert_eq!(clock.now().as_nanos() - 5_000_000_000, shows, "{read}");
            assert_eq!(clock.instant(&line).as_nanos() - 5_000_000_000, shows.max(0), "{read}");
        }
    }

    /// A counter that the test moves while a clock reads it.
    struct Behind<'a>(&'a Cell<u64>);

    impl Counter for Behind<'_> {
        fn read(&self) -> u64 {
            self.0.get()
        }
    }

    /// A counter that another thread moves.
    struct Shared<'a>(&'a AtomicU64);

    impl Counter for Shared<'_> {
        fn read(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// The writer keeps moving the origin, and keeps the true time equal to the tick count. A
    /// reading is right if it lies between the counts before and after it.
    #[test]
    fn a_rebasing_hypervisor_does_not_bend_time() {
        let (block, ticks, done) = (block(), AtomicU64::new(1_000), AtomicBool::new(false));
        block.publish_snapshot(&VcpuTimeInfoSnapshot {
            tsc_timestamp: 1_000,
            ..one_to_one(1_000, 0)
        });
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let now = ticks.fetch_add(7, Ordering::SeqCst) + 7;
                    block.publish_snapshot(&VcpuTimeInfoSnapshot {
                        tsc_timestamp: now,
                        ..one_to_one(now, 0)
                    });
                }
            });
            let clock = PvClock::new(safe(), block, Shared(&ticks)).unwrap();
            let mut readings = 0;
            // On a busy machine the writer may start late: continue until it has written often
            // enough.
            while readings < 200_000 || ticks.load(Ordering::SeqCst) < 71_000 {
                readings += 1;
                let before = ticks.load(Ordering::SeqCst);
                let now = clock.now().as_nanos() as u64;
                let after = ticks.load(Ordering::SeqCst);
                assert!((before..=after).contains(&now), "{before} <= {now} <= {after}");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
