//! A sink for the crate `log`.

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use log::{Log, Metadata, Record};

use super::Console;
use crate::hypercall::Hypercall;
use crate::ring::Wait;

/// How often a record tries to get the console while another vCPU writes to it.
const TRIES: u32 = 1 << 16;

/// Writes log records to a [`Console`], one a line.
///
/// Every vCPU and interrupt handler may log. A record that finds the console in use is tried for a
/// moment and then dropped, as from a handler that interrupted the writer; the next line says how
/// many were.
///
/// ```no_run
/// use xen_hal::console::{Console, ConsoleLog};
/// use xen_hal::hypercall::AnyBackend;
///
/// fn start(log: &'static ConsoleLog<Console<'static, AnyBackend>>) {
///     log::set_logger(log).expect("no logger is set before");
///     log::set_max_level(log::LevelFilter::Info);
///     log::info!("hello");
/// }
/// ```
#[derive(Debug)]
pub struct ConsoleLog<C> {
    busy: AtomicBool,
    dropped: AtomicU32,
    console: UnsafeCell<C>,
}

// SAFETY: the console is reached by `with` alone, which gives it to one thread at a time.
unsafe impl<C: Send> Sync for ConsoleLog<C> {}

impl<C> ConsoleLog<C> {
    /// A sink that writes to `console`.
    pub const fn new(console: C) -> Self {
        Self {
            busy: AtomicBool::new(false),
            dropped: AtomicU32::new(0),
            console: UnsafeCell::new(console),
        }
    }

    /// Uses the console, unless it is in use for a longer time, or by the caller's own vCPU.
    pub fn with<T>(&self, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        let mut tries = 0;
        while self.busy.swap(true, Ordering::Acquire) {
            if tries == TRIES {
                return None;
            }
            tries += 1;
            spin_loop();
        }
        // Cleared when `work` panics, too.
        let _release = Release(&self.busy);
        // SAFETY: `busy` was clear, and this call set it: no other has the console until `_release`
        // is dropped.
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
        // A backend that does not read is reported by the next record.
        let _ = self.with(Console::flush);
    }
}
