//! TCP over `embassy-net` in a guest of the simulator.

use std::fmt;
use std::sync::Mutex;

use programs::{Error, embassy_tcp};
use xen_hal::Xen;
use xen_hal::embassy::{Executor, PvTimer, TimeSource, set_time_source};
use xen_hal::event::{Dispatcher, Drain, EventError, Wakers};
use xen_hal::net::{AsyncNetDevice, NetDevice};
use xen_hal::pac::hvm::CallbackVia;
use xen_hal::platform::VcpuId;
use xen_sim::{DomainLocal, DomainSpace, Guest, Hypervisor, InterruptFlag, VirtualCounter};

use super::peer::ADDRESSES;

const VECTOR: u8 = 0xf3;
const VCPU: VcpuId = VcpuId(0);

type Net = AsyncNetDevice<'static, 'static, Hypervisor, DomainSpace>;
type Timer = PvTimer<Hypervisor, Guest, VirtualCounter, 1>;
/// Prints a line.
type Print = fn(fmt::Arguments<'_>);

static EVENTS: Dispatcher = Dispatcher::new();
static WAKERS: Wakers<64> = Wakers::new();
static TIMER: DomainLocal<Timer> = DomainLocal::new(|| {
    let guest = Guest::here().expect("a vCPU runs");
    PvTimer::new(Hypervisor, &EVENTS, guest, VirtualCounter)
});
static RESULT: Mutex<Option<Result<(), Error>>> = Mutex::new(None);

/// Runs [`embassy_tcp`] over an interface. Up to four guests of the process can do this, one after
/// the other.
pub(crate) fn run(
    guest: Guest,
    net: NetDevice<'static, 'static, Hypervisor, DomainSpace>,
    print: Print,
) -> Result<(), Error> {
    start(guest)?;
    let net = AsyncNetDevice::new(net, &WAKERS, &EVENTS, VCPU).map_err(xen_hal::Error::from)?;
    execute(guest, net, print)?;
    RESULT.lock().expect("no vCPU panics").take().unwrap_or(Ok(()))
}

/// Prepares the domain for events.
fn start(guest: Guest) -> Result<(), xen_hal::Error> {
    let latch = Xen::new(guest.xen()).hvm().set_callback_via(CallbackVia::vector(VECTOR)?)?;
    // SAFETY: nothing else uses the page, and the machine outlives its use.
    EVENTS.attach(unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?);
    guest.on_interrupt(VECTOR, || {
        let _: Drain = EVENTS.dispatch(VCPU, |port| {
            if !TIMER.get().on_event(port) {
                WAKERS.wake(port);
            }
        });
    });
    set_time_source(|| Guest::here().map(|_| TIMER.get() as &'static dyn TimeSource));
    Ok(())
}

/// Runs the task.
fn execute(guest: Guest, net: Net, print: Print) -> Result<(), xen_hal::Error> {
    TIMER.get().start(VCPU)?;
    let bell = Xen::new(guest.xen()).events().bind_ipi(VCPU)?;
    let bell = EVENTS.listen(bell, VCPU).map_err(EventError::from)?;
    guest.enable_interrupts();
    let executor = Box::leak(Box::new(Executor::new(bell, InterruptFlag, guest)));
    let tasks = |spawner: embassy_executor::Spawner| {
        if let Ok(task) = serve(net, print) {
            spawner.spawn(task);
        }
    };
    executor.run_until(tasks, || RESULT.lock().expect("no vCPU panics").is_some());
    Ok(())
}

// A task that is woken while it ends stays in the queue of its executor, which runs no more.
#[embassy_executor::task(pool_size = 4)]
async fn serve(net: Net, print: Print) {
    let result = embassy_tcp(net, ADDRESSES, print).await;
    *RESULT.lock().expect("no vCPU panics") = Some(result);
}
