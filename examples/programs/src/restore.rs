//! A domain that is suspended while events, timers, a grant, the console, xenstore, a disk, a
//! network interface and a second vCPU are in use.

use core::fmt::Arguments;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use xen_hal::blk::{BlockDevice, RequestId, SECTOR_SIZE, SuspendedBlockDevice};
use xen_hal::clock::{Clock, Instant, Monotonic, PvClock, SystemTime};
use xen_hal::console::Console;
use xen_hal::event::{Binding, Dispatcher, Drain, Port, TwoLevel};
use xen_hal::grant::{Access, Page};
use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::net::{FRAME_MAX, NetDevice, SuspendedNetDevice};
use xen_hal::platform::{AddressSpace, Counter, VcpuId};
use xen_hal::ring::{DevicePage, Wait};
use xen_hal::suspend::{Registered, Suspended};
use xen_hal::xenbus::{ShutdownControl, ShutdownRequest};
use xen_hal::xenstore::{Store, StoreError, StoreEvent, Tree};
use xen_hal::{Error, Xen};
use xen_pac::base::{Domid, Virq};
use xen_pac::hvm::HvmParam;
use xen_pac::vcpu::Runstate;

const FIRST: VcpuId = VcpuId(0);
const SECOND: VcpuId = VcpuId(1);
const XVDA: &str = "device/vbd/51712";
const VIF: &str = "device/vif/0";
const LINE: &[u8] = b"the guest was here\n";
/// A node that the guest writes before each suspend.
const KEY: &str = "data/kept";
/// Something that the setup registers was not registered.
const MISSING: Error = Error::Errno(Errno::ENOENT);

/// The events that the second vCPU sends to the first, whose handler counts them.
pub struct Deliveries {
    /// The dispatcher of the domain's setup.
    pub dispatcher: Dispatcher<2>,
    port: AtomicU32,
    count: AtomicU32,
}

impl Deliveries {
    /// Creates the value before the first event.
    #[must_use]
    pub const fn new() -> Self {
        Self { dispatcher: Dispatcher::new(), port: AtomicU32::new(0), count: AtomicU32::new(0) }
    }

    /// Handles an upcall of the first vCPU.
    pub fn handle(&self) {
        let _: Drain = self.dispatcher.dispatch(FIRST, |port| {
            if port.0 == self.port.load(Ordering::Relaxed) {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Sends an event to the first vCPU.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub fn send(&self, xen: impl Hypercall + Copy) -> Result<(), Errno> {
        Xen::new(xen).events().send(Port(self.port.load(Ordering::Acquire)))
    }
}

impl Default for Deliveries {
    fn default() -> Self {
        Self::new()
    }
}

/// What a domain uses beside its registrations.
pub struct Services<'s, 'c, 't, H, V, W, C> {
    /// The console.
    pub console: &'s mut Console<'c, H, V>,
    /// Xenstore.
    pub store: &'s mut Store<'t, H, W>,
    /// The counter of the system time.
    pub counter: C,
    /// The time line of the domain's setup.
    pub time_line: &'static Monotonic,
    /// Reads the first word of the page where the shared page is mapped.
    pub first_word: fn() -> u64,
    /// The events, whose dispatcher is that of the domain's setup.
    pub deliveries: &'static Deliveries,
    /// Starts the second vCPU, which sends one of the events and goes down.
    pub start_second: &'s dyn Fn() -> Result<(), Errno>,
    /// Sleeps with interrupts on until the function returns true. Interrupts are off afterwards.
    pub wait_until: &'s dyn Fn(&dyn Fn() -> bool),
}

/// The pages that a domain lends.
pub struct DevicePages {
    /// For the disk: one for the ring, and two for data.
    pub disk: [DevicePage<'static>; 3],
    /// For frames that are sent: the ring, and one frame.
    pub tx: [DevicePage<'static>; 2],
    /// For frames that are received: the ring, and one frame.
    pub rx: [DevicePage<'static>; 2],
}

/// Uses everything, suspends the domain when the toolstack requests it, and uses everything again.
/// Returns the first request that is not a suspend. `reopen` opens the rings again after a restore.
/// `print` gets the lines of the transcript: what the domain has after each suspend.
///
/// # Errors
///
/// Those of Xen and of the devices.
///
/// # Panics
///
/// If something was lost or doubled, or came early, and if dom0 does not answer on the network.
pub fn restore<H, A, V, W, C>(
    mut domain: Registered<H, A>,
    page: Page,
    mut pages: DevicePages,
    services: Services<'_, '_, '_, H, V, W, C>,
    mut reopen: impl FnMut(&mut Console<'_, H, V>, &mut Store<'_, H, W>) -> Result<(), Error>,
    print: &mut dyn FnMut(Arguments<'_>),
) -> Result<ShutdownRequest, Error>
where
    H: Hypercall + Copy,
    A: AddressSpace + Copy,
    V: Wait,
    W: Wait,
    C: Counter + Copy,
{
    let Services { console, store, counter, time_line, first_word, .. } = services;
    let Services { deliveries, start_second, wait_until, .. } = services;
    let xen = Xen::new(domain.hypercall());
    let now = |domain: &Registered<H, A>| now(domain, counter);
    let mut control = ShutdownControl::watch(store)?;
    let (mut last, mut how, mut in_flight) = (None, None, None);
    let mut page = Some(page);
    loop {
        let ready = |store: &mut Store<'_, H, W>, lost: Option<u64>| {
            let (present, back) =
                use_everything(&domain, page.take().ok_or(MISSING)?, time_line, now)?;
            page = Some(back);
            use_second_vcpu(xen, deliveries, start_second, wait_until)?;
            let (Some(how), Some(before)) = (how, last.replace(present)) else {
                return Ok(writeln!(console, "READY")?);
            };
            assert!(present >= before, "time is monotonic");
            print(format_args!("  the disk's requests: answered, once each"));
            if how == CANCELLED {
                print(format_args!("  lost frames: {}", lost.ok_or(MISSING)?));
            }
            store.write(KEY, how)?;
            Ok(writeln!(console, "{how}: all works, {} ms later", (present - before).as_millis())?)
        };
        let request;
        (request, pages, in_flight) =
            use_devices(&domain, store, &control, pages, in_flight, now, ready)?;
        if request != ShutdownRequest::Suspend {
            return Ok(request);
        }
        console.flush()?;
        store.write(KEY, "")?;
        let before = Before::new(xen, store)?;
        let time = now(&domain)?;
        match domain.suspend(time).map_err(|error| Error::from(error.errno))? {
            Suspended::Cancelled(same) => {
                domain = same;
                how = Some(CANCELLED);
                print(format_args!("{CANCELLED}:"));
                before.show(xen, first_word(), print)?;
                before.close(xen)?;
            }
            Suspended::Restored(restored) => {
                how = Some("restored");
                print(format_args!("restored:"));
                before.show(xen, first_word(), print)?;
                // Xen saves nothing of a vCPU that is down.
                assert!(xen.vcpu(SECOND).up() == Err(Errno::EINVAL), "vCPU 1 is not initialised");
                domain = restored.register(now).map_err(|error| error.error)?;
                reopen(console, store)?;
                let mut buffer = [0; 64];
                let first = match store.event(&mut buffer)? {
                    Some(StoreEvent::Reset) => "reset",
                    Some(StoreEvent::Lost) => "lost",
                    Some(_) => "a watch",
                    None => "none",
                };
                print(format_args!("  xenstore's first event: {first}"));
                control = ShutdownControl::watch(store)?;
            }
        }
        before.show_store(store, print)?;
    }
}

const CANCELLED: &str = "cancelled";

/// The rings of the domain: the parameters with the frame and the port.
const RINGS: [(&str, HvmParam, HvmParam); 2] = [
    ("the console's", HvmParam::CONSOLE_PFN, HvmParam::CONSOLE_EVTCHN),
    ("xenstore's", HvmParam::STORE_PFN, HvmParam::STORE_EVTCHN),
];

/// What a domain had before a suspend.
struct Before {
    ipi: Port,
    virq: Port,
    rings: [[u64; 2]; RINGS.len()],
    domain: Domid,
}

impl Before {
    fn new<H: Hypercall + Copy, W: Wait>(
        xen: Xen<H>,
        store: &mut Store<'_, H, W>,
    ) -> Result<Self, Error> {
        let ipi = xen.events().bind_ipi(FIRST)?;
        let virq = xen.events().bind_virq(Virq::DEBUG, FIRST)?;
        let domain = Domid(store.read_number("domid")?);
        let rings = rings(xen)?;
        Ok(Self { ipi: ipi.into_port(), virq: virq.into_port(), rings, domain })
    }

    /// Shows what there is before anything is registered again.
    fn show<H: Hypercall + Copy>(
        &self,
        xen: Xen<H>,
        first_word: u64,
        print: &mut dyn FnMut(Arguments<'_>),
    ) -> Result<(), Error> {
        let callback = xen.hvm().get_raw(HvmParam::CALLBACK_IRQ)?;
        print(format_args!("  the callback: {callback:#x}"));
        let page = if first_word == u64::MAX { "reads as ones" } else { "is mapped" };
        print(format_args!("  the shared page: {page}"));
        for (name, port) in [("IPI", self.ipi), ("VIRQ", self.virq)] {
            let binding = match (xen.events().status(port)?.binding, name) {
                (Binding::Closed, _) => "closed",
                (Binding::Ipi, "IPI") | (Binding::Virq { .. }, "VIRQ") => "open",
                _ => "another channel",
            };
            print(format_args!("  the {name}'s port: {binding}"));
        }
        let same = |is_same: bool| if is_same { "the same" } else { "another" };
        let before = self.rings.into_iter().zip(rings(xen)?);
        for ((name, ..), (old, new)) in RINGS.into_iter().zip(before) {
            let [frame, port] = [0, 1].map(|index| same(old[index] == new[index]));
            print(format_args!("  {name} ring: {frame} frame, {port} port"));
        }
        let size = xen.grants().query_size(Domid::SELF)?;
        let version = xen.grants().version(Domid::SELF)?;
        print(format_args!("  the grant table: version {version}, pages: {}", size.frames));
        Ok(())
    }

    /// Shows what xenstore has.
    fn show_store<H: Hypercall + Copy, W: Wait>(
        &self,
        store: &mut Store<'_, H, W>,
        print: &mut dyn FnMut(Arguments<'_>),
    ) -> Result<(), Error> {
        let is_same = store.read_number::<u16>("domid")? == self.domain.0;
        print(format_args!(
            "  the domain's number: {}",
            if is_same { "the same" } else { "another" }
        ));
        match store.exists(KEY) {
            Ok(is_there) => {
                let kept = if is_there { "kept" } else { "gone" };
                print(format_args!("  the guest's node: {kept}"));
            }
            Err(StoreError::Refused(errno)) => print(format_args!("  the guest's node: {errno}")),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Closes the channels. A restore has closed them.
    fn close<H: Hypercall + Copy>(&self, xen: Xen<H>) -> Result<(), Error> {
        xen.events().close(self.ipi)?;
        Ok(xen.events().close(self.virq)?)
    }
}

fn rings<H: Hypercall + Copy>(xen: Xen<H>) -> Result<[[u64; 2]; RINGS.len()], Error> {
    let mut found = [[0; 2]; RINGS.len()];
    for (ring, (_, frame, port)) in found.iter_mut().zip(RINGS) {
        *ring = [xen.hvm().get_raw(frame)?, xen.hvm().get_raw(port)?];
    }
    Ok(found)
}

fn now<H: Hypercall + Copy, A: AddressSpace + Copy, C: Counter>(
    domain: &Registered<H, A>,
    counter: C,
) -> Result<SystemTime, Error> {
    let features = Xen::new(domain.hypercall()).version().features()?;
    let info = domain.vcpu_info(FIRST).ok_or(MISSING)?;
    Ok(PvClock::new(features, info.time(), counter)?.now())
}

/// Uses what is registered, with interrupts off. Returns the present, and the page that was lent.
fn use_everything<H: Hypercall + Copy, A: AddressSpace + Copy>(
    domain: &Registered<H, A>,
    page: Page,
    time_line: &Monotonic,
    now: impl Fn(&Registered<H, A>) -> Result<SystemTime, Error>,
) -> Result<(Instant, Page), Error> {
    let xen = Xen::new(domain.hypercall());
    let bitmaps = TwoLevel::new(domain.shared_info());
    let ipi = xen.events().bind_ipi(FIRST)?;
    ipi.send()?;
    assert!(bitmaps.clear(ipi.port()), "the IPI is pending");
    let timer = xen.events().bind_virq(Virq::TIMER, FIRST)?;
    let deadline = time_line.instant(now(domain)?) + Duration::from_millis(5);
    xen.vcpu(FIRST).set_singleshot_timer(time_line.system_time(deadline))?;
    let mut early = 0;
    let present = loop {
        while !bitmaps.clear(timer.port()) {
            xen.sched().poll(&[timer.port()], None)?;
        }
        let present = time_line.instant(now(domain)?);
        if present >= deadline {
            break present;
        }
        // The periodic timer of the setup raises the same interrupt, once a second.
        early += 1;
        assert!(early <= 1, "the timer is not early");
    };
    let table = domain.grant_table().ok_or(MISSING)?;
    let grant = table.lend(page, Domid(0), Access::ReadOnly).map_err(|error| error.error())?;
    let Ok((_, page)) = grant.revoke() else { panic!("no domain uses the page") };
    let times = domain.runstate(FIRST).ok_or(MISSING)?;
    assert!(times.read_own().state == Runstate::RUNNING, "it runs");
    assert!(domain.shared_info().wallclock().sec > 0, "there is a time of day");
    Ok((present, page))
}

/// Lets the second vCPU send an event. The first vCPU's handler takes it, once.
fn use_second_vcpu<H: Hypercall + Copy>(
    xen: Xen<H>,
    deliveries: &Deliveries,
    start: &dyn Fn() -> Result<(), Errno>,
    wait_until: &dyn Fn(&dyn Fn() -> bool),
) -> Result<(), Error> {
    let ipi = deliveries.dispatcher.listen(xen.events().bind_ipi(FIRST)?, FIRST);
    let Ok(ipi) = ipi else { panic!("the setup has attached the dispatcher") };
    deliveries.port.store(ipi.port().0, Ordering::Release);
    let before = deliveries.count.load(Ordering::Relaxed);
    start()?;
    wait_until(&|| deliveries.count.load(Ordering::Relaxed) != before);
    // A suspend requires that the vCPU is down.
    while xen.vcpu(SECOND).is_up()? {
        xen.sched().yield_now()?;
    }
    assert_eq!(deliveries.count.load(Ordering::Relaxed), before + 1, "one event was sent");
    Ok(())
}

/// Dom0's address on the network, and the guest's without its last byte.
const PEER: [u8; 4] = [10, 0, 1, 1];
const OWN: [u8; 3] = [10, 0, 1];

/// Asks dom0 for its hardware address, by ARP, and waits for the answer. Each question is for
/// another address of the guest, so that an answer belongs to its question. `sent` counts them.
fn ask_peer<H: Hypercall + Copy, A: AddressSpace + Copy>(
    net: &mut NetDevice<'_, '_, H, A>,
    xen: Xen<H>,
    bitmaps: TwoLevel<'_>,
    now: impl Fn() -> Result<SystemTime, Error>,
    sent: &mut u64,
) -> Result<(), Error> {
    let first = *sent;
    let own = |number: u64| [OWN[0], OWN[1], OWN[2], 2 + (number % 250) as u8];
    for _ in 0..100 {
        if net.can_send()? {
            let mut question = [0; 60];
            question[..6].fill(0xff);
            question[6..12].copy_from_slice(&net.mac());
            question[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            question[22..28].copy_from_slice(&net.mac());
            question[28..32].copy_from_slice(&own(*sent));
            question[38..42].copy_from_slice(&PEER);
            net.send(&question)?;
            *sent += 1;
        }
        let until = now()? + Duration::from_millis(100);
        loop {
            bitmaps.clear(net.port());
            let mut frame = [0; FRAME_MAX];
            while let Some(length) = net.receive(&mut frame)? {
                let is_answer = length >= 42 && frame[12..14] == [8, 6] && frame[20..22] == [0, 2];
                let is_mine = |number| frame[28..32] == PEER && frame[38..42] == own(number);
                if is_answer && (first..*sent).any(is_mine) {
                    return Ok(());
                }
            }
            if now()? >= until {
                break;
            }
            xen.sched().poll(&[net.port()], Some(until))?;
        }
    }
    panic!("dom0 answers on the network");
}

/// What is in flight while the domain is suspended.
struct InFlight<H: Hypercall + Copy> {
    disk: SuspendedBlockDevice<H>,
    net: SuspendedNetDevice<H>,
    write: RequestId,
    read: RequestId,
    /// The number of lines on the disk, that of `write` included.
    lines: u64,
    /// The number of frames that were sent.
    frames: u64,
}

/// Connects the devices, or resumes them and waits for what was in flight; then calls `ready`, and
/// returns the toolstack's next request. If that is a suspend, the devices have requests in flight.
///
/// The disk has a line in each of its first sectors: one for each start and each suspend.
fn use_devices<H: Hypercall + Copy, A: AddressSpace + Copy, W: Wait>(
    domain: &Registered<H, A>,
    store: &mut Store<'_, H, W>,
    control: &ShutdownControl,
    pages: DevicePages,
    in_flight: Option<InFlight<H>>,
    now: impl Fn(&Registered<H, A>) -> Result<SystemTime, Error>,
    ready: impl FnOnce(&mut Store<'_, H, W>, Option<u64>) -> Result<(), Error>,
) -> Result<(ShutdownRequest, DevicePages, Option<InFlight<H>>), Error> {
    let (xen, table) = (domain.hypercall(), domain.grant_table().ok_or(MISSING)?);
    let DevicePages { disk: mut disk_pages, mut tx, mut rx } = pages;
    let mut sector = [0; SECTOR_SIZE];
    let (mut disk, mut net, mut lines, mut frames, lost);
    match in_flight {
        None => {
            disk = BlockDevice::connect(xen, store, XVDA, table, &mut disk_pages)?;
            net = NetDevice::connect(xen, store, VIF, table, &mut tx, &mut rx)?;
            (lines, frames, lost) = (0, 0, None);
            while lines < disk.info().sectors {
                disk.read(lines, &mut sector)?;
                if !sector.starts_with(LINE) {
                    break;
                }
                lines += 1;
            }
            sector[..LINE.len()].copy_from_slice(LINE);
            disk.write(lines, &sector)?;
            disk.flush()?;
            lines += 1;
        }
        Some(in_flight) => {
            let resumed = in_flight.disk.resume(xen, store, XVDA, table, &mut disk_pages);
            disk = resumed.map_err(|error| error.error)?;
            let resumed = in_flight.net.resume(xen, store, VIF, table, &mut tx, &mut rx);
            net = resumed.map_err(|error| error.error)?;
            (lines, frames) = (in_flight.lines, in_flight.frames);
            for id in [in_flight.read, in_flight.write] {
                sector = [0; SECTOR_SIZE];
                for attempt in 0.. {
                    if disk.answer(id, &mut sector)?.is_some() {
                        break;
                    }
                    assert!(attempt < 1 << 20, "the request is answered");
                    Xen::new(xen).sched().yield_now()?;
                }
                assert!(id == in_flight.write || sector.starts_with(LINE), "the read has the line");
            }
            disk.read(lines - 1, &mut sector)?;
            assert!(sector.starts_with(LINE), "the write in flight is on the disk");
            disk.read(lines, &mut sector)?;
            assert!(!sector.starts_with(LINE), "there is no other line");
            assert!(net.lost() <= frames, "more frames were lost than sent");
            lost = Some(net.lost());
        }
    }
    let bitmaps = TwoLevel::new(domain.shared_info());
    ask_peer(&mut net, Xen::new(xen), bitmaps, || now(domain), &mut frames)?;
    ready(store, lost)?;
    let request = loop {
        let mut buffer = [0; 4096];
        bitmaps.clear(store.port());
        // Without an event there is no request. To ask nevertheless would keep xenstored busy.
        if store.event(&mut buffer)?.is_none() {
            Xen::new(xen).sched().poll(&[store.port()], None)?;
        } else if let Some(request) = control.take(store)? {
            break request;
        }
    };
    let in_flight = if request == ShutdownRequest::Suspend {
        if net.can_send()? {
            net.send(&[0xff; 60])?;
            frames += 1;
        }
        let (read, _) = disk.submit_read(0, SECTOR_SIZE)?;
        sector[..LINE.len()].copy_from_slice(LINE);
        let (write, _) = disk.submit_write(lines, &sector)?;
        lines += 1;
        Some(InFlight { disk: disk.suspend(), net: net.suspend(), write, read, lines, frames })
    } else {
        disk.close(store)?;
        net.close(store)?;
        None
    };
    let pages = DevicePages {
        disk: disk_pages.map(DevicePage::detach),
        tx: tx.map(DevicePage::detach),
        rx: rx.map(DevicePage::detach),
    };
    Ok((request, pages, in_flight))
}
