#![doc = include_str!("../README.md")]
#![no_std]

mod line;
mod ring;
mod shell;
mod tick;

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use critical_section::Mutex;
use embassy_executor::Spawner;
use embassy_time::Duration;
use xen_hal::event::{Dispatcher, Wakers};
use xen_hal::hypercall::Errno;

pub use ring::{Consumer, Pages, Producer, ring};
pub use shell::shell;

/// The most vCPUs that the demonstration uses.
pub const VCPUS: usize = 2;
/// The domain's events.
pub static EVENTS: Dispatcher<VCPUS> = Dispatcher::new();
/// The tasks that wait for events.
pub static WAKERS: Wakers<64> = Wakers::new();

/// The period of the tick, and the number of ticks.
const PERIOD: Duration = Duration::from_millis(1);
const TICKS: u32 = 1000;
/// The number of numbers that go through the ring.
const NUMBERS: u64 = 10_000;

/// The reason why the demonstration failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Xen refused something.
    #[error(transparent)]
    Xen(#[from] xen_hal::Error),
    /// Ticks came before their time, or not at all.
    #[error("expected no early and no lost tick, found {early} early and {lost} lost")]
    Ticks {
        /// The number of early ticks.
        early: u32,
        /// The number of lost ticks.
        lost: u64,
    },
    /// The ring returned something else than was put into it.
    #[error("expected the answer to number {expected}, found {found:#x}")]
    Answer {
        /// The number.
        expected: u64,
        /// The answer.
        found: u64,
    },
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Xen(errno.into())
    }
}

/// What the tasks have done, and what the shell shows.
pub(crate) struct Status {
    pub(crate) upcalls: AtomicU32,
    pub(crate) ticks: AtomicU32,
    /// The greatest lateness of a tick, in nanoseconds.
    pub(crate) worst: AtomicU32,
    pub(crate) numbers: AtomicU32,
    /// Tasks that have not done their work.
    left: AtomicU32,
    /// The shell has got input.
    pub(crate) used: AtomicBool,
    /// The demonstration has ended.
    done: AtomicBool,
    failed: Mutex<RefCell<Option<Error>>>,
}

pub(crate) static STATUS: Status = Status {
    upcalls: AtomicU32::new(0),
    ticks: AtomicU32::new(0),
    worst: AtomicU32::new(0),
    numbers: AtomicU32::new(0),
    left: AtomicU32::new(3),
    used: AtomicBool::new(false),
    done: AtomicBool::new(false),
    failed: Mutex::new(RefCell::new(None)),
};

/// How lines are printed, apart from the shell.
pub type Print = fn(fmt::Arguments<'_>);

/// Counts an upcall. For the handler.
pub fn count_upcall() {
    STATUS.upcalls.fetch_add(1, Ordering::Relaxed);
}

/// Spawns the tasks of the first vCPU. With a consumer, these are all.
pub fn first(spawner: Spawner, print: Print, producer: Producer, consumer: Option<Consumer>) {
    spawn(spawner, tick_task(print));
    spawn(spawner, produce_task(producer));
    if let Some(consumer) = consumer {
        second(spawner, consumer);
    }
    spawn(spawner, end_task(print));
}

/// Spawns the task of the second vCPU.
pub fn second(spawner: Spawner, consumer: Consumer) {
    spawn(spawner, consume_task(consumer));
}

fn spawn<S>(
    spawner: Spawner,
    task: Result<embassy_executor::SpawnToken<S>, embassy_executor::SpawnError>,
) {
    // Each task is spawned once.
    if let Ok(task) = task {
        spawner.spawn(task);
    }
}

/// True once the demonstration is over: for
/// [`Executor::run_until`](xen_hal::embassy::Executor::run_until) on the first vCPU.
#[must_use]
pub fn is_done() -> bool {
    STATUS.done.load(Ordering::Acquire)
}

/// Returns the result.
///
/// # Errors
///
/// The first error of a task.
pub fn result() -> Result<(), Error> {
    let failed = critical_section::with(|section| *STATUS.failed.borrow_ref(section));
    failed.map_or(Ok(()), Err)
}

/// A task has done its work.
fn finish(result: Result<(), Error>) {
    if let Err(error) = result {
        critical_section::with(|section| {
            STATUS.failed.borrow_ref_mut(section).get_or_insert(error);
        });
    }
    STATUS.left.fetch_sub(1, Ordering::AcqRel);
}

/// Keeps the demonstration running until the shell's command `shutdown`.
pub fn keep_running() {
    STATUS.used.store(true, Ordering::Relaxed);
}

/// Ends the demonstration.
pub(crate) fn end() {
    STATUS.done.store(true, Ordering::Release);
}

#[embassy_executor::task]
async fn tick_task(print: Print) {
    let ticks = tick::tick(PERIOD, TICKS).await;
    print(format_args!("{TICKS} ticks of {} us, {ticks}", PERIOD.as_micros()));
    finish(ticks.check());
}

#[embassy_executor::task]
async fn produce_task(producer: Producer) {
    finish(producer.run(NUMBERS).await);
}

#[embassy_executor::task]
async fn consume_task(consumer: Consumer) {
    finish(consumer.run(NUMBERS).await);
}

/// Ends the demonstration once all work is done, unless the shell has got input.
#[embassy_executor::task]
async fn end_task(print: Print) {
    while STATUS.left.load(Ordering::Acquire) > 0 {
        embassy_time::Timer::after_millis(10).await;
    }
    let numbers = STATUS.numbers.load(Ordering::Relaxed);
    print(format_args!("{numbers} numbers went through the ring and back"));
    if !STATUS.used.load(Ordering::Relaxed) {
        end();
    }
}
