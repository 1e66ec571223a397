//! Tests for torn reads: one thread rebases a clock under the version protocol without a pause, and
//! readers keep or break the protocol.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Page;
use crate::access::{self, Block};
use crate::shared_info::{VcpuTimeInfo, VcpuTimeInfoSnapshot, raw};

/// Fewer under Miri, which interprets each access.
const READS: u32 = if cfg!(miri) { 500 } else { 10_000_000 };

/// The number of readings between two yields of the reader in the middle of a reading. Without
/// yields, the two sides rarely overlap on a machine with one processor or a high load.
const YIELD_EVERY: u64 = if cfg!(miri) { 10 } else { 1 << 16 };

/// Returns the n-th rebase. All fields follow from its number, so fields of two rebases are never
/// consistent.
fn rebase(n: u64) -> VcpuTimeInfoSnapshot {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    VcpuTimeInfoSnapshot {
        tsc_timestamp: mixed,
        system_time: n,
        tsc_to_system_mul: (mixed >> 32) as u32,
        tsc_shift: mixed as i8,
        flags: (mixed >> 8) as u8,
    }
}

/// Updates the block as the hypervisor does. Calls `inside` in the middle of the update.
fn publish_with(time: VcpuTimeInfo<'_>, value: &VcpuTimeInfoSnapshot, inside: impl FnOnce()) {
    let block = Block::new(time.as_ptr());
    access::update(access::location!(block, version), || {
        access::location!(block, tsc_timestamp).write(value.tsc_timestamp);
        access::location!(block, tsc_to_system_mul).write(value.tsc_to_system_mul);
        inside();
        access::location!(block, system_time).write(value.system_time);
        access::location!(block, tsc_shift).write(value.tsc_shift);
        access::location!(block, flags).write(value.flags);
    });
}

/// Reads the block without checking the version, which is wrong.
fn unchecked(time: VcpuTimeInfo<'_>) -> VcpuTimeInfoSnapshot {
    let block = Block::new(time.as_ptr());
    VcpuTimeInfoSnapshot {
        tsc_timestamp: access::location!(block, tsc_timestamp).read(),
        system_time: access::location!(block, system_time).read(),
        tsc_to_system_mul: access::location!(block, tsc_to_system_mul).read(),
        tsc_shift: access::location!(block, tsc_shift).read(),
        flags: access::location!(block, flags).read(),
    }
}

/// Returns the value of the machine's counter after the n-th rebase. The counter jumps at each
/// rebase, as after a migration.
fn counter_after(n: u64) -> u64 {
    rebase(n).tsc_timestamp ^ 0x5555
}

/// A page, and the counter, which jumps with each rebase.
struct Machine {
    page: Page<raw::VcpuTimeInfo>,
    counter: AtomicU64,
    stop: AtomicBool,
}

impl Machine {
    fn time(&self) -> VcpuTimeInfo<'_> {
        // SAFETY: the page lives as long as the machine, and is touched through handles only.
        unsafe { VcpuTimeInfo::from_ptr(self.page.as_ptr()) }
    }

    fn read_counter(&self) -> u64 {
        self.counter.load(Ordering::Relaxed)
    }

    fn rebase(&self, n: u64) {
        publish_with(self.time(), &rebase(n), || {
            self.counter.store(counter_after(n), Ordering::Relaxed);
            // Some updates are so long that a whole reading overlaps them.
            rest(n % 16 * 8);
        });
    }

    /// Runs `reader` while another thread rebases the clock.
    fn race<V>(reader: impl FnOnce(&Self) -> V) -> V {
        let machine =
            Self { page: Page::zeroed(), counter: AtomicU64::new(0), stop: AtomicBool::new(false) };
        machine.rebase(1);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 1;
                while !machine.stop.load(Ordering::Relaxed) {
                    n += 1;
                    machine.rebase(n);
                    // Pauses of different lengths, so that the reader does not always find the
                    // counter odd.
                    rest(n % 64);
                }
            });
            let stopped = Stop(&machine.stop);
            let value = reader(&machine);
            drop(stopped);
            value
        })
    }
}

fn rest(rounds: u64) {
    for _ in 0..rounds {
        core::hint::spin_loop();
    }
}

/// Stops the writer when it is dropped, also if the reader panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads until `broken` says that a reading was wrong; gives up after a minute.
fn must_break(mut broken: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        for _ in 0..1000 {
            if broken() {
                return true;
            }
        }
        if begin.elapsed() > Duration::from_secs(60) {
            return false;
        }
    }
}

#[test]
fn snapshots_are_never_torn() {
    let (runs, last) = Machine::race(|machine| {
        let mut runs = 0_u64;
        let mut last = 0;
        for _ in 0..READS {
            let (snapshot, counter) = machine.time().snapshot_with(|| {
                runs += 1;
                if runs % YIELD_EVERY == 0 {
                    thread::yield_now();
                }
                machine.read_counter()
            });
            assert_eq!(snapshot, rebase(snapshot.system_time), "torn");
            assert_eq!(
                counter,
                counter_after(snapshot.system_time),
                "the counter is that of another rebase"
            );
            assert!(snapshot.system_time >= last, "time went back");
            last = snapshot.system_time;
        }
        (runs, last)
    });
    let retries = runs - u64::from(READS);
    std::println!("{READS} snapshots, {last} rebases, {retries} retries");
    assert!(retries > 0, "no update ever fell into a reading: the test has shown nothing");
}

#[test]
fn without_the_version_check_the_same_reader_tears() {
    let torn = Machine::race(|machine| {
        must_break(|| {
            let snapshot = unchecked(machine.time());
            snapshot != rebase(snapshot.system_time)
        })
    });
    assert!(torn, "the writer does not race: the test of the snapshots shows nothing");
}

#[test]
fn the_counter_read_after_the_window_is_wrong() {
    let wrong = Machine::race(|machine| {
        must_break(|| {
            let (snapshot, ()) = machine.time().snapshot_with(|| ());
            machine.read_counter() != counter_after(snapshot.system_time)
        })
    });
    assert!(
        wrong,
        "no rebase ever fell between the window and the counter: the test shows nothing"
    );
}

#[test]
fn a_reader_waits_for_the_end_of_an_update() {
    let machine =
        Machine { page: Page::zeroed(), counter: AtomicU64::new(0), stop: AtomicBool::new(false) };
    let started = AtomicBool::new(false);
    let finish = AtomicBool::new(false);
    machine.rebase(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            publish_with(machine.time(), &rebase(2), || {
                started.store(true, Ordering::Release);
                while !finish.load(Ordering::Acquire) {
                    thread::yield_now();
                }
            });
        });
        while !started.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let reader = scope.spawn(|| machine.time().snapshot_with(|| ()).0);
        thread::sleep(Duration::from_millis(20));
        let early = reader.is_finished();
        finish.store(true, Ordering::Release);
        assert!(!early, "read in the middle of an update");
        assert_eq!(reader.join().unwrap(), rebase(2));
    });
}
