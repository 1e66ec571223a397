//! The hunt for lost wakeups: tasks of two vCPUs block, wake each other by events and by a waker,
//! and cancel waits. There is no tick, which would heal a lost wakeup: the machine then comes to
//! rest, and that is a failure.

use std::cell::Cell;
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use xen_hal::Error;
use xen_hal::event::AsyncListener;
use xen_hal::platform::{Interrupts, VcpuId};
use xen_sim::{DomainConfig, FaultRates, Guest, Hypervisor, InterruptFlag, Machine, Profile};

use crate::port::{listen, run, spawn, start, start_vcpu};

/// A wakeup and its answer take no longer than this, without stolen time: a lost wakeup that
/// something else repairs takes longer.
const BOUND: Duration = Duration::from_micros(500);

type Listener = AsyncListener<'static, Hypervisor>;
type Messages = Channel<CriticalSectionRawMutex, u32, 2>;

/// Runs that many rounds with each seed. Returns how many of them were distinct.
pub(crate) fn each(seeds: u64, rounds: u32) -> usize {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    for seed in 0..seeds {
        let machine = Machine::new(Profile::DOMU, seed).unwrap();
        let mut machine = machine.fault_rates(FaultRates::storm());
        let hashes = Arc::clone(&seen);
        let program = move |guest| kernel(guest, rounds, hashes);
        machine.domain(DomainConfig::new().vcpus(2), program).unwrap();
        if let Err(failure) = machine.run() {
            panic!("{failure}");
        }
    }
    let distinct = seen.lock().unwrap().len();
    println!("{} rounds, {distinct} interleavings", seeds * u64::from(rounds));
    distinct
}

fn kernel(guest: Guest, rounds: u32, seen: Arc<Mutex<HashSet<u64>>>) -> Result<(), Error> {
    start(guest)?;
    let near = listen(VcpuId(0), |events| events.bind_ipi(VcpuId(0)))?;
    let far = listen(VcpuId(1), |events| events.bind_ipi(VcpuId(1)))?;
    let [near_port, far_port] = [near.port(), far.port()];
    let messages: &'static [Messages; 2] = Box::leak(Box::new([Messages::new(), Messages::new()]));
    let second = move |guest: Guest| -> Result<(), Error> {
        start_vcpu(guest)?;
        run(guest, |spawner| {
            spawn(spawner, async move {
                let mut far = far;
                for _ in 0..rounds {
                    wait(guest, &mut far).await;
                    send(near_port);
                }
            });
            spawn(spawner, async move {
                for _ in 0..rounds {
                    messages[0].send(messages[1].receive().await).await;
                }
            });
        })?;
        guest.publish("second", 1);
        Ok(())
    };
    guest.start(VcpuId(1), second)?;
    run(guest, |spawner| {
        spawn(spawner, async move {
            let mut near = near;
            for _ in 0..rounds {
                let deadline = guest.deadline(BOUND);
                send(far_port);
                wait(guest, &mut near).await;
                drop(deadline);
                seen.lock().unwrap().insert(guest.take_trace_hash());
            }
        });
        spawn(spawner, async move {
            for round in 0..rounds {
                messages[1].send(round).await;
                assert_eq!(messages[0].receive().await, round);
            }
        });
    })?;
    guest.wait_for_key("second");
    Ok(())
}

fn send(port: xen_hal::event::Port) {
    xen_hal::event::Events::new(Hypervisor).send(port).expect("the port is open");
}

/// Waits for an event, and cancels the wait a few times before.
async fn wait(guest: Guest, listener: &mut Listener) {
    while guest.random() % 2 == 0 {
        if cancelled(listener.wait()).await.is_some() {
            return;
        }
        Guest::preemption_point();
    }
    listener.wait().await;
}

/// Polls a future once, lets other tasks run, and drops it.
async fn cancelled<T>(future: impl Future<Output = T>) -> Option<T> {
    let (mut future, polled) = (pin!(future), Cell::new(false));
    poll_fn(|context| {
        if polled.replace(true) {
            return Poll::Ready(None);
        }
        let result = future.as_mut().poll(context).map(Some);
        if result.is_pending() {
            context.waker().wake_by_ref();
        }
        result
    })
    .await
}

/// A waker that loses the processor, and takes interrupts, when it is registered: the place where a
/// future that looks before it registers its waker loses a wakeup.
mod slow {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{RawWaker, RawWakerVTable, Waker};

    use xen_sim::Guest;

    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop);

    fn clone(woken: *const ()) -> RawWaker {
        Guest::preemption_point();
        RawWaker::new(woken, &VTABLE)
    }

    fn wake(woken: *const ()) {
        // SAFETY: `waker` takes a reference that is valid for ever.
        unsafe { &*woken.cast::<AtomicBool>() }.store(true, Ordering::SeqCst);
    }

    fn drop(_: *const ()) {}

    pub(super) fn waker(woken: &'static AtomicBool) -> Waker {
        let data = std::ptr::from_ref(woken).cast();
        // SAFETY: the functions meet the contract for a flag that is never freed.
        unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
    }
}

/// Waits for events with a waker that is slow to be registered, and no executor.
pub(crate) fn slow_waker(guest: Guest) -> Result<(), Error> {
    const ROUNDS: u32 = 20;
    start(guest)?;
    let mut near = listen(VcpuId(0), |events| events.bind_ipi(VcpuId(0)))?;
    let port = near.port();
    let (woken, answered): (&AtomicBool, &AtomicU32) =
        (Box::leak(Box::default()), Box::leak(Box::default()));
    guest.start(VcpuId(1), move |guest: Guest| {
        for round in 0..ROUNDS {
            while answered.load(Ordering::SeqCst) < round {
                guest.relax();
            }
            send(port);
        }
    })?;
    let waker = slow::waker(woken);
    for round in 1..=ROUNDS {
        let deadline = guest.deadline(BOUND);
        while near.poll_wait(&Context::from_waker(&waker)).is_pending() {
            InterruptFlag.wait_until(|| woken.swap(false, Ordering::SeqCst));
        }
        drop(deadline);
        answered.store(round, Ordering::SeqCst);
    }
    Ok(())
}
