//! Implements a logger for the crate `log`.

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use log::{Log, Metadata, Record};

use super::Console;
use crate::hypercall::Hypercall;
use crate::ring::Wait;

/// The number of attempts to get the console while another vCPU writes to it.
const TRIES: u32 = 1 << 16;

/// Writes log records to a [`Console`], one per line.
///
/// Every vCPU and interrupt handler may log. If the console is in use, for example because a
/// handler interrupted the writer, the logger tries for a short time, then drops the record. The
/// next line reports the number of dropped records.
///
/// ```
/// use xen_hal::console::{Console, ConsoleLog};
/// use xen_hal::hypercall::Hypercall;
///
/// fn start<H: Hypercall + Copy + Send + Sync>(log: &'static ConsoleLog<Console<'static, H>>) {
///     log::set_logger(log).expect("no logger is set before");
///     log::set_max_level(log::LevelFilter::Info);
///     log::info!("hello");
/// }
/// # // One seed: a process has one logger.
/// # xen_sim::storm_with_dom0(1, |_, _| (), |guest| {
/// #     // SAFETY: the ring has one owner, as long as the machine runs.
/// #     let console = unsafe { Console::open(guest.xen(), |frame| guest.frame(frame)) };
/// #     let log = Box::leak(Box::new(ConsoleLog::new(console.unwrap())));
/// #     start(log);
/// #     assert_eq!(log.with(|console| console.flush()), Some(Ok(())));
/// # });
/// ```
#[derive(Debug)]
pub struct ConsoleLog<C> {
    busy: AtomicBool,
    dropped: AtomicU32,
    console: UnsafeCell<C>,
}

// SAFETY: only `with` accesses the console, for one thread at a time.
unsafe impl<C: Send> Sync for ConsoleLog<C> {}

impl<C> ConsoleLog<C> {
    /// Creates a logger that writes to `console`.
    pub const fn new(console: C) -> Self {
        Self {
            busy: AtomicBool::new(false),
            dropped: AtomicU32::new(0),
            console: UnsafeCell::new(console),
        }
    }

    /// Calls `work` with the console. Returns `None` if the console is in use during all attempts,
    /// as it is if the calling vCPU uses it.
    pub fn with<T>(&self, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        let mut tries = 0;
        while self.busy.swap(true, Ordering::Acquire) {
            if tries == TRIES {
                return None;
            }
            tries += 1;
            spin_loop();
        }
        // Also cleared if `work` panics.
        let _release = Release(&self.busy);
        // SAFETY: this call changed `busy` from clear to set, so no other call has the console
        // until `_release` is dropped.
        Some(work(unsafe { &mut *self.console.get() }))
    }
}

struct Release<'a>(&'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<H, W> Log for ConsoleLog<Console<'_, H, W>>
where
    H: Hypercall + Copy + Send + Sync,
    W: Wait + Send + Sync,
{
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let written = self.with(|console| {
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                writeln!(console, "[{dropped} records were dropped]")?;
            }
            writeln!(console, "[{:<5}] {}: {}", record.level(), record.target(), record.args())
        });
        if !matches!(written, Some(Ok(()))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        // If the backend does not read, the next record reports it.
        let _ = self.with(Console::flush);
    }
}
