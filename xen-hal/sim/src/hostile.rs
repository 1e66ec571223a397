//! A peer that wishes no good.

use std::vec::Vec;

use xen_pac::access::Data;
use xen_pac::base::Domid;

use super::guest::Guest;
use xen_hal::Xen;
use xen_hal::event::{Channel, Port};
use xen_hal::grant::{Access, ForeignGrant, MapRequest, MapTarget, Mapping};
use xen_hal::memory::Extent;
use xen_hal::platform::{AddressSpace, PAGE_SIZE};

use super::seams::Hypervisor;

/// How many grant references of the victim's it tries.
const REFERENCES: u64 = 40;
/// How many ports of the victim's it tries, the absurd ones aside.
const PORTS: u64 = 80;
/// How many pages it maps at once.
const WINDOWS: usize = 4;

/// The program of a domain that does to `victim` whatever Xen lets it, `acts` times, by the
/// machine's seed: maps what is lent to it at moments that nobody expects, reads it and writes over
/// it, keeps it for a while; copies into and out of it; binds to ports, signals them again and
/// again, and closes them; names references and ports that do not exist.
///
/// What it writes is any bytes, and often what looks like a ring's index, or a counter of versions,
/// but is not the next one.
///
/// It needs 4 pages at least.
///
/// ```
/// use xen_sim::{Guest, Machine, Profile, Setup, hostile};
/// use xen_pac::base::Domid;
///
/// let mut machine = Machine::new(Profile::DOM0, 5).unwrap();
/// let victim = machine.domain(Setup::new(), |guest: Guest| while guest.now().as_millis() < 1100 { guest.relax() }).unwrap();
/// machine.domain(Setup::new(), hostile(victim, 1000)).unwrap();
/// machine.run().unwrap();
/// ```
pub fn hostile(victim: Domid, acts: u32) -> impl FnOnce(Guest) + Send + 'static {
    move |guest| {
        let mut peer = Peer {
            guest,
            victim,
            windows: windows(guest),
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
    windows: Vec<MapTarget>,
    mappings: Vec<Mapping<Hypervisor>>,
    channels: Vec<Channel<Hypervisor>>,
}

/// Empty frames at which pages can be mapped.
fn windows(guest: Guest) -> Vec<MapTarget> {
    let memory = Xen::new(guest.xen()).memory();
    let window = |index: usize| {
        let page = guest.page(index);
        let frame = guest.space().frame_of(page)?;
        super::boundary::give_up(&memory, frame, Extent::PAGE);
        super::boundary::window(guest.space(), page)
    };
    (0..WINDOWS).filter_map(window).collect()
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

    fn anything(&self) -> ForeignGrant {
        let reference = if self.below(16) == 0 {
            self.guest.random() as u32
        } else {
            self.below(REFERENCES) as u32
        };
        ForeignGrant { domain: self.victim, reference }
    }

    fn map(&mut self) {
        let Some(window) = self.windows.pop() else { return self.unmap() };
        let access = if self.below(2) == 0 { Access::ReadOnly } else { Access::ReadWrite };
        match Xen::new(self.guest.xen()).grants().map(MapRequest {
            of: self.anything(),
            access,
            window,
        }) {
            Ok(mapping) => self.mappings.push(mapping),
            Err(failed) => self.windows.push(failed.window),
        }
    }

    fn unmap(&mut self) {
        if self.mappings.is_empty() {
            return;
        }
        let which = self.below(self.mappings.len() as u64) as usize;
        match self.mappings.swap_remove(which).unmap() {
            Ok(window) => self.windows.push(window),
            Err(failed) => self.mappings.push(failed.mapping),
        }
    }

    /// Writes words over what is mapped: any, and such that look nearly right.
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
                // What lies beyond the page is none of it.
                let _ = bytes.copy_from(at, &next.to_ne_bytes());
            }
        }
    }

    fn copy(&self) {
        let (grants, of) = (Xen::new(self.guest.xen()).grants(), self.anything());
        let mut bytes = self.guest.random().to_ne_bytes();
        let at = self.below(PAGE_SIZE as u64 + 8) as u16;
        // It takes what it can get.
        let _ = grants.fetch(&self.guest.space(), of, at, &mut bytes);
        let _ = grants.store(&self.guest.space(), &self.guest.random().to_ne_bytes(), of, at);
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
            // It may have been closed from the other side.
            let _ = channel.send();
        }
        if self.channels.len() > WINDOWS || self.below(8) == 0 {
            self.channels.pop();
        }
    }
}
