//! The demonstration of Embassy: a tick, a producer and a consumer on two vCPUs if there are two,
//! and a shell. With `shell` on the command line, only the shell ends it.
#![no_std]
#![no_main]

use core::cell::RefCell;

use critical_section::Mutex;
use embassy_demo::{Consumer, EVENTS, Error, Pages, VCPUS, WAKERS};
use embassy_executor::Spawner;
use rt::{Boot, Page, interrupts, println, vcpus};
use static_cell::StaticCell;
use xen_hal::Xen;
use xen_hal::embassy::set_time_source;
use xen_hal::event::{Drain, EventError};
use xen_hal::hypercall::{Errno, Installed, install, installed};
use xen_hal::platform::{IdentityMap, LocalInterrupts, VcpuId, set_current_vcpu};
use xen_hal::xenstore::{AsyncStore, Store};
use xen_pac::shared_info::SharedInfo;

rt::entry!(main);

type Executor = xen_hal::embassy::Executor<Installed, LocalInterrupts, vcpus::Current>;

static SHARED_INFO: Page = Page::new();
static RING: [Page; 3] = [const { Page::new() }; 3];
static EXECUTORS: [StaticCell<Executor>; VCPUS] = [const { StaticCell::new() }; VCPUS];
static STORAGE: StaticCell<[u8; Store::STORAGE]> = StaticCell::new();
static STORE: StaticCell<AsyncStore<'static, Installed>> = StaticCell::new();
/// For the second vCPU.
static CONSUMER: Mutex<RefCell<Option<Consumer>>> = Mutex::new(RefCell::new(None));

fn main(boot: Boot) -> Result<(), Error> {
    install(boot.xen);
    // SAFETY: the function names the calling vCPU, and no critical section is in progress.
    unsafe { set_current_vcpu(vcpus::current) };
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO);
    let Ok(shared) = shared else { panic!("expected a shared page, found none") };
    EVENTS.attach(shared);
    rt::on_upcall(upcall);
    timer::install();
    if boot.command_line().ends_with("shell") {
        embassy_demo::keep_running();
    }

    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    let second = VcpuId(1);
    let last = if prepare(shared, second)? { second } else { VcpuId(0) };
    let [table, granted, mapped] = &RING;
    let pages = Pages { table: table.as_ptr(), granted: granted.as_ptr(), mapped: mapped.as_ptr() };
    // SAFETY: the pages are used for the ring only.
    let (producer, consumer) = unsafe { embassy_demo::ring(&space, pages, last) }?;
    println!("{} vCPUs with an executor each", last.0 + 1);
    let here = if last == second {
        critical_section::with(|section| CONSUMER.replace(section, Some(consumer)));
        vcpus::start(&boot.xen, second, run_second)?;
        None
    } else {
        Some(consumer)
    };
    let (console, store) = (console::open()?, open_store()?);
    let tasks = |spawner: Spawner| {
        embassy_demo::first(spawner, rt::console::print_line, producer, here);
        if let Some(shell) = console.and_then(|console| shell(console, store).ok()) {
            spawner.spawn(shell);
        }
    };
    executor(VcpuId(0))?.run_until(tasks, embassy_demo::is_done);
    embassy_demo::result()
}

/// Connects to xenstore, if the domain has one.
fn open_store() -> Result<Option<&'static AsyncStore<'static, Installed>>, Error> {
    let storage = STORAGE.init([0; Store::STORAGE]);
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let Ok(store) = (unsafe { Store::open(installed(), rt::at, storage) }) else { return Ok(None) };
    // The shell sends only short requests.
    let store = AsyncStore::new(store, &mut [], &WAKERS, &EVENTS, VcpuId(0));
    Ok(Some(STORE.init(store.map_err(xen_hal::Error::from)?)))
}

/// Prepares the second vCPU for events, if there is one.
fn prepare(shared: SharedInfo<'static>, vcpu: VcpuId) -> Result<bool, Error> {
    use xen_hal::memory::WidthLatch;
    use xen_hal::vcpu::Area;
    use xen_pac::shared_info::raw;
    /// Its block, where the shared page has none for it.
    static INFO: Area<raw::VcpuInfo> = Area::new();

    let xen = Xen::new(installed());
    // On Arm, Xen refuses to say whether it is up, and says in the same way that there is none.
    if xen.vcpu(vcpu).is_up() == Err(Errno::ENOENT) {
        return Ok(false);
    }
    if shared.vcpu_info(vcpu.0 as usize).is_none() {
        let latch = WidthLatch::new(installed()).map_err(xen_hal::Error::from)?;
        // SAFETY: the runtime's memory is mapped to itself.
        let space = unsafe { IdentityMap::new() };
        let info = xen.vcpu(vcpu).register_vcpu_info(&space, latch, &INFO);
        let info = info.map_err(xen_hal::Error::from)?;
        EVENTS.attach_vcpu(vcpu, info).map_err(xen_hal::Error::from)?;
    }
    Ok(true)
}

/// The second vCPU's main function.
fn run_second(vcpu: VcpuId) {
    let consumer = critical_section::with(|section| CONSUMER.take(section));
    let Some(consumer) = consumer else { panic!("expected a consumer, found none") };
    // Its block was registered while it was down, which marks an upcall as pending. On Arm, that
    // upcall is lost, and no other comes until this one was taken.
    upcall();
    match executor(vcpu) {
        Ok(executor) => executor.run(|spawner| embassy_demo::second(spawner, consumer)),
        Err(error) => panic!("vCPU {vcpu} cannot run tasks: {error}"),
    }
}

/// Returns the executor of the calling vCPU, whose interrupts are on afterwards.
fn executor(vcpu: VcpuId) -> Result<&'static mut Executor, Error> {
    timer::start(vcpu)?;
    let bell = Xen::new(installed()).events().bind_ipi(vcpu)?;
    let bell =
        EVENTS.listen(bell, vcpu).map_err(|error| xen_hal::Error::from(EventError::from(error)))?;
    interrupts::enable();
    // SAFETY: the guest runs at the highest privilege, and every vector has a handler.
    let flag = unsafe { LocalInterrupts::new() };
    Ok(EXECUTORS[vcpu.0 as usize].init(Executor::new(bell, flag, vcpus::Current)))
}

fn upcall() {
    embassy_demo::count_upcall();
    // Bounded: on Arm, Xen raises no interrupt again for events that are left.
    for _ in 0..16 {
        let drain = EVENTS.dispatch(vcpus::current(), |port| {
            if !timer::on_event(port) {
                WAKERS.wake(port);
            }
        });
        if drain == Drain::Finished {
            break;
        }
    }
}

#[embassy_executor::task]
async fn shell(
    mut console: console::Console,
    store: Option<&'static AsyncStore<'static, Installed>>,
) {
    if let Err(error) = embassy_demo::shell(&mut console, store).await {
        println!("the console failed: {error}");
    }
}

/// x86: Xen's timer, and Xen's console, which dom0 reads, or the domain's ring.
#[cfg(not(target_arch = "aarch64"))]
mod timer {
    use rt::Counter;
    use xen_hal::embassy::PvTimer;
    use xen_hal::event::Port;

    use super::*;

    type Timer = PvTimer<Installed, vcpus::Current, Counter, VCPUS>;
    static TIMER: Timer =
        PvTimer::new(installed(), &EVENTS, vcpus::Current, xen_hal::platform::Tsc);

    pub(super) fn install() {
        set_time_source(|| Some(&TIMER));
    }

    pub(super) fn start(vcpu: VcpuId) -> Result<(), Error> {
        Ok(TIMER.start(vcpu)?)
    }

    pub(super) fn on_event(port: Port) -> bool {
        TIMER.on_event(port)
    }
}

#[cfg(not(target_arch = "aarch64"))]
mod console {
    use xen_hal::console::AsyncConsole;

    use super::*;

    pub(super) type Console = AsyncConsole<'static, Installed>;

    pub(super) fn open() -> Result<Option<Console>, Error> {
        // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
        let console = unsafe { xen_hal::console::Console::open(installed(), rt::at) };
        let console = console.map_err(xen_hal::Error::from)?;
        let console = AsyncConsole::new(console, &WAKERS, &EVENTS, VcpuId(0));
        Ok(Some(console.map_err(xen_hal::Error::from)?))
    }
}

/// aarch64: the virtual timer, and the UART that Xen emulates.
#[cfg(target_arch = "aarch64")]
mod timer {
    use xen_hal::embassy::VirtualTimer;
    use xen_hal::event::Port;

    use super::*;

    static TIMER: VirtualTimer = VirtualTimer::new();

    pub(super) fn install() {
        interrupts::on_timer(|| TIMER.on_interrupt());
        set_time_source(|| Some(&TIMER));
    }

    pub(super) fn start(_: VcpuId) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn on_event(_: Port) -> bool {
        false
    }
}

#[cfg(target_arch = "aarch64")]
mod console {
    use core::convert::Infallible;

    use embassy_time::Timer;
    use embedded_io_async::{ErrorType, Read, Write};

    use super::Error;

    /// The UART, whose interrupt the runtime does not handle: it is looked at now and then.
    pub(super) struct Console(());

    pub(super) fn open() -> Result<Option<Console>, Error> {
        Ok(Some(Console(())))
    }

    impl ErrorType for Console {
        type Error = Infallible;
    }

    impl Read for Console {
        async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
            let Some(first) = bytes.first_mut() else { return Ok(0) };
            loop {
                if let Some(byte) = rt::console::read() {
                    *first = byte;
                    return Ok(1);
                }
                Timer::after_millis(10).await;
            }
        }
    }

    impl Write for Console {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            rt::console::write(bytes);
            Ok(bytes.len())
        }

        async fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }
}
