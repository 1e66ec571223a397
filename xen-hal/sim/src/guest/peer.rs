//! Simulates a domain that attacks another with every operation that Xen permits.

use xen_hal::Xen;
use xen_hal::event::{Channel, Port};
use xen_hal::grant::{Access, ForeignGrant, GrantRef, MapRequest, MapTarget, Mapping};
use xen_hal::platform::PAGE_SIZE;
use xen_pac::access::Data;
use xen_pac::base::Domid;

use super::Guest;
use crate::platform::{Hypervisor, map_target};

/// The number of the victim's grant references that the peer tries.
const REFERENCES: u64 = 40;
/// The number of the victim's ports that the peer tries, besides ports out of range.
const PORTS: u64 = 80;
/// The number of pages that the peer maps at once.
const TARGETS: usize = 4;

/// Returns the program of a domain that attacks `victim` with `acts` random operations.
///
/// It maps and unmaps the victim's grants at any moment, reads the pages and overwrites them. It
/// copies to and from grants. It binds to ports, sends events in bursts, and closes channels. It
/// uses references and ports that do not exist. It writes random values, which often resemble a
/// ring index or a version counter.
///
/// The domain needs 4 pages.
///
/// ```
/// use xen_sim::{Guest, Machine, Profile, DomainConfig, hostile_peer};
/// use xen_pac::base::Domid;
///
/// let mut machine = Machine::new(Profile::DOM0, 5).unwrap();
/// let victim = |guest: Guest| while guest.now().as_millis() < 1100 { guest.relax() };
/// let victim = machine.domain(DomainConfig::new(), victim).unwrap();
/// machine.domain(DomainConfig::new(), hostile_peer(victim, 1000)).unwrap();
/// machine.run().unwrap();
/// ```
pub fn hostile_peer(victim: Domid, acts: u32) -> impl FnOnce(Guest) + Send + 'static {
    move |guest| {
        // SAFETY: the program uses these pages for nothing else, and ends with the machine.
        let target = |page| unsafe { map_target(guest.page(page)) };
        let mut peer = Peer {
            guest,
            victim,
            targets: (0..TARGETS).filter_map(target).collect(),
            mappings: Vec::new(),
            channels: Vec::new(),
        };
        for _ in 0..acts {
            peer.act();
        }
    }
}

struct Peer {
    guest: Guest,
    victim: Domid,
    targets: Vec<MapTarget<'static>>,
    mappings: Vec<Mapping<'static, Hypervisor>>,
    channels: Vec<Channel<Hypervisor>>,
}

impl Peer {
    fn act(&mut self) {
        match self.guest.random() % 8 {
            0 | 1 => self.map(),
            2 => self.unmap(),
            3 | 4 => self.scribble(),
            5 => self.copy(),
            6 => self.bind(),
            _ => self.signal(),
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.guest.random() % bound
    }

    fn any_grant(&self) -> ForeignGrant {
        let reference = if self.below(16) == 0 {
            self.guest.random() as u32
        } else {
            self.below(REFERENCES) as u32
        };
        ForeignGrant { domain: self.victim, reference: GrantRef(reference) }
    }

    fn map(&mut self) {
        let Some(target) = self.targets.pop() else { return self.unmap() };
        let access = if self.below(2) == 0 { Access::ReadOnly } else { Access::ReadWrite };
        let request = MapRequest { of: self.any_grant(), access, target };
        // SAFETY: the program grants no page.
        match unsafe { Xen::new(self.guest.xen()).grants().map(request) } {
            Ok(mapping) => self.mappings.push(mapping),
            Err(failed) => self.targets.push(failed.target),
        }
    }

    fn unmap(&mut self) {
        if self.mappings.is_empty() {
            return;
        }
        let which = self.below(self.mappings.len() as u64) as usize;
        match self.mappings.swap_remove(which).unmap() {
            Ok(target) => self.targets.push(target),
            Err(failed) => self.mappings.push(failed.mapping),
        }
    }

    /// Overwrites words of the mapped pages, with random numbers or with numbers close to the
    /// present ones.
    fn scribble(&mut self) {
        let (random, at) = (self.guest.random(), self.below(PAGE_SIZE as u64 / 4) as usize * 4);
        for mapping in &self.mappings {
            let mut word = u32::ZEROED.to_ne_bytes();
            if mapping.copy_to(at, &mut word).is_err() {
                continue;
            }
            let now = u32::from_ne_bytes(word);
            let next = [
                random as u32,
                now.wrapping_add(1),
                now.wrapping_sub(1),
                now ^ 1,
                u32::MAX,
                now.wrapping_add(PAGE_SIZE as u32),
            ];
            let next = next[(random >> 32) as usize % next.len()];
            if let Some(bytes) = mapping.bytes() {
                // An offset beyond the page is refused.
                let _ = bytes.copy_from(at, &next.to_ne_bytes());
            }
        }
    }

    fn copy(&self) {
        let (grants, of) = (Xen::new(self.guest.xen()).grants(), self.any_grant());
        let mut bytes = self.guest.random().to_ne_bytes();
        let at = self.below(PAGE_SIZE as u64 + 8) as u16;
        // Most of these are refused.
        let _ = grants.copy_from_grant(&self.guest.space(), of, at, &mut bytes);
        let _ =
            grants.copy_to_grant(&self.guest.space(), &self.guest.random().to_ne_bytes(), of, at);
    }

    fn bind(&mut self) {
        let port =
            if self.below(16) == 0 { self.guest.random() as u32 } else { self.below(PORTS) as u32 };
        if let Ok(channel) =
            Xen::new(self.guest.xen()).events().bind_interdomain(self.victim, Port(port))
        {
            self.channels.push(channel);
        }
    }

    fn signal(&mut self) {
        for channel in &self.channels {
            // The victim may have closed it.
            let _ = channel.send();
        }
        if self.channels.len() > TARGETS || self.below(8) == 0 {
            self.channels.pop();
        }
    }
}
