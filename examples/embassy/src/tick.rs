//! A periodic tick.

use core::fmt;
use core::sync::atomic::Ordering;

use embassy_time::{Duration, Instant, Ticker};

use crate::{Error, STATUS};

/// How late ticks were.
pub(crate) struct Lateness {
    count: u32,
    worst: Duration,
    sum: Duration,
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = |duration: Duration| duration.as_nanos();
        let mean = nanos(self.sum) / u64::from(self.count.max(1));
        write!(f, "late by at most {} ns, {mean} ns on average", nanos(self.worst))
    }
}

/// Waits for that many ticks. None is lost: each is due one period after the last one was.
///
/// # Errors
///
/// [`Error::EarlyTick`].
pub(crate) async fn tick(period: Duration, count: u32) -> Result<Lateness, Error> {
    let mut late = Lateness { count, worst: Duration::MIN, sum: Duration::MIN };
    let (mut ticker, mut due) = (Ticker::every(period), Instant::now());
    ticker.reset_at(due);
    for _ in 0..count {
        due += period;
        ticker.next().await;
        let lateness = Instant::now().checked_duration_since(due).ok_or(Error::EarlyTick)?;
        late.worst = late.worst.max(lateness);
        late.sum += lateness;
        STATUS.ticks.fetch_add(1, Ordering::Relaxed);
        let worst = u32::try_from(late.worst.as_nanos()).unwrap_or(u32::MAX);
        STATUS.worst.store(worst, Ordering::Relaxed);
    }
    Ok(late)
}
