//! A task that waits for events, beside one that a plain function call wakes.

use core::cell::Cell;
use core::future::poll_fn;
use core::ptr;
use core::task::{Poll, Waker};

use embassy_executor::raw::{self, TaskStorage};
use xen_hal::Xen;
use xen_hal::embassy::Executor;
use xen_hal::event::{AsyncListener, Dispatcher, Drain, Port, Wakers};
use xen_hal::platform::{Interrupts, OnlyVcpu, VcpuId};

use crate::fixture::Domain;
use crate::hypercall::{Bench, answer_with};

/// The port of the executor, and that of the task.
const PORTS: [u32; 2] = [3, 70];

thread_local! {
    static BOUND: Cell<usize> = const { Cell::new(0) };
    static RESUMED: Cell<u32> = const { Cell::new(0) };
    static WAKER: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// The number of the hypercall for events, and of its command that binds a port to its own vCPU.
const BIND_IPI: (u32, usize) = (32, 7);

/// What arrives on the vCPU while it sleeps.
struct Arrivals {
    domain: Domain,
    dispatcher: &'static Dispatcher,
    wakers: &'static Wakers<128>,
}

// SAFETY: there are no interrupts but the call in `wait`, which is made in no critical section.
unsafe impl Interrupts for Arrivals {
    fn disable(&self) -> bool {
        true
    }

    unsafe fn enable(&self) {}

    unsafe fn wait(&self) {
        self.domain.raise(PORTS[1]);
        let _: Drain = self.dispatcher.dispatch(VcpuId(0), |port: Port| self.wakers.wake(port));
    }
}

/// A vCPU whose executor sleeps until events arrive, for a task that waits for them.
pub struct Sleeper {
    executor: &'static mut Executor<Bench, Arrivals, OnlyVcpu>,
    peer: AsyncListener<'static, Bench>,
}

impl Default for Sleeper {
    fn default() -> Self {
        answer_with(|number, command, argument| {
            if (number, command) == BIND_IPI {
                let index = BOUND.replace(BOUND.get() + 1);
                // SAFETY: the argument is a vCPU and then a port, of 32 bits each.
                unsafe { argument.cast::<[u32; 2]>().write([0, PORTS[index % 2]]) };
            }
            0
        });
        let dispatcher: &Dispatcher = Box::leak(Box::new(Dispatcher::new()));
        let (wakers, domain) = (&*Box::leak(Box::new(Wakers::new())), Domain::default());
        dispatcher.attach(domain.shared());
        let bind = || Xen::new(Bench).events().bind_ipi(VcpuId(0)).expect("the answer is a port");
        let bell = dispatcher.listen(bind(), VcpuId(0)).expect("the vCPU is attached");
        let peer = wakers.listen(dispatcher, bind(), VcpuId(0)).expect("the vCPU is attached");
        // The answer above unmasks nothing.
        domain.unmask(PORTS[1]);
        // SAFETY: one thread measures.
        let vcpu = unsafe { OnlyVcpu::new() };
        let arrivals = Arrivals { domain, dispatcher, wakers };
        let executor = Box::leak(Box::new(Executor::new(bell, arrivals, vcpu)));
        Self { executor, peer }
    }
}

/// Resumes a task by `count` events. Each round is an upcall, its dispatch, the wake-up, the task
/// until it waits again, and the check before the next sleep.
#[unsafe(export_name = "ours_resume")]
#[inline(never)]
pub fn resume(sleeper: Sleeper, count: u32) -> u32 {
    let Sleeper { executor, mut peer } = sleeper;
    let task = async move {
        loop {
            peer.wait().await;
            RESUMED.set(RESUMED.get() + 1);
        }
    };
    executor.run_until(
        |spawner| spawner.spawn(storage().spawn(|| task).expect("the storage is new")),
        || RESUMED.get() == count,
    );
    RESUMED.get()
}

/// The same for a task that a function call wakes: no event, no dispatch, no sleep.
#[unsafe(export_name = "twin_resume")]
#[inline(never)]
pub fn bare_resume(executor: &'static raw::Executor, count: u32) -> u32 {
    let task = async {
        loop {
            let mut woken = false;
            poll_fn(|context| {
                WAKER.set(Some(context.waker().clone()));
                if core::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            RESUMED.set(RESUMED.get() + 1);
        }
    };
    executor.spawner().spawn(storage().spawn(|| task).expect("the storage is new"));
    while RESUMED.get() != count {
        if let Some(waker) = WAKER.take() {
            waker.wake();
        }
        // SAFETY: only this loop polls.
        unsafe { executor.poll() };
    }
    RESUMED.get()
}

/// An executor on its own.
#[must_use]
pub fn bare() -> &'static raw::Executor {
    Box::leak(Box::new(raw::Executor::new(ptr::null_mut())))
}

fn storage<F: Future + 'static>() -> &'static TaskStorage<F> {
    Box::leak(Box::new(TaskStorage::new()))
}
