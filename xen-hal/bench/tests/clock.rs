//! The clock and its twin in C tell the same time, whatever the block holds and however often Xen
//! writes it meanwhile.

use core::ffi::c_void;
use core::ptr::{NonNull, from_mut};

use proptest::prelude::*;
use xen_hal::clock::{Clock, Monotonic, SystemTime};
use xen_hal::platform::Tsc;
use xen_hal_bench::clock::{Callback, monotonic, now, over, scale, twin};
use xen_hal_bench::fixture::{time, time_block};
use xen_pac::shared_info::raw::VcpuTimeInfo;

/// What a block holds after an update.
type Values = (u64, u64, u32, i8, u8);

/// A hypervisor that updates the block while it is read, once for each of the values, and counts
/// the readings.
struct Writer {
    block: NonNull<VcpuTimeInfo>,
    updates: Vec<Values>,
    readings: u64,
    ticks: u64,
}

extern "C" fn read(state: *mut c_void) -> u64 {
    // SAFETY: the state is the writer of the test below, which uses it for nothing else meanwhile.
    let writer = unsafe { &mut *state.cast::<Writer>() };
    writer.readings += 1;
    if let Some((tsc_timestamp, system_time, tsc_to_system_mul, tsc_shift, flags)) =
        writer.updates.pop()
    {
        // SAFETY: only this thread uses the block, and it makes no reference to it.
        let version =
            unsafe { (&raw const (*writer.block.as_ptr()).version).read() }.wrapping_add(2);
        let fresh = VcpuTimeInfo {
            version,
            tsc_timestamp,
            system_time,
            tsc_to_system_mul,
            tsc_shift,
            flags,
            ..VcpuTimeInfo::ZEROED
        };
        // SAFETY: as above.
        unsafe { writer.block.write_volatile(fresh) };
    }
    writer.ticks.wrapping_add(writer.readings)
}

/// Both sides' answers, each with the number of readings it took: the time, and the clamped time
/// with the latest one afterwards.
fn both(
    first: Values,
    updates: &[Values],
    ticks: u64,
    (latest, offset): (i64, i64),
) -> [[(i64, i64, u64); 2]; 2] {
    let run = |clamped: bool, ours: bool| {
        let (tsc, nanos, mul, shift, flags) = first;
        let block = time_block(tsc, nanos, mul, shift, flags);
        let mut writer = Writer { block, updates: updates.to_vec(), readings: 0, ticks };
        let state = from_mut(&mut writer).cast();
        let clock = over(time(block), Callback { read, state });
        let mut line_of_c = twin::Line { latest, offset };
        let line = line_at(latest, offset);
        let answer = match (clamped, ours) {
            (false, true) => clock.now().as_nanos(),
            (true, true) => clock.instant(&line).as_nanos(),
            // SAFETY: the block and the writer live, and nobody else uses them.
            (false, false) => unsafe { twin::twin_now_with(block.as_ptr(), read, state) },
            // SAFETY: as above.
            (true, false) => unsafe {
                twin::twin_monotonic_with(block.as_ptr(), &raw mut line_of_c, read, state)
            },
        };
        let latest = if ours { latest_of(&line, offset) } else { line_of_c.latest };
        (answer, latest, writer.readings)
    };
    [[run(false, true), run(false, false)], [run(true, true), run(true, false)]]
}

/// A time line at `latest` whose instants are `offset` ahead of the system time.
fn line_at(latest: i64, offset: i64) -> Monotonic {
    let line = Monotonic::new();
    line.note(SystemTime::from_nanos(latest));
    line.rebase(SystemTime::from_nanos(latest.wrapping_sub(offset)));
    line
}

/// The latest instant that the line has seen.
fn latest_of(line: &Monotonic, offset: i64) -> i64 {
    line.instant(SystemTime::from_nanos(i64::MIN.wrapping_sub(offset))).as_nanos()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn scaling_is_the_same(delta: i64, mul: u32) {
        for shift in i8::MIN..=i8::MAX {
            prop_assert_eq!(scale(delta, mul, shift), twin::twin_scale(delta, mul, shift));
        }
    }

    #[test]
    fn the_time_is_the_same(
        first: Values,
        updates in prop::collection::vec(any::<Values>(), 0..4),
        ticks: u64,
        line in (0..=i64::MAX, any::<i64>()),
    ) {
        let [plain, clamped] = both(first, &updates, ticks, line);
        prop_assert_eq!(plain[0], plain[1]);
        prop_assert_eq!(clamped[0], clamped[1]);
        let readings = updates.len() as u64 + 1;
        prop_assert_eq!(plain[0].2, readings, "an update during a reading was not noticed");
    }
}

#[test]
fn the_sides_take_turns_on_one_counter() {
    let block = time_block(0, 0, u32::MAX, 0, 0);
    let (clock, line) = (over(time(block), Tsc), Monotonic::new());
    let mut line_of_c = twin::Line::default();
    let mut last = 0;
    for _ in 0..1000 {
        // SAFETY: the block stays for ever.
        let theirs = unsafe {
            [
                twin::twin_now(block.as_ptr()),
                twin::twin_monotonic(block.as_ptr(), &raw mut line_of_c),
            ]
        };
        for time in
            [now(clock).as_nanos(), monotonic(clock, &line).as_nanos()].into_iter().chain(theirs)
        {
            // Ours were taken after theirs: the order of the list is not that of time, but none is
            // before the last round.
            assert!(time >= last);
        }
        last = now(clock).as_nanos();
    }
}
