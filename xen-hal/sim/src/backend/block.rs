//! Simulates a disk in memory, and serves its ring of requests.

use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use xen_hal::Xen;
use xen_hal::grant::{Access, ForeignGrant, GrantRef, Mapping};
use xen_hal::platform::PAGE_SIZE;
use xen_hal::ring::{BackRing, Protocol};
use xen_pac::blkif::{
    BlkifOperation, BlkifRequest, BlkifRequestSegment, BlkifResponse, BlkifStatus, vdisk_info,
};

use super::host::{BackendFault, Host, RingMapping, lock};
use crate::platform::Hypervisor;

const SECTOR: usize = 512;

/// Sectors in a page.
const PAGE_SECTORS: u8 = (PAGE_SIZE / SECTOR) as u8;

/// A disk whose content is in memory. Clones share one disk.
///
/// ```
/// use xen_sim::backend::{Dom0, Disk};
/// use xen_sim::{DomainConfig, FaultRates, Machine, Profile};
///
/// let (dom0, disk) = (Dom0::new(), Disk::new(2048));
/// let mut machine = Machine::new(Profile::DOM0, 1).unwrap().fault_rates(FaultRates::storm());
/// machine.domain(DomainConfig::dom0(), dom0.program()).unwrap();
/// // A guest connects it with `BlockDevice`.
/// let guest = machine.domain(DomainConfig::domu(), |_| ()).unwrap();
/// dom0.attach(guest, disk.clone());
/// machine.run().unwrap();
/// assert_eq!(disk.contents().len(), 2048 * 512);
/// ```
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug)]
struct DiskState {
    content: Vec<u8>,
    read_only: bool,
    fault: Option<BackendFault>,
    flushes: u32,
    /// Whether each page held anything but zeros and the data of a write; `None` if this is not
    /// recorded.
    pages: Option<Vec<bool>>,
    keys: Vec<(&'static str, String)>,
}

impl Disk {
    /// Creates a disk of `sectors` sectors of 512 zero bytes.
    #[must_use]
    pub fn new(sectors: usize) -> Self {
        Self::with_contents(std::vec![0; sectors * SECTOR])
    }

    /// Creates a disk with this content. Guests cannot access bytes after the last whole sector.
    #[must_use]
    pub fn with_contents(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(DiskState {
            content,
            read_only: false,
            fault: None,
            flushes: 0,
            pages: None,
            keys: Vec::new(),
        })))
    }

    /// Makes the disk read-only, for guests that connect it later.
    pub fn set_read_only(&self) {
        self.state().read_only = true;
    }

    /// Sets a key of the backend's directory, for guests that connect the disk later.
    pub fn set_key(&self, key: &'static str, value: &str) {
        self.state().keys.push((key, value.to_string()));
    }

    /// Makes the backend misbehave from now, or stops it with `None`.
    pub fn set_fault(&self, fault: Option<BackendFault>) {
        self.state().fault = fault;
    }

    /// Returns the disk's content.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        self.state().content.clone()
    }

    /// Returns the number of flushes by the guest.
    #[must_use]
    pub fn flushes(&self) -> u32 {
        self.state().flushes
    }

    /// Records from now whether each page that a guest grants holds anything but zeros before the
    /// request is carried out. The data of a write does not count. Returns the former record.
    pub fn record_pages(&self) -> Vec<bool> {
        self.state().pages.replace(Vec::new()).unwrap_or_default()
    }

    pub(super) fn fault(&self) -> Option<BackendFault> {
        self.state().fault
    }

    /// Returns the keys of the backend's directory.
    pub(super) fn keys(&self) -> Vec<(&'static str, String)> {
        let state = self.state();
        let info = vdisk_info::READONLY.val(state.read_only.into()).value;
        let sectors = state.content.len() / SECTOR;
        let mut keys: Vec<(&'static str, String)> = [
            ("sectors", sectors as u64),
            ("sector-size", SECTOR as u64),
            ("info", info.into()),
            ("feature-flush-cache", 1),
        ]
        .map(|(key, value)| (key, value.to_string()))
        .to_vec();
        keys.extend(state.keys.iter().cloned());
        keys
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        lock(&self.0)
    }
}

enum Blkif {}

impl Protocol for Blkif {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
}

/// The ring of a connected disk.
pub(super) struct DiskRing {
    ring: BackRing<RingMapping, Blkif>,
    /// The number of the first request that was answered.
    first: Option<u64>,
    /// The pages that the backend does not unmap.
    kept: Vec<Mapping<'static, Hypervisor>>,
}

impl DiskRing {
    pub(super) fn new(page: RingMapping) -> Self {
        Self { ring: BackRing::new(page), first: None, kept: Vec::new() }
    }

    pub(super) fn into_mappings(self) -> Vec<Mapping<'static, Hypervisor>> {
        let mut mappings = self.kept;
        mappings.push(self.ring.into_memory().into_mapping());
        mappings
    }

    /// Carries requests out. Returns whether there were any, and whether to notify the guest.
    pub(super) fn serve(&mut self, disk: &Disk, host: &mut Host<'_>) -> (bool, bool) {
        let fault = disk.fault();
        if fault != Some(BackendFault::KeepsPages) {
            self.kept.drain(..).for_each(|mapping| host.unmap(mapping));
        }
        let mut worked = false;
        // Bounded, so a frontend that announces requests without end does not delay other devices.
        for _ in 0..BackRing::<RingMapping, Blkif>::ENTRIES {
            let Some(request) = self.ring.pop() else {
                if self.ring.rearm() { continue } else { break }
            };
            worked = true;
            let response = self.respond(&request, disk, host);
            if fault != Some(BackendFault::Silent) {
                // There is one response for each request that was taken.
                let _ = self.ring.push(&response);
            }
        }
        let must_send = worked && self.ring.publish();
        if let (true, Some(fault)) = (worked, fault) {
            self.ring.memory().attack(fault, host.guest);
        }
        (worked, must_send || worked && fault.is_some())
    }

    /// Carries out a request. Returns the response, which the fault may falsify.
    fn respond(
        &mut self,
        request: &BlkifRequest,
        disk: &Disk,
        host: &mut Host<'_>,
    ) -> BlkifResponse {
        let fault = disk.fault();
        let status = carry_out(request, &mut disk.state(), host);
        let first = *self.first.get_or_insert(request.id);
        let mut response = BlkifResponse { id: request.id, ..BlkifResponse::ZEROED };
        (response.operation, response.status) = (request.operation, status);
        match fault {
            Some(BackendFault::Fails) => response.status = BlkifStatus::ERROR,
            Some(BackendFault::UnknownStatus) => response.status = BlkifStatus(77),
            Some(BackendFault::WrongId) => response.id ^= host.guest.random() | 1,
            Some(BackendFault::Repeats) => response.id = first,
            Some(BackendFault::WrongOperation) => response.operation = BlkifOperation::DISCARD,
            Some(BackendFault::KeepsPages) => {
                for segment in request.seg.iter().take(request.nr_segments.into()) {
                    self.kept.extend(host.map(segment.gref, Access::ReadOnly));
                }
            }
            _ => {}
        }
        response
    }
}

fn carry_out(request: &BlkifRequest, disk: &mut DiskState, host: &Host<'_>) -> BlkifStatus {
    let writes = match request.operation {
        BlkifOperation::READ => false,
        BlkifOperation::WRITE => true,
        BlkifOperation::FLUSH_DISKCACHE => {
            disk.flushes += 1;
            return BlkifStatus::OKAY;
        }
        _ => return BlkifStatus::EOPNOTSUPP,
    };
    let Some(segments) = request.seg.get(..request.nr_segments.into()) else {
        return BlkifStatus::ERROR;
    };
    if segments.is_empty() || writes && disk.read_only {
        return BlkifStatus::ERROR;
    }
    let mut sector = request.sector_number;
    for segment in segments {
        match move_segment(segment, sector, writes, disk, host) {
            Some(moved) => sector = sector.saturating_add(moved),
            None => return BlkifStatus::ERROR,
        }
    }
    BlkifStatus::OKAY
}

/// Copies a segment. Returns how many sectors it has.
fn move_segment(
    segment: &BlkifRequestSegment,
    sector: u64,
    writes: bool,
    disk: &mut DiskState,
    host: &Host<'_>,
) -> Option<u64> {
    let (first, last) = (segment.first_sect, segment.last_sect);
    if first > last || last >= PAGE_SECTORS {
        return None;
    }
    let sectors = usize::from(last - first) + 1;
    let begin = usize::try_from(sector).ok()?.checked_mul(SECTOR)?;
    let content = disk.content.get_mut(begin..begin.checked_add(sectors * SECTOR)?)?;
    let of = ForeignGrant { domain: host.domain, reference: GrantRef(segment.gref) };
    let (grants, space) = (Xen::new(host.guest.xen()).grants(), host.guest.space());
    let offset = u16::from(first) * SECTOR as u16;
    if let Some(pages) = &mut disk.pages {
        let mut former = [0; PAGE_SIZE];
        grants.copy_from_grant(&space, of, 0, &mut former).ok()?;
        if writes {
            former[usize::from(offset)..][..content.len()].fill(0);
        }
        pages.push(former != [0; PAGE_SIZE]);
    }
    let copied = if writes {
        grants.copy_from_grant(&space, of, offset, content)
    } else {
        grants.copy_to_grant(&space, content, of, offset)
    };
    copied.ok().map(|()| sectors as u64)
}
