//! A periodic tick.

use core::fmt;
use core::future::ready;
use core::sync::atomic::Ordering;

use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Ticker};

use crate::{Error, STATUS};

/// How ticks came.
#[derive(Default)]
pub(crate) struct Ticks {
    count: u32,
    /// Ticks before their time.
    early: u32,
    /// Ticks whose time has passed, and that did not come.
    lost: u64,
    /// The greatest lateness, in nanoseconds, and the sum.
    worst: u64,
    sum: u64,
}

impl Ticks {
    /// Returns an error if a tick was early or lost.
    pub(crate) const fn check(&self) -> Result<(), Error> {
        match *self {
            Self { early: 0, lost: 0, .. } => Ok(()),
            Self { early, lost, .. } => Err(Error::Ticks { early, lost }),
        }
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, early, lost, worst, sum } = self;
        let mean = sum / u64::from(*count).max(1);
        write!(f, "{early} early, {lost} lost, late by at most {worst} ns, {mean} ns on average")
    }
}

/// Waits for that many ticks, and compares them with the clock.
pub(crate) async fn tick(period: Duration, count: u32) -> Ticks {
    let (mut ticker, start) = (Ticker::every(period), Instant::now());
    ticker.reset_at(start);
    let (mut ticks, mut due) = (Ticks { count, ..Ticks::default() }, start);
    for _ in 0..count {
        due += period;
        ticker.next().await;
        let Some(late) = Instant::now().checked_duration_since(due) else {
            ticks.early += 1;
            continue;
        };
        ticks.worst = ticks.worst.max(late.as_nanos());
        ticks.sum += late.as_nanos();
        STATUS.ticks.fetch_add(1, Ordering::Relaxed);
        let worst = u32::try_from(ticks.worst).unwrap_or(u32::MAX);
        STATUS.worst.store(worst, Ordering::Relaxed);
    }
    // All ticks whose time has passed are there without waiting, and no others.
    let passed = || (Instant::now() - start).as_ticks() / period.as_ticks();
    let (mut taken, mut before) = (u64::from(count), passed());
    loop {
        while let Either::First(()) = select(ticker.next(), ready(())).await {
            taken += 1;
        }
        match passed() {
            now if now == before => break,
            // A tick came while they were taken.
            now => before = now,
        }
    }
    ticks.lost = before.saturating_sub(taken);
    ticks
}
