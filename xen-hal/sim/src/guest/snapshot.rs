//! Captures Xen's state for comparison.

use core::fmt;
use core::sync::atomic::Ordering;
use std::collections::BTreeMap;

use xen_hal::platform::PAGE_SIZE;

use crate::raw_memory::MachineFrame;
use crate::state::{Active, Area, Areas, Binding, Domain, Entry, Fnv64, Map, State, VcpuKey};

/// Xen's state at one moment: ports, parameters, grants, the frames of each domain with a hash of
/// their contents, vCPUs and their timers. A page is named by its place in a domain: which machine
/// frame it is, is Xen's choice. Values that change with time are left out. If two snapshots are
/// equal, the state has not changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: Vec<String>,
}

impl Snapshot {
    pub(crate) fn of(state: &State) -> Self {
        let mut lines = vec![];
        let pages = Pages::of(state);
        for (index, domain) in state.domains.iter().enumerate() {
            let mut add = |line: String| lines.push(format!("domain {}: {line}", domain.number));
            ports(state, index, domain, &mut add);
            grants(state, domain, &pages, &mut add);
            frames(state, index, domain, &pages, &mut add);
            vcpus(state, index, domain, &pages, &mut add);
            rest(domain, &mut add);
        }
        Self { lines }
    }

    /// Returns the lines in which two snapshots differ: those of `self` start with `-`, those of
    /// `later` with `+`.
    #[must_use]
    pub fn difference(&self, later: &Self) -> Vec<String> {
        let only = |of: &Self, other: &Self, sign: char| -> Vec<String> {
            of.lines
                .iter()
                .filter(|line| !other.lines.contains(line))
                .map(|line| format!("{sign} {line}"))
                .collect()
        };
        [only(self, later, '-'), only(later, self, '+')].concat()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// The name of each page that is in a domain.
struct Pages(BTreeMap<usize, String>);

impl Pages {
    fn of(state: &State) -> Self {
        let mut names = BTreeMap::new();
        for domain in &state.domains {
            let mut add = |page: MachineFrame, name: String| {
                names.insert(page.0, format!("{name} of domain {}", domain.number));
            };
            for (frame, entry) in domain.physmap.entries() {
                if let Entry::Ram(page) = entry {
                    add(page, format!("frame {frame}"));
                }
            }
            add(domain.shared, "shared_info".to_owned());
            for (index, page) in domain.grants.frames.iter().enumerate() {
                add(*page, format!("page {index} of the grant table"));
            }
            for (index, page) in domain.grants.status_frames.iter().enumerate() {
                add(*page, format!("page {index} of the grants' status"));
            }
        }
        Self(names)
    }

    fn name(&self, page: MachineFrame) -> &str {
        self.0.get(&page.0).map_or("a page at no frame", String::as_str)
    }

    fn area(&self, area: Option<Area>) -> String {
        match area {
            None => "none".to_owned(),
            Some(Area::Virtual(address)) => format!("{address:#x}"),
            Some(Area::Physical(page, offset)) => format!("{} + {offset:#x}", self.name(page)),
        }
    }

    fn areas(&self, Areas { by_virtual, by_physical }: Areas) -> String {
        format!("[{}; {}]", self.area(by_virtual), self.area(by_physical))
    }
}

fn ports(state: &State, index: usize, domain: &Domain, add: &mut impl FnMut(String)) {
    add(format!("room for {} ports", domain.ports.all.len()));
    for (number, port) in domain.ports.all.iter().enumerate() {
        if port.binding != Binding::Free {
            let pending = if state.is_pending(index, number as u32) { ", pending" } else { "" };
            add(format!("port {number}: {:?}, vCPU {}{pending}", port.binding, port.vcpu));
        }
    }
    let shared = state.memory.shared_info(domain.shared);
    for word in 0.. {
        let (Some(pending), Some(mask)) = (shared.evtchn_pending(word), shared.evtchn_mask(word))
        else {
            break;
        };
        let (pending, mask) = (pending.load(Ordering::SeqCst), mask.load(Ordering::SeqCst));
        if pending | mask != 0 {
            add(format!("word {word}: pending {pending:#x}, mask {mask:#x}"));
        }
    }
}

fn grants(state: &State, domain: &Domain, pages: &Pages, add: &mut impl FnMut(String)) {
    let grants = &domain.grants;
    add(format!(
        "grant table of version {}, {} pages, {} of status",
        grants.version,
        grants.frames.len(),
        grants.status_frames.len()
    ));
    for frame in grants.frames.iter().chain(&grants.status_frames) {
        add(format!("{}: hash {:#x}", pages.name(*frame), hash(state, *frame)));
    }
    for (reference, active) in &grants.active {
        let Active { by, frame, readers, writers } = active;
        let page = pages.name(*frame);
        add(format!("grant {reference}: {page}, {readers} readers, {writers} writers, by {by:?}"));
    }
    for (handle, map) in grants.maps.iter().enumerate() {
        if let Some(Map { owner, reference, frame, address, writable }) = map {
            let page = pages.name(*frame);
            add(format!(
                "map {handle}: {page} at {address:#x}, grant {reference} of {owner:?}, writable \
                 {writable}"
            ));
        }
    }
}

fn frames(
    state: &State,
    index: usize,
    domain: &Domain,
    pages: &Pages,
    add: &mut impl FnMut(String),
) {
    add(format!("has {} pages", state.frames.pages_of(index)));
    for (frame, entry) in domain.physmap.entries() {
        match entry {
            Entry::Empty | Entry::Hole => {}
            Entry::Ram(of) => {
                add(format!("frame {frame}: hash {:#x}", hash_of_memory(state, domain, of)));
            }
            Entry::Xen(of) => add(format!("frame {frame}: {}", pages.name(of))),
            Entry::Grant { frame: of, writable } => {
                let page = pages.name(of);
                add(format!("frame {frame}: granted, {page}, writable {writable}"));
            }
        }
    }
}

/// Returns the hash of a frame's bytes.
fn hash(state: &State, frame: MachineFrame) -> u64 {
    fold(&bytes(state, frame))
}

fn bytes(state: &State, frame: MachineFrame) -> [u8; PAGE_SIZE] {
    let mut bytes = [0; PAGE_SIZE];
    state.memory.read(frame, 0, &mut bytes);
    bytes
}

fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(Fnv64::EMPTY, |hash, byte| hash.with(u64::from(*byte))).value()
}

/// Does the same as [`hash`] for a domain's memory, without the `vcpu_info` blocks, which change
/// with time.
fn hash_of_memory(state: &State, domain: &Domain, frame: MachineFrame) -> u64 {
    let mut bytes = bytes(state, frame);
    for (of, offset) in domain.vcpus.iter().filter_map(|vcpu| vcpu.info) {
        if of == frame {
            let end = PAGE_SIZE.min(offset + size_of::<xen_pac::shared_info::raw::VcpuInfo>());
            bytes[offset..end].fill(0);
        }
    }
    fold(&bytes)
}

fn vcpus(
    state: &State,
    index: usize,
    domain: &Domain,
    pages: &Pages,
    add: &mut impl FnMut(String),
) {
    for (number, vcpu) in domain.vcpus.iter().enumerate() {
        let key = VcpuKey { domain: index, vcpu: number };
        let block = vcpu.info.map(|(page, offset)| Area::Physical(page, offset));
        add(format!(
            "vCPU {number}: up {}, initialised {}, block {}, upcall pending {}, own vector {:?}, \
             {:?}, singleshot {:?}, period {:?}, areas {} {}",
            vcpu.is_up(),
            vcpu.initialised,
            pages.area(block),
            state.upcall_is_pending(key),
            vcpu.own_vector,
            vcpu.apic,
            vcpu.singleshot,
            vcpu.period,
            pages.areas(vcpu.runstate_areas),
            pages.areas(vcpu.time_areas)
        ));
    }
}

fn rest(domain: &Domain, add: &mut impl FnMut(String)) {
    let parameters = domain.parameters.iter().enumerate().filter(|(_, value)| **value != 0);
    parameters.for_each(|(number, value)| add(format!("parameter {number}: {value:#x}")));
    add(format!(
        "upcall vector {:?}, marks run times {}",
        domain.upcall_vector, domain.marks_runstate
    ));
    add(format!(
        "watchdogs {:?}, shutdown code {:?}, ended {:?}",
        domain.watchdogs, domain.shutdown_code, domain.ended
    ));
}
