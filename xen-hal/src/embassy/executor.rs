//! The executor of a vCPU.

use core::cell::OnceCell;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw};

use crate::event::Listener;
use crate::hypercall::Hypercall;
use crate::platform::{CurrentVcpu, Interrupts, VcpuId};

/// Runs tasks on one vCPU, and sleeps while none can go on. No wakeup is lost: it looks with
/// interrupts off, and turns them on and sleeps in one step ([`Interrupts::wait_until`]).
///
/// Several vCPUs have an executor each. A task can be woken from any vCPU and from interrupt
/// handlers.
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

/// What a context of Embassy's executor points to: the first field of each [`Bell`].
struct Context {
    /// Rings the bell that this is the beginning of.
    ring: unsafe fn(NonNull<Context>),
}

/// How the executor is told that a task can go on.
#[repr(C)]
struct Bell<H: Hypercall + Copy + 'static, V> {
    context: Context,
    /// A task can go on, and the executor has not looked since.
    rung: AtomicBool,
    vcpu: VcpuId,
    listener: Listener<'static, H>,
    vcpus: V,
}

impl<H: Hypercall + Copy + 'static, V: CurrentVcpu> Bell<H, V> {
    fn ring(&self) {
        // The vCPU itself looks before it sleeps, and an interrupt has ended a sleep already.
        if !self.rung.swap(true, Ordering::SeqCst) && self.vcpus.current_vcpu() != self.vcpu {
            // Xen refuses to send to a closed port only, and the listener has it open.
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
    // SAFETY: every executor was created by `Executor::run_until`, with its bell, which is static.
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
    /// Creates the executor of the vCPU on which `bell` is listened to, by which other vCPUs end
    /// its sleep: an [IPI](crate::event::Events::bind_ipi). Its handler need not do anything.
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

    /// Runs tasks until `done` returns true. It is called after each turn of the tasks, so wake one
    /// of this executor's when it becomes true. Otherwise as [`run`](Self::run).
    pub fn run_until(
        &'static mut self,
        init: impl FnOnce(Spawner),
        mut done: impl FnMut() -> bool,
    ) {
        let Self { bell, interrupts, tasks } = &*self;
        let tasks = tasks.get_or_init(|| raw::Executor::new(ptr::from_ref(bell).cast_mut().cast()));
        init(tasks.spawner());
        loop {
            // SAFETY: this call has borrowed the only reference to the executor for ever, so the
            // tasks are polled here alone, and not by themselves.
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
