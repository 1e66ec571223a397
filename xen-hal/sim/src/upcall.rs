//! From an event to an interrupt: pending bits, masks, selectors and upcalls (Xen's
//! `common/event_2l.c` and `arch/x86/hvm/irq.c`).

use core::sync::atomic::Ordering;
use std::sync::Arc;
use std::vec::Vec;

use xen_pac::base::{Virq, XenUlong};
use xen_pac::shared_info::VcpuInfo;

use super::failure::What;
use super::state::{Binding, Handler, Run, State, VcpuKey};

/// The private interrupt by which Arm's guests are told of events.
const ARM_INTERRUPT: u8 = 31;
/// How often an interrupt can come later: in the end it does come.
const MOST_DECLINED: u32 = 8;
/// The vector of the interrupt that no flag keeps away.
const NMI: u8 = 2;
const BITS: u32 = XenUlong::BITS;

/// An interrupt that a vCPU can take.
#[derive(Clone, Copy, Debug)]
struct Due {
    vector: u8,
    /// Whether it is the vCPU's own, and comes through its local APIC.
    own: bool,
}

/// An interrupt that a vCPU has taken.
pub(super) struct Taken {
    pub(super) handler: Handler,
    pub(super) is_nmi: bool,
}

impl State {
    /// A vCPU's block, where it has one.
    pub(super) fn info(&self, key: VcpuKey) -> Option<VcpuInfo<'_>> {
        let (frame, offset) = self.vcpu(key).info?;
        self.memory.vcpu_info(frame, offset)
    }

    pub(super) fn upcall_is_pending(&self, key: VcpuKey) -> bool {
        self.info(key).is_some_and(|info| info.evtchn_upcall_pending().load(Ordering::SeqCst) != 0)
    }

    /// The interrupt that is raised for all vCPUs of a domain as long as they have an upcall
    /// pending.
    fn vector_of_domain(&self, key: VcpuKey) -> Option<u8> {
        if self.profile.is_arm() { Some(ARM_INTERRUPT) } else { self.domain(key).upcall_vector }
    }

    /// An event has come at a port (`evtchn_2l_set_pending`).
    pub(super) fn set_pending(&mut self, domain: usize, port: u32) {
        let (word, bit) = place(port);
        let of = &self.domains[domain];
        let key =
            VcpuKey { domain, vcpu: of.ports.all.get(port as usize).map_or(0, |port| port.vcpu) };
        let shared = self.memory.shared_info(of.shared);
        let (Some(pending), Some(mask)) = (shared.evtchn_pending(word), shared.evtchn_mask(word))
        else {
            return;
        };
        if pending.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
            return;
        }
        if mask.load(Ordering::SeqCst) & bit == 0 && self.select(key, word) {
            self.announce(key);
        }
        if let Some(port) = self.domains[domain].ports.all.get_mut(port as usize) {
            port.raised += 1;
        }
        self.wake_pollers(domain, port);
    }

    /// Sets a word's bit in a vCPU's selector; whether it was clear.
    fn select(&self, key: VcpuKey, word: usize) -> bool {
        let bit = XenUlong::wrapping_shl(1, word as u32);
        self.info(key).is_some_and(|info| {
            info.evtchn_pending_sel().fetch_or(bit, Ordering::SeqCst) & bit == 0
        })
    }

    /// Clears a port's mask, and announces the event that it held back (`evtchn_2l_unmask`).
    pub(super) fn unmask_port(&mut self, key: VcpuKey, port: u32) {
        let (word, bit) = place(port);
        let shared = self.memory.shared_info(self.domain(key).shared);
        let (Some(pending), Some(mask)) = (shared.evtchn_pending(word), shared.evtchn_mask(word))
        else {
            return;
        };
        let was_masked = mask.fetch_and(!bit, Ordering::SeqCst) & bit != 0;
        if was_masked && pending.load(Ordering::SeqCst) & bit != 0 && self.select(key, word) {
            self.announce(key);
        }
    }

    /// Marks a vCPU as having an upcall due, and tells it (`vcpu_mark_events_pending`).
    pub(super) fn announce(&mut self, key: VcpuKey) {
        let Some(info) = self.info(key) else { return };
        if info.evtchn_upcall_pending().swap(1, Ordering::SeqCst) == 0 {
            self.assert_interrupt(key);
        }
    }

    /// Raises the interrupt that tells a vCPU of events (`hvm_assert_evtchn_irq`). One of the
    /// vCPU's own comes once for each upcall that becomes pending; while the local APIC is off it
    /// waits there.
    pub(super) fn assert_interrupt(&mut self, key: VcpuKey) {
        let has_level = self.vector_of_domain(key).is_some();
        let vcpu = self.vcpu_mut(key);
        if vcpu.own_vector.is_some() {
            vcpu.apic.requested = true;
        }
        if has_level || vcpu.own_vector.is_some() && vcpu.apic.on {
            self.wake(key);
        }
    }

    /// The interrupt that a vCPU would take if its flag let it. The domain's comes first: a vector
    /// of the vCPU's own does not take its place.
    fn due(&self, key: VcpuKey) -> Option<Due> {
        let (vcpu, level) = (self.vcpu(key), self.vector_of_domain(key));
        if let Some(vector) = level.filter(|_| self.upcall_is_pending(key)) {
            return Some(Due { vector, own: false });
        }
        let own = vcpu
            .own_vector
            .filter(|_| vcpu.apic.on && vcpu.apic.requested && !vcpu.apic.in_service);
        own.map(|vector| Due { vector, own: true })
    }

    /// Whether an interrupt can be delivered, so that nobody needs to wait for one
    /// (`local_events_need_delivery`).
    pub(super) fn can_deliver(&self, key: VcpuKey, interrupts: bool) -> bool {
        interrupts && self.due(key).is_some()
    }

    /// The interrupt that a vCPU takes now, if its flag lets one in, or it is one that no flag
    /// keeps away.
    pub(super) fn take_interrupt(&mut self, key: VcpuKey, flag: bool, nmi: bool) -> Option<Taken> {
        if nmi && core::mem::take(&mut self.vcpu_mut(key).nmi) {
            return self.handler(key, NMI).map(|handler| Taken { handler, is_nmi: true });
        }
        let due = self.due(key).filter(|_| flag)?;
        if self.vcpu(key).declined < MOST_DECLINED
            && self.random.once_in(self.adversity.late_upcalls)
        {
            self.vcpu_mut(key).declined += 1;
            return None;
        }
        self.vcpu_mut(key).declined = 0;
        let handler = self.handler(key, due.vector)?;
        if due.own {
            let apic = &mut self.vcpu_mut(key).apic;
            (apic.requested, apic.in_service) = (false, true);
        }
        Some(Taken { handler, is_nmi: false })
    }

    /// Has an upcall come that nobody asked for, if chance says so.
    pub(super) fn disturb(&mut self, key: VcpuKey) {
        if self.random.once_in(self.adversity.spurious_upcalls) {
            self.announce(key);
        }
    }

    /// A vCPU takes nothing but interrupts any more: if one is due even now, that is the end.
    pub(super) fn storm(&mut self, key: VcpuKey) {
        if let Some(Due { vector, .. }) = self.due(key) {
            self.stop(What::Storm { on: self.name(key), vector });
        }
    }

    fn handler(&mut self, key: VcpuKey, vector: u8) -> Option<Handler> {
        let Some(handler) = self.domain(key).handlers.get(&vector).map(Arc::clone) else {
            self.stop(What::NoHandler { on: self.name(key), vector });
            return None;
        };
        Some(handler)
    }

    /// A virtual interrupt of a vCPU is raised.
    pub(super) fn raise_virq(&mut self, key: VcpuKey, virq: Virq) {
        if let Some(port) = self.domain(key).ports.of_virq(virq, Some(key.vcpu)) {
            self.set_pending(key.domain, port);
        }
    }

    /// Wakes the vCPUs that poll for a port. One that polls for several is woken by any event of
    /// the domain (`evtchn_check_pollers`).
    fn wake_pollers(&mut self, domain: usize, port: u32) {
        let polls = |run: &Run| match run {
            Run::Polling(ports) if ports.len() == 1 => ports[0] == port,
            Run::Polling(_) => true,
            _ => false,
        };
        let vcpus: Vec<_> = (0..self.domains[domain].vcpus.len())
            .filter(|vcpu| polls(&self.domains[domain].vcpus[*vcpu].run))
            .collect();
        for vcpu in vcpus {
            self.wake(VcpuKey { domain, vcpu });
        }
    }

    /// Whether a port has an event.
    pub(super) fn is_pending(&self, domain: usize, port: u32) -> bool {
        let (word, bit) = place(port);
        let shared = self.memory.shared_info(self.domains[domain].shared);
        shared.evtchn_pending(word).is_some_and(|pending| pending.load(Ordering::SeqCst) & bit != 0)
    }

    /// Frees a port: its event is gone, its mask stays, and a peer's port waits for another peer
    /// (`evtchn_close`).
    pub(super) fn close_port(&mut self, domain: usize, port: u32) {
        let id = self.domains[domain].id;
        let closed = &mut self.domains[domain].ports.all[port as usize];
        let binding = core::mem::replace(&mut closed.binding, Binding::Free);
        closed.vcpu = 0;
        if let Binding::Interdomain { remote, port: far } = binding {
            if let Some(there) = self.domains.iter_mut().find(|there| there.id == remote) {
                if let Some(peer) = there
                    .ports
                    .all
                    .get_mut(far as usize)
                    .filter(|peer| matches!(peer.binding, Binding::Interdomain { .. }))
                {
                    peer.binding = Binding::Unbound { remote: id };
                }
            }
        }
        let (word, bit) = place(port);
        if let Some(pending) =
            self.memory.shared_info(self.domains[domain].shared).evtchn_pending(word)
        {
            pending.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    pub(super) fn close_all_ports(&mut self, domain: usize) {
        for port in 1..self.domains[domain].ports.all.len() {
            if self.domains[domain].ports.all[port].binding != Binding::Free {
                self.close_port(domain, port as u32);
            }
        }
    }
}

/// The word of a port in the bitmaps, and its bit there.
fn place(port: u32) -> (usize, XenUlong) {
    ((port / BITS) as usize, XenUlong::wrapping_shl(1, port % BITS))
}
