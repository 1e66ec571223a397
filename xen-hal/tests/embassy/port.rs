//! A port of Embassy to the simulator: what a kernel has in its statics, and tasks.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::Spawner;
use embassy_executor::raw::TaskStorage;
use xen_hal::embassy::{Executor, PvTimer, TimeSource, set_time_source};
use xen_hal::event::{AsyncListener, Channel, Dispatcher, Drain, Events, Wakers};
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_hal::{Error, Xen};
use xen_pac::hvm::CallbackVia;
use xen_sim::{DomainLocal, Guest, Hypervisor, InterruptFlag, VirtualCounter};

const VECTOR: u8 = 0xf3;

type Timer = PvTimer<Hypervisor, Guest, VirtualCounter, 2>;

pub(crate) static EVENTS: DomainLocal<Dispatcher<2>> = DomainLocal::new(Dispatcher::new);
pub(crate) static WAKERS: DomainLocal<Wakers<32>> = DomainLocal::new(Wakers::new);
static TIMER: DomainLocal<Timer> = DomainLocal::new(|| {
    let guest = Guest::here().expect("a vCPU");
    PvTimer::new(Hypervisor, EVENTS.get(), guest, VirtualCounter)
});
/// Tasks that have not ended, on both vCPUs.
static TASKS: DomainLocal<[AtomicU32; 2]> = DomainLocal::new(Default::default);

/// Starts the domain, on its first vCPU. Interrupts are on afterwards.
pub(crate) fn start(guest: Guest) -> Result<(), Error> {
    let latch = Xen::new(guest.xen()).hvm().set_callback_via(CallbackVia::vector(VECTOR)?)?;
    // SAFETY: nothing else uses the page, and the guest outlives its use.
    let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
    EVENTS.get().attach(shared);
    guest.on_interrupt(VECTOR, || {
        let guest = Guest::here().expect("a vCPU");
        let _: Drain = EVENTS.get().dispatch(guest.vcpu(), |port| {
            if !TIMER.get().on_event(port) {
                WAKERS.get().wake(port);
            }
        });
    });
    set_time_source(|| Guest::here().map(|_| TIMER.get() as &'static dyn TimeSource));
    start_vcpu(guest)
}

/// Starts the calling vCPU.
pub(crate) fn start_vcpu(guest: Guest) -> Result<(), Error> {
    TIMER.get().start(guest.vcpu())?;
    guest.enable_interrupts();
    Ok(())
}

/// Listens to a channel on a vCPU.
pub(crate) fn listen(
    vcpu: VcpuId,
    bind: impl FnOnce(Events<Hypervisor>) -> Result<Channel<Hypervisor>, Errno>,
) -> Result<AsyncListener<'static, Hypervisor>, Error> {
    let channel = bind(Xen::new(Hypervisor).events())?;
    WAKERS.get().listen(EVENTS.get(), channel, vcpu).map_err(|error| error.error.into())
}

/// Runs the calling vCPU's tasks until all have ended.
pub(crate) fn run(guest: Guest, tasks: impl FnOnce(Spawner)) -> Result<(), Error> {
    let me = guest.vcpu();
    let channel = Xen::new(Hypervisor).events().bind_ipi(me)?;
    let bell = EVENTS.get().listen(channel, me).map_err(|error| error.error)?;
    let executor: &'static mut Executor<_, InterruptFlag, Guest> =
        Box::leak(Box::new(Executor::new(bell, InterruptFlag, guest)));
    let left = &TASKS.get()[me.0 as usize];
    executor.run_until(tasks, || left.load(Ordering::Relaxed) == 0);
    Ok(())
}

/// Spawns a task that need not end before `run` returns.
pub(crate) fn spawn_background<F: Future<Output = ()> + 'static>(spawner: Spawner, task: F) {
    spawner.spawn(spawned(Box::leak(Box::new(TaskStorage::new())), task));
}

/// Spawns a task on the calling vCPU. The storage of the macro's tasks is the process's, and a
/// machine can end before its tasks: here each task has its own.
pub(crate) fn spawn<F: Future<Output = ()> + 'static>(spawner: Spawner, task: F) {
    let left = &TASKS.get()[Guest::here().expect("a vCPU").vcpu().0 as usize];
    left.fetch_add(1, Ordering::Relaxed);
    spawn_background(spawner, async move {
        task.await;
        left.fetch_sub(1, Ordering::Relaxed);
    });
}

fn spawned<F: Future<Output = ()> + 'static>(
    storage: &'static TaskStorage<F>,
    task: F,
) -> embassy_executor::SpawnToken<impl Sized> {
    storage.spawn(|| task).expect("the storage is new")
}
