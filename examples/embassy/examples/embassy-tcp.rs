//! A guest whose TCP server and client use `embassy-net`, on the simulator.

#[path = "../../../xen-hal/sim/examples/support/dom0.rs"]
mod dom0;
#[path = "../../../xen-hal/sim/examples/support/peer.rs"]
mod peer;

use std::process::ExitCode;
use std::sync::Mutex;

use peer::{ADDRESSES, Peer};
use programs::{Error, embassy_tcp};
use xen_hal::Xen;
use xen_hal::embassy::{Executor, PvTimer, TimeSource, set_time_source};
use xen_hal::event::{Dispatcher, Drain, EventError, Wakers};
use xen_hal::net::{AsyncNetDevice, NetDevice, NetError};
use xen_hal::pac::hvm::CallbackVia;
use xen_hal::platform::VcpuId;
use xen_hal::xenstore::Store;
use xen_sim::{DomainLocal, DomainSpace, Guest, Hypervisor, InterruptFlag, VirtualCounter};

const VECTOR: u8 = 0xf3;
const VCPU: VcpuId = VcpuId(0);
/// Two pages for rings, and sixteen for frames.
const PAGES: usize = 18;

type Net = AsyncNetDevice<'static, 'static, Hypervisor, DomainSpace>;
type Timer = PvTimer<Hypervisor, Guest, VirtualCounter, 1>;

static EVENTS: Dispatcher = Dispatcher::new();
static WAKERS: Wakers<64> = Wakers::new();
static TIMER: DomainLocal<Timer> = DomainLocal::new(|| {
    let guest = Guest::here().expect("a vCPU runs");
    PvTimer::new(Hypervisor, &EVENTS, guest, VirtualCounter)
});
static RESULT: Mutex<Option<Result<(), Error>>> = Mutex::new(None);

fn main() -> ExitCode {
    let peer = Peer::default();
    let code = dom0::run([peer.network().into()], "", |guest, _| {
        start(guest)?;
        let storage = Box::leak(Box::new([0; Store::STORAGE]));
        // SAFETY: the ring has one owner, as long as the machine runs.
        let mut store = unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), storage) }?;
        let (table, pages) = dom0::memory(guest, PAGES).map_err(NetError::from)?;
        let (tx, rx) = Box::leak(pages.into_boxed_slice()).split_at_mut(PAGES / 2);
        let net = NetDevice::connect(guest.xen(), &mut store, "device/vif/0", table, tx, rx)?;
        let net = AsyncNetDevice::new(net, &WAKERS, &EVENTS, VCPU).map_err(xen_hal::Error::from)?;
        execute(guest, net)?;
        RESULT.lock().expect("no vCPU panics").take().unwrap_or(Ok(()))
    });
    if code == ExitCode::SUCCESS { peer.check() } else { code }
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
fn execute(guest: Guest, net: Net) -> Result<(), xen_hal::Error> {
    TIMER.get().start(VCPU)?;
    let bell = Xen::new(guest.xen()).events().bind_ipi(VCPU)?;
    let bell = EVENTS.listen(bell, VCPU).map_err(EventError::from)?;
    guest.enable_interrupts();
    let executor = Box::leak(Box::new(Executor::new(bell, InterruptFlag, guest)));
    let tasks = |spawner: embassy_executor::Spawner| {
        if let Ok(task) = serve(net) {
            spawner.spawn(task);
        }
    };
    executor.run_until(tasks, || RESULT.lock().expect("no vCPU panics").is_some());
    Ok(())
}

#[embassy_executor::task]
async fn serve(net: Net) {
    let result = embassy_tcp(net, ADDRESSES, |line| println!("{line}")).await;
    *RESULT.lock().expect("no vCPU panics") = Some(result);
}
