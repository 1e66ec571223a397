//! Implements Embassy's executor for a vCPU.

use core::cell::OnceCell;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw};

use crate::event::Listener;
use crate::hypercall::Hypercall;
use crate::platform::{CurrentVcpu, Interrupts, VcpuId};

/// Runs tasks on one vCPU, and sleeps while no task is ready. No wakeup is lost: it checks with
/// interrupts off, then turns them on and sleeps in one step ([`Interrupts::wait_until`]).
///
/// Use one executor for each vCPU. Any vCPU and any interrupt handler can wake a task.
///
/// ```no_run
/// use embassy_executor::Spawner;
/// use xen_hal::embassy::Executor;
/// use xen_hal::event::Dispatcher;
/// use xen_hal::hypercall::{Installed, installed};
/// use xen_hal::platform::{LocalInterrupts, OnlyVcpu, VcpuId};
/// use xen_hal::{Error, Xen};
///
/// type VcpuExecutor = Executor<Installed, LocalInterrupts, OnlyVcpu>;
///
/// /// `place` keeps the executor for ever: `StaticCell::init`, for example.
/// fn start(
///     events: &'static Dispatcher,
///     interrupts: LocalInterrupts,
///     vcpu: OnlyVcpu,
///     place: fn(VcpuExecutor) -> &'static mut VcpuExecutor,
///     tasks: fn(Spawner),
/// ) -> Result<(), Error> {
///     // By this event, other vCPUs end the sleep of this one.
///     let bell = Xen::new(installed()).events().bind_ipi(VcpuId(0))?;
///     let bell = events.listen(bell, VcpuId(0)).map_err(|error| error.error)?;
///     place(Executor::new(bell, interrupts, vcpu)).run(tasks)
/// }
/// ```
pub struct Executor<H: Hypercall + Copy + 'static, I, V> {
    bell: Bell<H, V>,
    interrupts: I,
    tasks: OnceCell<raw::Executor>,
}

/// The target of the context pointer of Embassy's executor: the first field of each [`Bell`].
struct Context {
    /// Rings the bell that contains this context.
    ring: unsafe fn(NonNull<Context>),
}

/// Notifies the executor that a task is ready.
#[repr(C)]
struct Bell<H: Hypercall + Copy + 'static, V> {
    context: Context,
    /// True if a task became ready since the executor's last check.
    rung: AtomicBool,
    vcpu: VcpuId,
    listener: Listener<'static, H>,
    vcpus: V,
}

impl<H: Hypercall + Copy + 'static, V: CurrentVcpu> Bell<H, V> {
    fn ring(&self) {
        // No event is needed on the executor's own vCPU: it checks before it sleeps, and the
        // interrupt has already ended a sleep.
        if !self.rung.swap(true, Ordering::SeqCst) && self.vcpus.current_vcpu() != self.vcpu {
            // Xen refuses only if the port is closed, and the listener keeps it open.
            let _ = self.listener.send();
        }
    }

    /// # Safety
    ///
    /// `context` must be that of a `Bell<H, V>` that is never moved or freed.
    unsafe fn ring_by(context: NonNull<Context>) {
        // SAFETY: the caller's obligation. The context is the first field, in C's layout.
        unsafe { context.cast::<Self>().as_ref() }.ring();
    }
}

#[unsafe(export_name = "__pender")]
fn pender(context: *mut ()) {
    let Some(context) = NonNull::new(context.cast::<Context>()) else { return };
    // SAFETY: only `Executor::run_until` creates executors, each with the context of its bell,
    // which is static.
    let ring = unsafe { context.as_ref() }.ring;
    // SAFETY: as above; the function is that of the bell's type.
    unsafe { ring(context) };
}

impl<H, I, V> Executor<H, I, V>
where
    H: Hypercall + Copy + Sync,
    I: Interrupts,
    V: CurrentVcpu + Sync,
{
    /// Creates the executor of the vCPU that `bell` notifies. `bell` is an
    /// [IPI](crate::event::Events::bind_ipi), by which other vCPUs end the sleep of this one. Its
    /// handler can be empty.
    pub fn new(bell: Listener<'static, H>, interrupts: I, vcpus: V) -> Self {
        let bell = Bell {
            context: Context { ring: Bell::<H, V>::ring_by },
            rung: AtomicBool::new(false),
            vcpu: bell.vcpu(),
            listener: bell,
            vcpus,
        };
        Self { bell, interrupts, tasks: OnceCell::new() }
    }

    /// Runs tasks for ever. `init` spawns the first ones.
    ///
    /// Interrupts must be on. If they are off, the vCPU polls instead of sleeping.
    pub fn run(&'static mut self, init: impl FnOnce(Spawner)) -> ! {
        self.run_until(init, || false);
        unreachable!("the executor ends only when it is done")
    }

    /// Does the same as [`run`](Self::run), until `done` returns true. `done` is called after each
    /// round of the tasks, so when its result becomes true, wake a task of this executor.
    pub fn run_until(
        &'static mut self,
        init: impl FnOnce(Spawner),
        mut done: impl FnMut() -> bool,
    ) {
        let Self { bell, interrupts, tasks } = &*self;
        let tasks = tasks.get_or_init(|| raw::Executor::new(ptr::from_ref(bell).cast_mut().cast()));
        init(tasks.spawner());
        loop {
            // SAFETY: this call has borrowed the only reference to the executor for ever, so only
            // this loop polls the tasks, and no task polls them.
            unsafe { tasks.poll() };
            if done() {
                return;
            }
            interrupts.wait_until(|| bell.rung.swap(false, Ordering::SeqCst));
        }
    }
}

impl<H: Hypercall + Copy, I, V> fmt::Debug for Executor<H, I, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("vcpu", &self.bell.vcpu).finish_non_exhaustive()
    }
}
