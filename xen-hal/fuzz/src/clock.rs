//! The clocks over any time block, any counter and any wallclock, with updates in the middle of a
//! reading, beside the same in 128 bits.

mod model;
mod xen;

use std::rc::Rc;

use xen_hal::clock::{
    Clock, CounterClock, Monotonic, PvClock, SystemTime, TimeOffset, frequency, scale, wall_time,
};
use xen_hal::version::Features;
use xen_pac::features::Feature;
use xen_pac::shared_info::SharedInfoWallclock;

use crate::hook::meanwhile;
use crate::input::Input;
use xen::Xen;

/// Runs the target.
pub fn run(data: &[u8]) {
    let input = Rc::new(Input::new(data));
    let mut line = Line { line: Monotonic::new(), latest: 0, offset: 0 };
    let xen = Xen::new(&input);
    while !input.is_empty() {
        match input.byte() % 7 {
            0 => now(&xen),
            1 => monotonic(&xen, &mut line),
            6 => restore(&input, &mut line),
            2 => rate(&xen),
            3 => pure(&input),
            4 => of_day(&input),
            _ => counter(&input),
        }
    }
}

fn clock(xen: &Xen) -> PvClock<'static, &Xen> {
    let safe = Features::from_words([1 << Feature::HVM_SAFE_PVCLOCK.0]);
    PvClock::new(safe, xen.block(), xen).expect("the feature is there")
}

/// Uses the clock while Xen is at work.
fn using<T>(xen: &Rc<Xen>, use_it: impl FnOnce(&PvClock<'static, &Xen>) -> T) -> T {
    let (clock, other) = (clock(xen), xen.clone());
    let result = meanwhile(Rc::new(move || other.act()), || use_it(&clock));
    assert!(!xen.is_writing(), "a reading ended in the middle of an update");
    result
}

fn now(xen: &Rc<Xen>) {
    let now = using(xen, |clock| clock.now());
    assert_eq!(
        now.as_nanos(),
        model::time_at(&xen.time(), xen.ticks()),
        "the time of this block: {:?}",
        xen.time()
    );
}

/// A time line, and what it must hold.
struct Line {
    line: Monotonic,
    latest: i64,
    offset: i64,
}

fn monotonic(xen: &Rc<Xen>, line: &mut Line) {
    let read = using(xen, |clock| clock.instant(&line.line)).as_nanos();
    let now = model::time_at(&xen.time(), xen.ticks()).wrapping_add(line.offset);
    if model::is_stable(&xen.time()) {
        assert_eq!(read, now);
    } else {
        line.latest = now.max(line.latest);
        assert_eq!(read, line.latest, "the clock went back");
    }
}

fn restore(input: &Input, line: &mut Line) {
    let now = input.number() as i64;
    line.line.rebase(SystemTime::from_nanos(now));
    line.offset = line.latest.wrapping_sub(now);
}

fn rate(xen: &Rc<Xen>) {
    let rate = using(xen, |clock| clock.frequency());
    let time = xen.time();
    assert_eq!(rate, model::frequency(time.tsc_to_system_mul, time.tsc_shift));
    assert_eq!(using(xen, |clock| clock.is_running()), xen.time().tsc_to_system_mul != 0);
}

/// The functions that are no clocks.
fn pure(input: &Input) {
    let (ticks, mul, shift) = (input.number() as i64, input.u32(), input.byte() as i8);
    assert_eq!(
        scale(ticks, mul, shift),
        model::scale(ticks, mul, shift),
        "scale({ticks}, {mul}, {shift})"
    );
    assert_eq!(frequency(mul, shift), model::frequency(mul, shift), "frequency({mul}, {shift})");
}

fn of_day(input: &Input) {
    let base = SharedInfoWallclock { sec: input.u32(), nsec: input.u32(), sec_hi: input.u32() };
    let now = input.number() as i64;
    let time = wall_time(&base, SystemTime::from_nanos(now));
    assert_eq!(time.map(|time| time.as_nanos()), model::wall_time(&base, now), "{base:?} at {now}");
}

fn counter(input: &Input) {
    let (ticks, rate, other) = (input.number(), input.number(), input.number());
    let exact = model::nanos(ticks, rate);
    let clock = CounterClock::new(xen::Fixed(ticks), rate, TimeOffset::ZERO);
    assert_eq!(clock.is_some(), (1..=10_u64.pow(18)).contains(&rate));
    if let (Some(clock), Some(exact)) = (clock, exact) {
        assert_eq!(clock.frequency(), rate);
        let now = i128::from(clock.now().as_nanos());
        assert!(now == exact || now + 1 == exact, "{ticks} ticks at {rate} are {now}, not {exact}");
        let at = SystemTime::from_nanos(other as i64);
        let fires = CounterClock::new(xen::Fixed(clock.ticks_at(at)), rate, TimeOffset::ZERO);
        let beyond = clock.ticks_at(at) == u64::MAX;
        assert!(beyond || fires.is_some_and(|fires| fires.now() >= at), "it fires before {at:?}");
    }
    let [earlier, later] = [other, ticks].map(|nanos| SystemTime::from_nanos(nanos as i64));
    assert_eq!(later.checked_duration_since(earlier).is_some(), earlier <= later);
    if earlier.as_nanos() >= 0 {
        assert_eq!(earlier + (later - earlier), later.max(earlier));
    }
}
