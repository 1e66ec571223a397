//! What the guests `embassy` and `embassy-shell` have in common: the vCPUs, their executors, and
//! the tasks.

#[path = "wakeups.rs"]
mod wakeups;

use core::cell::RefCell;

use critical_section::Mutex;
use embassy_demo::{Consumer, EVENTS, Error, Pages, VCPUS};
use embassy_executor::Spawner;
use rt::{Boot, LocalInterrupts, Page, interrupts, println, vcpus};
use static_cell::StaticCell;
use xen_hal::Xen;
use xen_hal::event::EventError;
use xen_hal::hypercall::{Errno, Installed, install, installed};
use xen_hal::platform::{IdentityMap, VcpuId, set_current_vcpu};
use xen_pac::shared_info::SharedInfo;

type Executor = xen_hal::embassy::Executor<Installed, LocalInterrupts, vcpus::Current>;

static SHARED_INFO: Page = Page::new();
static RING: [Page; 3] = [const { Page::new() }; 3];
static EXECUTORS: [StaticCell<Executor>; VCPUS] = [const { StaticCell::new() }; VCPUS];
/// For the second vCPU.
static CONSUMER: Mutex<RefCell<Option<Consumer>>> = Mutex::new(RefCell::new(None));

/// Runs the demonstration, and further tasks on the first vCPU. `open` is called once events
/// arrive, and returns a function that spawns these tasks.
pub(crate) fn run<S: FnOnce(Spawner)>(
    boot: Boot,
    open: fn() -> Result<S, Error>,
) -> Result<(), Error> {
    install(boot.xen);
    // SAFETY: the function names the calling vCPU, and no critical section is in progress.
    unsafe { set_current_vcpu(vcpus::current) };
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO);
    let Ok(shared) = shared else { panic!("expected a shared page, found none") };
    EVENTS.attach(shared);
    wakeups::install();

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
    let more = open()?;
    let tasks = |spawner: Spawner| {
        embassy_demo::first(spawner, rt::console::print_line, producer, here);
        more(spawner);
    };
    executor(VcpuId(0))?.run_until(tasks, embassy_demo::is_done);
    embassy_demo::result()
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
    wakeups::upcall();
    match executor(vcpu) {
        Ok(executor) => executor.run(|spawner| embassy_demo::second(spawner, consumer)),
        Err(error) => panic!("vCPU {vcpu} cannot run tasks: {error}"),
    }
}

/// Returns the executor of the calling vCPU, whose interrupts are on afterwards.
fn executor(vcpu: VcpuId) -> Result<&'static mut Executor, Error> {
    wakeups::start(vcpu)?;
    let bell = Xen::new(installed()).events().bind_ipi(vcpu)?;
    let bell =
        EVENTS.listen(bell, vcpu).map_err(|error| xen_hal::Error::from(EventError::from(error)))?;
    interrupts::enable();
    Ok(EXECUTORS[vcpu.0 as usize].init(Executor::new(bell, LocalInterrupts, vcpus::Current)))
}
