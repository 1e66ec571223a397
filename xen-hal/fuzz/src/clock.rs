//! The clocks over any time block, any counter and any wallclock, with updates in the middle of a
//! reading, beside the same in 128 bits.

mod model;
mod xen;

use std::rc::Rc;

use xen_hal::clock::{
    CounterClock, Monotonic, PvClock, SystemTime, frequency, scale, ticks_to_nanos, wall_time,
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
    let mut latest = (Monotonic::new(), 0);
    let xen = Xen::new(&input);
    while !input.is_empty() {
        match input.byte() % 6 {
            0 => now(&xen),
            1 => monotonic(&xen, &mut latest),
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

fn monotonic(xen: &Rc<Xen>, (clamp, latest): &mut (Monotonic, u64)) {
    let told = using(xen, |clock| clock.monotonic(clamp)).as_nanos();
    let now = model::time_at(&xen.time(), xen.ticks());
    if model::is_stable(&xen.time()) {
        assert_eq!(told, now);
    } else {
        *latest = now.max(*latest);
        assert_eq!(told, *latest, "the clock went back");
    }
}

fn rate(xen: &Rc<Xen>) {
    let rate = using(xen, |clock| clock.frequency());
    let time = xen.time();
    assert_eq!(rate, model::frequency(time.tsc_to_system_mul, time.tsc_shift));
    assert_eq!(using(xen, |clock| clock.is_running()), xen.time().tsc_to_system_mul != 0);
}

/// The functions that are no clocks.
fn pure(input: &Input) {
    let (ticks, mul, shift) = (input.number(), input.u32(), input.byte() as i8);
    assert_eq!(
        scale(ticks, mul, shift),
        model::scale(ticks, mul, shift),
        "scale({ticks}, {mul}, {shift})"
    );
    assert_eq!(frequency(mul, shift), model::frequency(mul, shift), "frequency({mul}, {shift})");
}

fn of_day(input: &Input) {
    let base = SharedInfoWallclock { sec: input.u32(), nsec: input.u32(), sec_hi: input.u32() };
    let now = input.number();
    let time = wall_time(&base, SystemTime::from_nanos(now));
    assert_eq!(time.map(|time| time.as_nanos()), model::wall_time(&base, now), "{base:?} at {now}");
}

fn counter(input: &Input) {
    let (ticks, rate, other) = (input.number(), input.number(), input.number());
    let nanos = model::nanos(ticks, rate);
    assert_eq!(ticks_to_nanos(ticks, rate), nanos);
    let clock = CounterClock::new(xen::Fixed(ticks), rate);
    assert_eq!(
        clock.map(|clock| (clock.frequency(), clock.now().as_nanos())),
        (rate != 0).then_some((rate, nanos))
    );
    let (earlier, later) = (SystemTime::from_nanos(other), SystemTime::from_nanos(nanos));
    assert_eq!(earlier + (later - earlier), later.max(earlier));
}
