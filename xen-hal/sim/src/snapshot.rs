//! All that Xen knows at a moment, to be compared with another.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use super::boundary::MachineFrame;
use super::state::{Binding, Domain, Entry, State, Sum, VcpuKey};
use xen_hal::platform::PAGE_SIZE;

/// All that Xen knew at a moment, but for what time changes by itself: ports, parameters, grants,
/// the frames of each domain with a sum of what is in them, vCPUs and their timers. Two that are
/// equal show that nothing was changed for good in between.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: Vec<String>,
}

impl Snapshot {
    pub(super) fn of(state: &State) -> Self {
        let mut lines = vec![];
        for (index, domain) in state.domains.iter().enumerate() {
            let mut tell = |line: String| lines.push(format!("domain {}: {line}", domain.id));
            ports(state, index, domain, &mut tell);
            grants(state, domain, &mut tell);
            frames(state, domain, &mut tell);
            vcpus(state, index, domain, &mut tell);
            rest(domain, &mut tell);
        }
        Self { lines }
    }

    /// What there is in one and not in the other, a line each: `-` for what `self` had alone, `+`
    /// for what is new in `later`.
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

fn ports(state: &State, index: usize, domain: &Domain, tell: &mut impl FnMut(String)) {
    tell(format!("room for {} ports", domain.ports.all.len()));
    for (number, port) in domain.ports.all.iter().enumerate() {
        if port.binding != Binding::Free {
            let pending = if state.is_pending(index, number as u32) { ", pending" } else { "" };
            tell(format!("port {number}: {:?}, vCPU {}{pending}", port.binding, port.vcpu));
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
            tell(format!("word {word}: pending {pending:#x}, mask {mask:#x}"));
        }
    }
}

fn grants(state: &State, domain: &Domain, tell: &mut impl FnMut(String)) {
    let grants = &domain.grants;
    tell(format!(
        "grant table of version {}, {} pages, {} of status",
        grants.version,
        grants.frames.len(),
        grants.status_frames.len()
    ));
    for frame in grants.frames.iter().chain(&grants.status_frames) {
        tell(format!("grant table page {}: sum {:#x}", frame.0, sum(state, *frame)));
    }
    grants
        .active
        .iter()
        .for_each(|(reference, active)| tell(format!("grant {reference} is used: {active:?}")));
    for (handle, map) in grants.maps.iter().enumerate() {
        if let Some(map) = map {
            tell(format!("map {handle}: {map:?}"));
        }
    }
}

fn frames(state: &State, domain: &Domain, tell: &mut impl FnMut(String)) {
    tell(format!("has {} pages", domain.physmap.pages));
    for (frame, entry) in domain.physmap.entries.iter().enumerate() {
        match entry {
            Entry::Empty => {}
            Entry::Ram(of) => tell(format!(
                "frame {frame}: {entry:?}, sum {:#x}",
                sum_of_memory(state, domain, *of)
            )),
            Entry::Xen(_) | Entry::Grant { .. } => tell(format!("frame {frame}: {entry:?}")),
        }
    }
}

/// A sum over the bytes of a frame: different contents have different sums, but for rare luck.
fn sum(state: &State, frame: MachineFrame) -> u64 {
    fold(&bytes(state, frame))
}

fn bytes(state: &State, frame: MachineFrame) -> [u8; PAGE_SIZE] {
    let mut bytes = [0; PAGE_SIZE];
    state.memory.read(frame, 0, &mut bytes);
    bytes
}

fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(Sum::NOTHING, |sum, byte| sum.with(u64::from(*byte))).value()
}

/// The same for a domain's memory, without the blocks that Xen keeps there and changes as time goes
/// on.
fn sum_of_memory(state: &State, domain: &Domain, frame: MachineFrame) -> u64 {
    let mut bytes = bytes(state, frame);
    for (of, offset) in domain.vcpus.iter().filter_map(|vcpu| vcpu.info) {
        if of == frame {
            let end = PAGE_SIZE.min(offset + size_of::<xen_pac::shared_info::raw::VcpuInfo>());
            bytes[offset..end].fill(0);
        }
    }
    fold(&bytes)
}

fn vcpus(state: &State, index: usize, domain: &Domain, tell: &mut impl FnMut(String)) {
    for (number, vcpu) in domain.vcpus.iter().enumerate() {
        let key = VcpuKey { domain: index, vcpu: number };
        let mut line = format!(
            "vCPU {number}: up {}, initialised {}, block {:?}",
            vcpu.is_up(),
            vcpu.initialised,
            vcpu.info
        );
        // Writing to a string does not fail.
        let _ = write!(
            line,
            ", upcall pending {}, own vector {:?}, {:?}",
            state.upcall_is_pending(key),
            vcpu.own_vector,
            vcpu.apic
        );
        let _ = write!(
            line,
            ", singleshot {:?}, period {:?}, areas {:?} {:?}",
            vcpu.singleshot, vcpu.period, vcpu.runstate_area, vcpu.time_area
        );
        tell(line);
    }
}

fn rest(domain: &Domain, tell: &mut impl FnMut(String)) {
    let parameters = domain.parameters.iter().enumerate().filter(|(_, value)| **value != 0);
    parameters.for_each(|(number, value)| tell(format!("parameter {number}: {value:#x}")));
    tell(format!(
        "upcalls at {:?}, marks run times {}",
        domain.upcall_vector, domain.marks_runstate
    ));
    tell(format!(
        "watchdogs {:?}, reason for the end {:?}, ended {:?}",
        domain.watchdogs, domain.shutdown_code, domain.ended
    ));
}

#[cfg(test)]
mod tests {
    use crate::{Adversity, Guest, Machine, Profile, Setup};
    use std::format;
    use std::string::String;
    use std::vec::Vec;
    use xen_hal::Xen;
    use xen_pac::base::Domid;

    fn looks(guest: Guest) {
        let events = Xen::new(guest.xen()).events();
        // A snapshot reads much of the shared page, at none of whose accesses the processor is to
        // be taken away.
        for _ in 0..100 {
            let before = guest.snapshot();
            let channel = events.alloc_unbound(Domid(7)).expect("a port is free");
            let port = format!("+ domain 1: port 1: Unbound {{ remote: {:?} }}, vCPU 0", Domid(7));
            assert_eq!(before.difference(&guest.snapshot()), [port]);
            drop(channel);
            assert_eq!(before.difference(&guest.snapshot()), Vec::<String>::new());
        }
    }

    #[test]
    fn what_was_made_is_seen_and_what_was_closed_is_gone() {
        for adversity in
            [Adversity::calm(), Adversity { spurious_upcalls: 0, ..Adversity::storm() }]
        {
            let mut machine = Machine::new(Profile::DOMU, 1)
                .expect("there is memory for a machine")
                .adversity(adversity);
            machine.domain(Setup::new(), looks).expect("there is memory for a domain");
            machine.run().expect("what is expected is seen");
        }
    }
}
