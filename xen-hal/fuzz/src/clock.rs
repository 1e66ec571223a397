//! The clocks over any time block, any counter and any wallclock, with updates in the middle of a
//! reading, compared with 128-bit arithmetic.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use xen_hal::clock::{
    Clock, CounterClock, Monotonic, PvClock, SystemTime, TimeOffset, frequency, scale, wall_time,
};
use xen_hal::platform::Counter;
use xen_hal::version::Features;
use xen_pac::features::Feature;
use xen_pac::shared_info::{
    SharedInfoWallclock, VcpuTimeInfo, VcpuTimeInfoSnapshot, pvclock_flags, raw,
};

use crate::fake::{clear, meanwhile, page, step};
use crate::input::Input;

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

/// Uses the clock while Xen is at work.
fn using<T>(xen: &Rc<Xen>, use_it: impl FnOnce(&PvClock<'static, &Xen>) -> T) -> T {
    let safe = Features::from_words([1 << Feature::HVM_SAFE_PVCLOCK.0]);
    let clock = PvClock::new(safe, block(), &**xen).expect("the feature is there");
    let other = xen.clone();
    let result = meanwhile(Rc::new(move || other.act()), || use_it(&clock));
    assert!(xen.next.get().is_none(), "a reading ended in the middle of an update");
    result
}

fn now(xen: &Rc<Xen>) {
    let now = using(xen, |clock| clock.now());
    assert_eq!(now.as_nanos(), xen.now(), "the time of this block: {:?}", xen.time);
}

/// A time line, and what it must hold.
struct Line {
    line: Monotonic,
    latest: i64,
    offset: i64,
}

fn monotonic(xen: &Rc<Xen>, line: &mut Line) {
    let read = using(xen, |clock| clock.instant(&line.line)).as_nanos();
    let now = xen.now().wrapping_add(line.offset);
    if xen.time.get().flags().is_set(pvclock_flags::TSC_STABLE) {
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
    let time = xen.time.get();
    assert_eq!(rate, model::frequency(time.tsc_to_system_mul, time.tsc_shift));
    assert_eq!(using(xen, |clock| clock.is_running()), xen.time.get().tsc_to_system_mul != 0);
}

/// The functions that are no clocks.
fn pure(input: &Input) {
    let (ticks, mul, shift) = (input.number() as i64, input.u32(), input.byte() as i8);
    let scaled = model::scale(ticks, mul, shift);
    assert_eq!(scale(ticks, mul, shift), scaled, "scale({ticks}, {mul}, {shift})");
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
    let clock = CounterClock::new(Fixed(ticks), rate, TimeOffset::ZERO);
    assert_eq!(clock.is_some(), (1..=10_u64.pow(18)).contains(&rate));
    if let (Some(clock), Some(exact)) = (clock, exact) {
        assert_eq!(clock.frequency(), rate);
        let now = i128::from(clock.now().as_nanos());
        assert!(now == exact || now + 1 == exact, "{ticks} ticks at {rate} are {now}, not {exact}");
        let at = SystemTime::from_nanos(other as i64);
        let ticks = clock.ticks_at(at);
        let fires = CounterClock::new(Fixed(ticks), rate, TimeOffset::ZERO);
        // The clock wraps at the end of time.
        let beyond = ticks == u64::MAX || model::nanos(ticks, rate).is_none();
        assert!(beyond || fires.is_some_and(|fires| fires.now() >= at), "it fires before {at:?}");
    }
    let [earlier, later] = [other, ticks].map(|nanos| SystemTime::from_nanos(nanos as i64));
    assert_eq!(later.checked_duration_since(earlier).is_some(), earlier <= later);
    if earlier.as_nanos() >= 0 {
        assert_eq!(earlier + (later - earlier), later.max(earlier));
    }
}

fn block() -> VcpuTimeInfo<'static> {
    // SAFETY: the page stays, and Xen writes to it only between the accesses of the clock.
    unsafe { VcpuTimeInfo::from_ptr(page(0)) }
}

/// The other side, and the counter.
#[derive(Debug)]
struct Xen {
    input: Rc<Input>,
    /// The values of the last update, and those of the one that is under way.
    time: Cell<VcpuTimeInfoSnapshot>,
    next: Cell<Option<VcpuTimeInfoSnapshot>>,
    /// What the counter was last read as.
    ticks: Cell<u64>,
}

impl Xen {
    fn new(input: &Rc<Input>) -> Rc<Self> {
        clear();
        let (time, next) = (Cell::new(any_time(input)), Cell::new(None));
        let xen = Self { input: input.clone(), time, next, ticks: Cell::new(0) };
        xen.begin(xen.time.get());
        xen.finish();
        Rc::new(xen)
    }

    /// The time at the last reading of the counter.
    fn now(&self) -> i64 {
        model::time_at(&self.time.get(), self.ticks.get())
    }

    /// Goes on with an update, begins one, or does neither.
    fn act(&self) {
        if self.next.get().is_some() {
            if self.input.byte() % 2 == 0 {
                self.finish();
            }
        } else if self.input.byte() % 8 == 7 {
            self.begin(any_time(&self.input));
        }
    }

    /// The first half of an update.
    fn begin(&self, time: VcpuTimeInfoSnapshot) {
        self.version().fetch_add(1, Ordering::SeqCst);
        // SAFETY: the block is there, and no access to it is under way.
        let block = unsafe { page::<raw::VcpuTimeInfo>(0).as_mut() };
        (block.tsc_timestamp, block.tsc_shift, block.flags) =
            (time.tsc_timestamp, time.tsc_shift, time.flags);
        self.next.set(Some(time));
    }

    /// The second half.
    fn finish(&self) {
        let Some(time) = self.next.take() else { return };
        // SAFETY: as above.
        let block = unsafe { page::<raw::VcpuTimeInfo>(0).as_mut() };
        (block.system_time, block.tsc_to_system_mul) = (time.system_time, time.tsc_to_system_mul);
        self.version().fetch_add(1, Ordering::SeqCst);
        self.time.set(time);
    }

    fn version(&self) -> &AtomicU32 {
        // SAFETY: the page stays, and the version is its first word.
        unsafe { page(0).as_ref() }
    }
}

/// Is read after whatever else happens in that moment.
impl Counter for Xen {
    fn read(&self) -> u64 {
        step();
        self.ticks.set(self.input.number());
        self.ticks.get()
    }
}

fn any_time(input: &Input) -> VcpuTimeInfoSnapshot {
    VcpuTimeInfoSnapshot {
        tsc_timestamp: input.number(),
        system_time: input.number(),
        tsc_to_system_mul: input.number() as u32,
        tsc_shift: input.byte() as i8,
        flags: input.byte(),
    }
}

/// A counter that stands.
struct Fixed(u64);

impl Counter for Fixed {
    fn read(&self) -> u64 {
        self.0
    }
}

/// What the clocks compute, in 128 bits and as the headers define it.
mod model {
    use xen_pac::shared_info::{SharedInfoWallclock, VcpuTimeInfoSnapshot};

    const NANOS_PER_SECOND: u128 = 1_000_000_000;

    pub(super) fn time_at(time: &VcpuTimeInfoSnapshot, ticks: u64) -> i64 {
        let since = (i128::from(ticks) - i128::from(time.tsc_timestamp)) as i64;
        let elapsed = scale(since, time.tsc_to_system_mul, time.tsc_shift);
        (i128::from(time.system_time) + i128::from(elapsed)) as i64
    }

    pub(super) fn scale(ticks: i64, mul: u32, shift: i8) -> i64 {
        let factor = 1_i128 << shift.unsigned_abs().min(64);
        let shifted = match shift {
            64.. | ..=-64 => 0,
            0.. => (i128::from(ticks) * factor) as i64,
            _ => i128::from(ticks).div_euclid(factor) as i64,
        };
        (i128::from(shifted) * i128::from(mul)).div_euclid(1 << 32) as i64
    }

    pub(super) fn frequency(mul: u32, shift: i8) -> Option<u64> {
        let unshifted = (NANOS_PER_SECOND << 32).checked_div(mul.into())?;
        let power = 2_u128.checked_pow(shift.unsigned_abs().into());
        let rate = if shift < 0 {
            power.and_then(|power| unshifted.checked_mul(power))
        } else {
            power.map(|power| unshifted / power)
        };
        rate?.try_into().ok()
    }

    /// `None` beyond 2^62.
    pub(super) fn nanos(ticks: u64, rate: u64) -> Option<i128> {
        let nanos = (u128::from(ticks) * NANOS_PER_SECOND).checked_div(rate.into())?;
        (nanos < 1 << 62).then_some(nanos as i128)
    }

    /// In nanoseconds; nothing before 1970 or beyond 2^64 seconds.
    pub(super) fn wall_time(base: &SharedInfoWallclock, now: i64) -> Option<u128> {
        let seconds = u128::from(base.sec_hi) << 32 | u128::from(base.sec);
        let base = seconds * NANOS_PER_SECOND + u128::from(base.nsec);
        // The base alone must fit, as a duration does.
        let fits = |nanos: &u128| nanos / NANOS_PER_SECOND <= u64::MAX.into();
        base.checked_add_signed(now.into()).filter(fits).filter(|_| fits(&base))
    }
}
