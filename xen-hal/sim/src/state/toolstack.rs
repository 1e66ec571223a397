//! Creates the xenstore and console rings of a domain, as the toolstack does: adds the pages of
//! both rings, grants them to domain 0, and creates a channel for each.

use std::io;

use xen_hal::hypercall::Errno;
use xen_pac::base::{Domid, Virq};
use xen_pac::grant_table::{GrantReservedRef, grant_entry_flags, raw};
use xen_pac::hvm::HvmParam;

use super::{Binding, Entry, State, VcpuKey};
use crate::config::Role;
use crate::raw_memory::{MachineFrame, as_bytes};

/// The domain that serves others.
const DOM0: Domid = Domid(0);
/// The first port of domain 0 if the machine has no domain 0, as recorded under Linux: on x86, and
/// on Arm.
const FAR_PORTS: [u32; 2] = [16, 5];

/// A ring that domain 0 serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServedRing {
    /// The guest's frame.
    pub(crate) frame: usize,
    /// The guest's port.
    pub(crate) port: u32,
}

/// The rings of a domain that domain 0 serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) console: ServedRing,
    pub(crate) store: ServedRing,
}

impl Served {
    /// Returns the ring whose grant the toolstack makes at a reference.
    pub(crate) fn ring(&self, reference: u32) -> Option<ServedRing> {
        let rings = [(CONSOLE.2, self.console), (STORE.2, self.store)];
        rings.into_iter().find(|(of, _)| of.0 == reference).map(|(_, ring)| ring)
    }
}

/// The parameters and the grant of each ring.
const CONSOLE: (HvmParam, HvmParam, GrantReservedRef) =
    (HvmParam::CONSOLE_PFN, HvmParam::CONSOLE_EVTCHN, GrantReservedRef::CONSOLE);
const STORE: (HvmParam, HvmParam, GrantReservedRef) =
    (HvmParam::STORE_PFN, HvmParam::STORE_EVTCHN, GrantReservedRef::XENSTORE);

impl State {
    /// Creates the rings of a domain. After a restore, new pages are at the same frames: the
    /// earlier pages stayed on the old host, where domain 0 may still have them mapped.
    pub(crate) fn serve(&mut self, domain: usize) -> io::Result<()> {
        let physmap = &mut self.domains[domain].physmap;
        // The rings are above the domain's memory, as on real Xen.
        let end = physmap.near();
        let frames = [end - 2, end - 1];
        for frame in frames {
            if physmap.is_mapped(frame) {
                physmap
                    .free(frame, &mut self.frames, &self.memory)
                    .map_err(|errno| io::Error::other(errno.to_string()))?;
            }
            let taken =
                self.frames.take_for(domain, &self.memory).ok_or(io::ErrorKind::OutOfMemory)?;
            physmap.put(frame, Entry::Ram(taken), &self.memory)?;
        }
        let ring = |state: &mut Self, frame, parts| {
            state
                .serve_ring(domain, frame, parts)
                .map_err(|errno| io::Error::other(errno.to_string()))
        };
        let store = ring(self, frames[1], STORE)?;
        let console = ring(self, frames[0], CONSOLE)?;
        if self.profile.is_arm() {
            // That of the UART.
            let ports = &mut self.domains[domain].ports;
            ports.bind(Binding::Xen, 0).map_err(|errno| io::Error::other(errno.to_string()))?;
        }
        self.domains[domain].served = Some(Served { console, store });
        Ok(())
    }

    fn serve_ring(
        &mut self,
        domain: usize,
        frame: usize,
        (pfn, evtchn, reference): (HvmParam, HvmParam, GrantReservedRef),
    ) -> Result<ServedRing, Errno> {
        let is_served = self.domains.iter().any(|other| other.id == DOM0);
        let far_port = FAR_PORTS[usize::from(self.profile.is_arm())];
        let of = &mut self.domains[domain];
        let port = of.ports.allocate()?;
        let binding = if is_served {
            Binding::Unbound { remote: DOM0 }
        } else {
            Binding::Interdomain { remote: DOM0, port: far_port - 1 + port }
        };
        of.ports.bind(binding, 0)?;
        of.parameters[pfn.0 as usize] = frame as u64;
        of.parameters[evtchn.0 as usize] = port.into();
        let mut entry = raw::GrantEntryV1::ZEROED;
        entry.flags = grant_entry_flags::kind::PERMIT_ACCESS.value;
        (entry.domid, entry.frame) = (DOM0.0, frame as u32);
        let offset = reference.0 as usize * size_of::<raw::GrantEntryV1>();
        self.memory.write(of.grants.frames[0], offset, as_bytes(&entry));
        Ok(ServedRing { frame, port })
    }

    /// Returns whether an entry is one that the toolstack made: it grants a ring to domain 0.
    pub(crate) fn is_of_toolstack(
        &self,
        owner: usize,
        reference: u32,
        to: Domid,
        page: Option<MachineFrame>,
    ) -> bool {
        let ring = self.domains[owner].served.and_then(|served| served.ring(reference));
        let of_ring = ring.and_then(|ring| self.page_of(owner, ring.frame as u64));
        to == DOM0 && of_ring.is_some() && of_ring == page
    }

    /// Notifies domain 0 of a change of a domain.
    pub(crate) fn announce_change(&mut self) {
        let control = self.domains.iter().position(|domain| domain.role == Role::Control);
        if let Some(domain) = control {
            self.raise_virq(VcpuKey { domain, vcpu: 0 }, Virq::DOM_EXC);
        }
    }
}
