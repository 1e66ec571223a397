//! The clock over a time block in ordinary memory, with a thread that plays the hypervisor.

use core::cell::Cell;
use core::ptr::NonNull;
use std::boxed::Box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use xen_pac::features::Feature;
use xen_pac::shared_info::{VcpuTimeInfo, VcpuTimeInfoSnapshot, pvclock_flags, raw};

use super::{Monotonic, PvClock, SystemTime, UnsafeForHvm};
use crate::platform::Counter;
use crate::version::Features;

/// A counter that the test moves.
struct Manual(Cell<u64>);

impl Counter for Manual {
    fn read(&self) -> u64 {
        self.0.get()
    }
}

/// A block that lives until the test process ends.
fn block() -> VcpuTimeInfo<'static> {
    let memory = NonNull::from(Box::leak(Box::new(raw::VcpuTimeInfo::ZEROED)));
    // SAFETY: the memory is never freed, and only this handle and its copies touch it.
    unsafe { VcpuTimeInfo::from_ptr(memory) }
}

fn safe() -> Features {
    Features::from_words([1 << Feature::HVM_SAFE_PVCLOCK.0])
}

/// One nanosecond a tick, from tick 100 on, at which it was `system_time`.
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
    assert_eq!(refused.map(|_| ()).unwrap_err(), UnsafeForHvm);
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
    let latest = Monotonic::new();
    let ahead = latest.clamp(SystemTime::from_nanos(5_000));
    block.publish_snapshot(&one_to_one(1_000, 0));
    assert_eq!(clock.monotonic(&latest), ahead);
    block.publish_snapshot(&one_to_one(1_000, pvclock_flags::TSC_STABLE.mask));
    assert_eq!(clock.monotonic(&latest).as_nanos(), 1_000);
}

/// A counter that another thread moves.
struct Shared<'a>(&'a AtomicU64);

impl Counter for Shared<'_> {
    fn read(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The writer moves the origin all the time, and so that the true time is always the tick count:
/// any reading between two counts that enclose it is right.
#[test]
fn a_rebasing_hypervisor_does_not_bend_time() {
    let (block, ticks, done) = (block(), AtomicU64::new(1_000), AtomicBool::new(false));
    block.publish_snapshot(&VcpuTimeInfoSnapshot { tsc_timestamp: 1_000, ..one_to_one(1_000, 0) });
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
        // On a busy machine the writer may come late: go on until it has been there ten thousand
        // times.
        while readings < 200_000 || ticks.load(Ordering::SeqCst) < 71_000 {
            readings += 1;
            let before = ticks.load(Ordering::SeqCst);
            let now = clock.now().as_nanos();
            let after = ticks.load(Ordering::SeqCst);
            assert!((before..=after).contains(&now), "{before} <= {now} <= {after}");
        }
        done.store(true, Ordering::Relaxed);
    });
}
