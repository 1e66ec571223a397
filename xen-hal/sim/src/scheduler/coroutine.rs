//! Coroutines: runs a function on a vCPU's stack, and switches from one stack to another.

use core::cell::Cell;
use core::ptr;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::raw_memory::Stack;

thread_local! {
    /// The yielder that returns from the running stack to `Task::resume`; null if no task runs.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
}

/// A function that runs on a separate stack.
pub(super) struct Task(Coroutine<(), (), (), Stack>);

impl Task {
    /// Prepares `body` to run on a stack. It starts at the first [`resume`](Self::resume).
    pub(super) fn new(stack: Stack, body: impl FnOnce() + 'static) -> Self {
        Self(Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            body();
        }))
    }

    /// Runs the task until it suspends itself or returns. True if it has returned.
    pub(super) fn resume(&mut self) -> bool {
        let result = self.0.resume(());
        YIELDER.set(ptr::null());
        matches!(result, CoroutineResult::Return(()))
    }

    /// Returns the stack of a task that has returned.
    pub(super) fn into_stack(self) -> Stack {
        self.0.into_stack()
    }
}

/// Suspends the task that runs on this thread until it is resumed.
///
/// # Panics
///
/// If none runs.
pub(super) fn suspend() {
    let yielder = YIELDER.get();
    // SAFETY: if not null, it points to the yielder of the task that runs on this thread: `Task`
    // sets it on that task's stack, and clears it whenever the stack is left.
    unsafe { yielder.as_ref() }.expect("a task runs on this thread").suspend(());
    YIELDER.set(yielder);
}
