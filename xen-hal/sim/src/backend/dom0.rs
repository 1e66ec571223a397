//! Simulates the control domain: toolstack, xenstore, consoles and device backends.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::sync::{Arc, Mutex};

use xen_hal::Xen;
use xen_hal::event::{Channel, Port, TwoLevel};
use xen_hal::grant::{Access, ForeignGrant, GrantRef, MapRequest, MapTarget, Mapping};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::VcpuId;
use xen_hal::xenstore::{NodeAccess, Permission};
use xen_pac::base::{Domid, Virq};
use xen_pac::console_ring::XenconsInterface;
use xen_pac::grant_table::GrantReservedRef;
use xen_pac::xenstore::XenstoreDomainInterface;

use super::device::{Attached, Device};
use super::host::{Host, lock};
use super::store::home;
use super::{ConsoleConnection, StoreConnection, StoreServer};
use crate::guest::Guest;
use crate::platform::{Hypervisor, map_target};
use crate::state::Served;
use crate::vcpu;

/// The page at which the shared page is mapped. The pages after it are for grants.
const SHARED_PAGE: usize = 0;
/// The number of guest pages that can be mapped at a time.
const TARGETS: usize = 400;
/// The most bytes that are read or written at once.
const CHUNK_MAX: usize = 2048;

/// The function that [`Dom0::operate`] calls.
type OperatorFn = Box<dyn FnMut(&mut Operator<'_>) + Send>;

/// The control domain of a simulated machine. It serves xenstore and the console of each
/// [domU](crate::DomainConfig::domu), as a Linux control domain does.
///
/// ```
/// use xen_hal::console::Console;
/// use xen_hal::xenstore::{Store, Tree};
/// use xen_pac::base::Domid;
/// use xen_sim::backend::Dom0;
/// use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};
///
/// fn kernel(guest: Guest) -> Result<(), Box<dyn std::error::Error>> {
///     let (mut storage, mut buffer) = ([0; Store::STORAGE], [0; 4096]);
///     // SAFETY: each ring is used by one owner, as long as the machine runs.
///     let mut console = unsafe { Console::open(guest.xen(), |frame| guest.frame(frame)) }?;
///     let at = |frame| guest.frame(frame);
///     // SAFETY: as above.
///     let mut store = unsafe { Store::open(guest.xen(), at, &mut storage) }?;
///     writeln!(console, "I am {}", store.read_str("name", &mut buffer)?)?;
///     console.flush()?;
///     Ok(())
/// }
///
/// let dom0 = Dom0::new();
/// let mut machine = Machine::new(Profile::DOM0, 1).unwrap().fault_rates(FaultRates::storm());
/// machine.domain(DomainConfig::dom0(), dom0.program()).unwrap();
/// let domu = machine.domain(DomainConfig::domu(), kernel).unwrap();
/// machine.run().unwrap();
/// assert_eq!(dom0.printed(domu), "I am guest-1\r\n");
/// ```
///
/// Clones share one control domain.
#[derive(Clone, Default)]
pub struct Dom0(Arc<Mutex<World>>);

/// The state that outlives the control domain's program.
#[derive(Default)]
struct World {
    store: StoreServer,
    guests: BTreeMap<u16, GuestWorld>,
}

/// The state of one guest, by the number with which it was created.
#[derive(Default)]
struct GuestWorld {
    printed: String,
    typed: Vec<u8>,
    operator: Option<OperatorFn>,
    devices: Vec<Device>,
}

/// The view of a guest from the control domain, and control over it: see [`Dom0::operate`].
pub struct Operator<'a> {
    /// The guest's current number, which a restore changes.
    pub domain: Domid,
    /// The text that the guest has printed so far.
    pub printed: &'a str,
    /// The bytes to type into the guest's console.
    pub typed: &'a mut Vec<u8>,
    /// The xenstore server.
    pub store: &'a mut StoreServer,
}

impl Operator<'_> {
    /// Requests a shutdown of the guest: "poweroff", "reboot" or "suspend".
    pub fn shut_down(&mut self, how: &str) {
        self.store.set(&format!("{}/control/shutdown", home(self.domain)), how);
    }
}

impl Dom0 {
    /// Creates a control domain with an empty xenstore.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the program of domain 0, whose configuration must be
    /// [`DomainConfig::dom0`](crate::DomainConfig::dom0).
    pub fn program(&self) -> impl FnOnce(Guest) -> Result<(), Box<dyn Error>> + Send + 'static {
        let world = Arc::clone(&self.0);
        move |guest| Program::new(guest, world)?.run()
    }

    /// Returns the text that a guest has printed, by the number with which the guest was created.
    #[must_use]
    pub fn printed(&self, guest: Domid) -> String {
        lock(&self.0).guests.get(&guest.0).map_or_else(String::new, |guest| guest.printed.clone())
    }

    /// Types into a guest's console.
    pub fn type_in(&self, guest: Domid, keys: impl AsRef<[u8]>) {
        let mut world = lock(&self.0);
        world.guests.entry(guest.0).or_default().typed.extend_from_slice(keys.as_ref());
    }

    /// Calls `operator` each time the control domain has served the guest.
    pub fn operate(&self, guest: Domid, operator: impl FnMut(&mut Operator<'_>) + Send + 'static) {
        let mut world = lock(&self.0);
        world.guests.entry(guest.0).or_default().operator = Some(Box::new(operator));
    }

    /// Adds a device to a guest. Call it before the machine runs. The guest finds the first disk at
    /// `device/vbd/51712`, and the first network interface at `device/vif/0`.
    pub fn attach(&self, guest: Domid, device: impl Into<Device>) {
        lock(&self.0).guests.entry(guest.0).or_default().devices.push(device.into());
    }

    /// Calls `work` with the xenstore server, to read or change the tree.
    pub fn with_store<T>(&self, work: impl FnOnce(&mut StoreServer) -> T) -> T {
        work(&mut lock(&self.0).store)
    }
}

impl core::fmt::Debug for Dom0 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Dom0").finish_non_exhaustive()
    }
}

/// The program that runs in domain 0.
struct Program {
    guest: Guest,
    world: Arc<Mutex<World>>,
    bitmaps: TwoLevel<'static>,
    changes: Channel<Hypervisor>,
    targets: Vec<MapTarget<'static>>,
    served: Vec<Serving>,
}

/// The state of a served domain when the program started to serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    number: Domid,
    id: Domid,
    rings: Served,
}

/// A domain that is served.
struct Serving {
    known: Known,
    store: StoreConnection<'static>,
    console: ConsoleConnection<'static>,
    store_channel: Channel<Hypervisor>,
    console_channel: Channel<Hypervisor>,
    mappings: Vec<Mapping<'static, Hypervisor>>,
    devices: Vec<Attached>,
}

impl Program {
    fn new(guest: Guest, world: Arc<Mutex<World>>) -> Result<Self, Box<dyn Error>> {
        let xen = Xen::new(guest.xen());
        // The program polls ports, so it needs no callback.
        let latch = WidthLatch::new(guest.xen())?;
        let page = guest.page(SHARED_PAGE).cast();
        // SAFETY: nothing else uses the page, and it is there as long as the machine runs.
        let shared = unsafe { latch.map_shared_info(&guest.space(), page) }?;
        let bitmaps = TwoLevel::new(shared);
        bitmaps.mask_all();
        let changes = xen.events().bind_virq(Virq::DOM_EXC, VcpuId(0))?;
        lock(&world).store.set_release(xen.version().release()?);
        Ok(Self { guest, world, bitmaps, changes, targets: Vec::new(), served: Vec::new() })
    }

    fn run(mut self) -> Result<(), Box<dyn Error>> {
        for index in 0..TARGETS {
            // SAFETY: nothing else uses the page, and the program ends with the machine.
            self.targets.extend(unsafe { map_target(self.guest.page(1 + index)) });
        }
        self.follow_changes()?;
        loop {
            if self.bitmaps.clear(self.changes.port()) {
                self.follow_changes()?;
            }
            let mut progress = false;
            for index in 0..self.served.len() {
                progress |= self.serve(index)?;
            }
            if !progress {
                let mut ports = vec![self.changes.port()];
                for serving in &self.served {
                    ports.extend([serving.store_channel.port(), serving.console_channel.port()]);
                    ports.extend(serving.devices.iter().filter_map(Attached::port));
                }
                Xen::new(self.guest.xen()).sched().poll(&ports, None)?;
            }
        }
    }

    /// Serves one domain. Returns whether there was work.
    fn serve(&mut self, index: usize) -> Result<bool, Box<dyn Error>> {
        let serving = &mut self.served[index];
        let chunk = 1 + self.guest.random() as usize % CHUNK_MAX;
        let mut world = lock(&self.world);
        let World { store, guests } = &mut *world;
        let of = guests.entry(serving.known.number.0).or_default();
        let mut progress = false;

        self.bitmaps.clear(serving.console_channel.port());
        serving.console.typed.append(&mut of.typed);
        let console = serving.console.serve(chunk);
        of.printed.push_str(&core::mem::take(&mut serving.console.printed));
        self.bitmaps.clear(serving.store_channel.port());
        let stored = serving.store.serve(store, chunk);
        if let Some(operator) = &mut of.operator {
            operator(&mut Operator {
                domain: serving.known.id,
                printed: &of.printed,
                typed: &mut of.typed,
                store,
            });
            progress |= !of.typed.is_empty();
        }
        for device in &mut serving.devices {
            if let Some(port) = device.port() {
                self.bitmaps.clear(port);
            }
            let (targets, domain) = (&mut self.targets, serving.known.id);
            progress |= device.serve(&mut Host { guest: self.guest, store, targets, domain });
        }
        drop(world);
        for (acted, channel) in
            [(console, &serving.console_channel), (stored, &serving.store_channel)]
        {
            if acted {
                progress = true;
                // The guest may have ended.
                let _ = channel.send();
            }
        }
        Ok(progress)
    }

    /// Reads the list of domains, and starts to serve new ones.
    fn follow_changes(&mut self) -> Result<(), Box<dyn Error>> {
        let known: Vec<Known> = vcpu::current().inspect(|state| {
            let alive = state.domains.iter().filter(|domain| domain.ended.is_none());
            let known = alive.filter_map(|domain| {
                Some(Known { number: domain.number, id: domain.id, rings: domain.served? })
            });
            known.collect()
        });
        for index in (0..self.served.len()).rev() {
            if !known.contains(&self.served[index].known) {
                self.stop_serving(index);
            }
        }
        for known in known {
            if !self.served.iter().any(|serving| serving.known == known) {
                self.start_serving(known)?;
            }
        }
        Ok(())
    }

    fn start_serving(&mut self, known: Known) -> Result<(), Box<dyn Error>> {
        let xen = Xen::new(self.guest.xen());
        let mut mappings = Vec::new();
        let mut map = |reference: GrantReservedRef| -> Result<_, Box<dyn Error>> {
            let of = ForeignGrant { domain: known.id, reference: GrantRef(reference.0) };
            let target = self.targets.pop().ok_or("no page is left to map a grant at")?;
            let request = MapRequest { of, access: Access::ReadWrite, target };
            // SAFETY: the grant is another domain's.
            let mapping = unsafe { xen.grants().map(request) }?;
            let page = mapping.bytes().ok_or("the mapping is writable")?.as_ptr();
            mappings.push(mapping);
            Ok(page)
        };
        let (console, store) = (map(GrantReservedRef::CONSOLE)?, map(GrantReservedRef::XENSTORE)?);
        // SAFETY: the page stays mapped as long as `mappings` lives, which is dropped with the
        // connection, and nothing else uses it here.
        let console = unsafe { XenconsInterface::from_ptr(console.cast()) };
        // SAFETY: as above.
        let store = unsafe { XenstoreDomainInterface::from_ptr(store.cast()) };
        let bind = |ring: u32| xen.events().bind_interdomain(known.id, Port(ring));
        let console_channel = bind(known.rings.console.port)?;
        let store_channel = bind(known.rings.store.port)?;
        let devices = self.introduce(known);
        let store = StoreConnection::new(store, known.id);
        store.announce_features();
        self.served.push(Serving {
            known,
            store,
            console: ConsoleConnection::new(console),
            store_channel,
            console_channel,
            mappings,
            devices,
        });
        Ok(())
    }

    fn stop_serving(&mut self, index: usize) {
        let Serving { known, mappings, devices, .. } = self.served.remove(index);
        for mapping in mappings {
            // Unmapping also succeeds if the granting domain has ended.
            if let Ok(target) = mapping.unmap() {
                self.targets.push(target);
            }
        }
        let mut world = lock(&self.world);
        for device in devices {
            let (store, targets, domain) = (&mut world.store, &mut self.targets, known.id);
            device.detach(&mut Host { guest: self.guest, store, targets, domain });
        }
        world.store.release(known.id);
        world.store.remove(&home(known.id));
    }

    /// Creates the xenstore nodes of a domain and its devices, as `xl create` does.
    fn introduce(&self, known: Known) -> Vec<Attached> {
        let Known { number, id, rings } = known;
        let mut world = lock(&self.world);
        let World { store, guests } = &mut *world;
        store.introduce(id);
        let home = home(id);
        let entry = |domain, access| Permission { domain, access };
        let shown = [entry(Domid(0), NodeAccess::None), entry(id, NodeAccess::Read)];
        let owned = [entry(id, NodeAccess::None)];
        let mut node = |path: &str, value: &dyn Display, permissions: &[Permission]| {
            let path = if path.is_empty() { home.clone() } else { format!("{home}/{path}") };
            store.set(&path, value.to_string());
            store.set_permissions(&path, permissions);
        };
        node("", &"", &shown);
        node("name", &format!("guest-{number}"), &shown);
        node("domid", &id, &shown);
        for directory in ["console", "control", "device", "memory", "store"] {
            node(directory, &"", &shown);
        }
        node("data", &"", &owned);
        node("control/shutdown", &"", &owned);
        for feature in ["poweroff", "reboot", "suspend"] {
            node(&format!("control/feature-{feature}"), &"", &owned);
        }
        node("console/ring-ref", &rings.console.frame, &shown);
        node("console/port", &rings.console.port, &shown);
        node("store/ring-ref", &rings.store.frame, &shown);
        node("store/port", &rings.store.port, &shown);
        let mut classes = BTreeMap::new();
        let devices = guests.entry(number.0).or_default().devices.clone();
        let attach = |device: Device| {
            let count: &mut usize = classes.entry(device.class()).or_default();
            *count += 1;
            Attached::new(device, *count - 1, id, store)
        };
        devices.into_iter().map(attach).collect()
    }
}
