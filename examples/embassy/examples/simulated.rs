//! The demonstration on the simulator. The first argument is the number of vCPUs, 2 by default; the
//! second is what is typed.

use std::process::ExitCode;

use embassy_demo::{Consumer, EVENTS, Error, Pages, VCPUS, WAKERS};
use embassy_executor::Spawner;
use xen_hal::console::{AsyncConsole, Console};
use xen_hal::embassy::{Executor, PvTimer, TimeSource, set_time_source};
use xen_hal::event::{Drain, EventError};
use xen_hal::hypercall::{Installed, install_custom, installed};
use xen_hal::platform::VcpuId;
use xen_hal::xenstore::{AsyncStore, Store};
use xen_hal::{Xen, pac::hvm::CallbackVia};
use xen_sim::backend::Dom0;
use xen_sim::{
    DomainConfig, DomainLocal, Guest, Hypervisor, InterruptFlag, Machine, Profile, VirtualCounter,
};

const VECTOR: u8 = 0xf3;

type Timer = PvTimer<Installed, Guest, VirtualCounter, VCPUS>;

static TIMER: DomainLocal<Timer> = DomainLocal::new(|| {
    let guest = Guest::here().expect("a vCPU runs");
    PvTimer::new(installed(), &EVENTS, guest, VirtualCounter)
});

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let vcpus = arguments.next().and_then(|vcpus| vcpus.parse().ok()).unwrap_or(VCPUS);
    let typed = arguments.next().unwrap_or_default();
    match run(vcpus.clamp(1, VCPUS), typed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(vcpus: usize, typed: String) -> Result<(), Box<dyn std::error::Error>> {
    let (dom0, mut machine) = (Dom0::new(), Machine::new(Profile::DOM0, 1)?);
    machine.domain(DomainConfig::dom0(), dom0.program())?;
    let domain =
        machine.domain(DomainConfig::domu().vcpus(vcpus), move |guest| kernel(guest, vcpus))?;
    dom0.type_in(domain, typed);
    machine.run()?;
    print!("{}", dom0.printed(domain).replace("\r\n", "\n"));
    Ok(())
}

fn kernel(guest: Guest, vcpus: usize) -> Result<(), Error> {
    install_custom(&Hypervisor);
    let (xen, space) = (Xen::new(installed()), guest.space());
    let via = CallbackVia::vector(VECTOR).map_err(xen_hal::Error::from)?;
    let latch = xen.hvm().set_callback_via(via).map_err(xen_hal::Error::from)?;
    // SAFETY: nothing else uses the page, and the machine outlives its use.
    let shared = unsafe { latch.map_shared_info(&space, guest.page(0).cast()) };
    EVENTS.attach(shared.map_err(xen_hal::Error::from)?);
    guest.on_interrupt(VECTOR, upcall);
    set_time_source(|| Guest::here().map(|_| TIMER.get() as &'static dyn TimeSource));

    let pages = Pages {
        table: guest.page(1).cast(),
        granted: guest.page(2).cast(),
        mapped: guest.page(3).cast(),
    };
    // SAFETY: the pages are used for nothing else, and the machine outlives their use.
    let (producer, consumer) = unsafe { embassy_demo::ring(&space, pages, last(vcpus)) }?;
    let here = if vcpus > 1 {
        guest.start(last(vcpus), move |guest: Guest| second(guest, consumer))?;
        None
    } else {
        Some(consumer)
    };
    // SAFETY: each ring has one owner, and the machine outlives its use.
    let console = unsafe { Console::open(installed(), |frame| guest.frame(frame)) };
    let console = console.map_err(xen_hal::Error::from)?;
    let console = AsyncConsole::new(console, &WAKERS, &EVENTS, VcpuId(0));
    let console = console.map_err(xen_hal::Error::from)?;
    let storage = Box::leak(Box::new([0; Store::STORAGE]));
    // SAFETY: as above.
    let store = unsafe { Store::open(installed(), |frame| guest.frame(frame), storage) };
    let (store, outbox) = (store.map_err(xen_hal::Error::from)?, Box::leak(Box::new([0; 0])));
    let store = AsyncStore::new(store, outbox, &WAKERS, &EVENTS, VcpuId(0));
    let store = Box::leak(Box::new(store.map_err(xen_hal::Error::from)?));
    execute(
        guest,
        |spawner| {
            embassy_demo::first(spawner, |line| println!("{line}"), producer, here);
            if let Ok(shell) = shell(console, store) {
                spawner.spawn(shell);
            }
        },
        embassy_demo::is_done,
    )?;
    embassy_demo::result()
}

const fn last(vcpus: usize) -> VcpuId {
    VcpuId(vcpus as u32 - 1)
}

fn second(guest: Guest, consumer: Consumer) -> Result<(), Error> {
    execute(guest, |spawner| embassy_demo::second(spawner, consumer), || false)
}

/// Runs the calling vCPU's tasks.
fn execute(guest: Guest, tasks: impl FnOnce(Spawner), done: fn() -> bool) -> Result<(), Error> {
    let me = guest.vcpu();
    TIMER.get().start(me)?;
    let bell = EVENTS.listen(Xen::new(installed()).events().bind_ipi(me)?, me);
    let bell = bell.map_err(|error| xen_hal::Error::from(EventError::from(error)))?;
    guest.enable_interrupts();
    let executor = Box::leak(Box::new(Executor::new(bell, InterruptFlag, guest)));
    executor.run_until(tasks, done);
    Ok(())
}

fn upcall() {
    embassy_demo::count_upcall();
    let guest = Guest::here().expect("a vCPU runs");
    let _: Drain = EVENTS.dispatch(guest.vcpu(), |port| {
        if !TIMER.get().on_event(port) {
            WAKERS.wake(port);
        }
    });
}

#[embassy_executor::task]
async fn shell(
    mut console: AsyncConsole<'static, Installed>,
    store: &'static AsyncStore<'static, Installed>,
) {
    if let Err(error) = embassy_demo::shell(&mut console, Some(store)).await {
        println!("the console failed: {error}");
    }
}
