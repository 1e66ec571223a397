//! Changes what is at a domain's frames as Xen does (`arch/x86/mm/p2m.c`, `arch/arm/p2m.c`).

use xen_hal::hypercall::Errno;

use super::{Entry, State, VcpuKey};
use crate::raw_memory::MachineFrame;

impl State {
    /// Returns whether a page is memory of a domain, or a Xen page of the domain.
    fn is_page_of(&self, frame: MachineFrame, domain: usize) -> bool {
        let of = &self.domains[domain];
        let tables = [&of.grants.frames, &of.grants.status_frames];
        self.frames.is_of(frame, domain)
            || frame == of.shared
            || tables.iter().any(|table| table.contains(&frame))
    }

    /// Returns the page at a frame of a domain for copies, grants and unmapping: its own memory and
    /// its Xen pages (`get_page_from_gfn`).
    pub(crate) fn page_of(&self, domain: usize, gfn: u64) -> Option<MachineFrame> {
        let is_grant = matches!(self.domains[domain].physmap.get(gfn), Entry::Grant { .. });
        self.own_page_at(domain, gfn).filter(|_| self.profile.finds_grants() || !is_grant)
    }

    /// Returns the page at a frame of a domain if Xen can take a reference of it for the domain
    /// (`get_page`).
    pub(crate) fn own_page_at(&self, domain: usize, gfn: u64) -> Option<MachineFrame> {
        let page = self.domains[domain].physmap.get(gfn).page()?;
        (self.is_page_of(page, domain) && !self.frames.is_released(page)).then_some(page)
    }

    /// Puts a page at a frame, in place of what is there (`p2m_add_page` on x86,
    /// `guest_physmap_add_entry` on Arm).
    pub(crate) fn add_page(
        &mut self,
        by: VcpuKey,
        domain: usize,
        gfn: u64,
        entry: Entry,
    ) -> Result<(), Errno> {
        let at = self.domains[domain].physmap.frame(gfn);
        if self.profile.is_arm() {
            let at = at.ok_or(Errno::EINVAL)?;
            let physmap = &mut self.domains[domain].physmap;
            physmap.highest = physmap.highest.max(gfn);
            return physmap.put(at, entry, &self.memory).map_err(|_| Errno::ENOMEM);
        }
        let (Entry::Ram(page) | Entry::Xen(page) | Entry::Grant { frame: page, .. }) = entry else {
            return Err(Errno::EINVAL);
        };
        let is_own = self.is_page_of(page, domain);
        let physmap = &mut self.domains[domain].physmap;
        if at.is_some_and(|at| matches!(physmap.entry(at), Entry::Grant { .. })) {
            self.crash(by, "it put a page over a mapped grant");
            return Err(Errno::EPERM);
        }
        // A page of the domain is at one frame only, but for grants of it.
        let from = physmap.recorded(page).filter(|from| is_own && Some(*from) != at);
        if let Some(from) = from.filter(|from| physmap.entry(*from).is_own(page)) {
            physmap.put(from, Entry::Empty, &self.memory).map_err(|_| Errno::ENOMEM)?;
        }
        let at = at.ok_or(Errno::ENOENT)?;
        physmap.highest = physmap.highest.max(gfn);
        physmap.put(at, entry, &self.memory).map_err(|_| Errno::ENOMEM)
    }

    /// Empties a frame, and fails if it holds another page (`p2m_remove_entry` on x86,
    /// `p2m_remove_mapping` on Arm).
    pub(crate) fn remove_page(
        &mut self,
        domain: usize,
        at: usize,
        page: MachineFrame,
    ) -> Result<(), Errno> {
        let physmap = &mut self.domains[domain].physmap;
        let there = physmap.entry(at);
        // On x86, Xen does not compare the page of a grant (`p2m_is_valid`).
        let compares = self.profile.is_arm() || !matches!(there, Entry::Grant { .. });
        if compares && there.page().is_some_and(|there| there != page) {
            return Err(Errno::EILSEQ);
        }
        if there.page().is_none() {
            physmap.forget(page);
            return Ok(());
        }
        physmap.put(at, Entry::Empty, &self.memory).map_err(|_| Errno::ENOMEM)
    }

    /// Empties a frame and gives its page back to Xen (`guest_remove_page`). A Xen page stays,
    /// but its domain can no longer use it.
    pub(crate) fn release_page(&mut self, domain: usize, gfn: u64) -> Result<(), Errno> {
        let page = self.own_page_at(domain, gfn).ok_or(Errno::ENXIO)?;
        let at = self.domains[domain].physmap.frame(gfn).ok_or(Errno::ENXIO)?;
        self.remove_page(domain, at, page)?;
        self.frames.give_back(page);
        Ok(())
    }
}
