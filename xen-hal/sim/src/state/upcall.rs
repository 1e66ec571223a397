//! Turns an event into an interrupt: pending bits, masks, selectors and upcalls (Xen's
//! `common/event_2l.c` and `arch/x86/hvm/irq.c`).

use core::sync::atomic::Ordering;
use std::sync::Arc;

use xen_pac::base::{Virq, XenUlong};
use xen_pac::shared_info::VcpuInfo;

use super::{Binding, Event, Handler, Run, State, VcpuKey};
use crate::config::FailureKind;

/// The private interrupt that signals events on Arm.
const ARM_INTERRUPT: u8 = 31;
/// The maximum number of delays of an interrupt.
const MAX_DELAYS: u32 = 8;
/// The vector of a non-maskable interrupt.
const NMI: u8 = 2;
const BITS: u32 = XenUlong::BITS;

/// An interrupt that a vCPU can take.
#[derive(Clone, Copy, Debug)]
struct Due {
    vector: u8,
    /// Whether it is the vCPU's own vector, through its local APIC.
    own: bool,
}

/// An interrupt that a vCPU has taken.
pub(crate) struct Interrupt {
    pub(crate) handler: Handler,
    pub(crate) is_nmi: bool,
}

impl State {
    /// Returns a vCPU's `vcpu_info`, if it has one.
    pub(crate) fn info(&self, key: VcpuKey) -> Option<VcpuInfo<'_>> {
        let (frame, offset) = self.vcpu(key).info?;
        self.memory.vcpu_info(frame, offset)
    }

    pub(crate) fn upcall_is_pending(&self, key: VcpuKey) -> bool {
        self.info(key).is_some_and(|info| info.evtchn_upcall_pending().load(Ordering::SeqCst) != 0)
    }

    /// Returns the interrupt that is asserted on a vCPU of the domain as long as it has an upcall
    /// pending.
    fn level_of_domain(&self, key: VcpuKey) -> Option<u8> {
        self.domain(key).upcall_vector.filter(|_| !self.profile.is_arm())
    }

    /// Raises an event at a port (`evtchn_2l_set_pending`).
    pub(crate) fn set_pending(&mut self, domain: usize, port: u32) {
        let (word, bit) = locate(port);
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

    /// Sets a word's bit in a vCPU's selector. Returns whether it was clear.
    fn select(&self, key: VcpuKey, word: usize) -> bool {
        let bit = XenUlong::wrapping_shl(1, word as u32);
        self.info(key).is_some_and(|info| {
            info.evtchn_pending_sel().fetch_or(bit, Ordering::SeqCst) & bit == 0
        })
    }

    /// Unmasks a port, and announces an event that was masked (`evtchn_2l_unmask`).
    pub(crate) fn unmask_port(&mut self, key: VcpuKey, port: u32) {
        let (word, bit) = locate(port);
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

    /// Marks an upcall as pending on a vCPU (`vcpu_mark_events_pending`).
    pub(crate) fn announce(&mut self, key: VcpuKey) {
        let Some(info) = self.info(key) else { return };
        if info.evtchn_upcall_pending().swap(1, Ordering::SeqCst) == 0 {
            self.assert_interrupt(key);
        }
    }

    /// Asserts the interrupt that signals events to a vCPU (`hvm_assert_evtchn_irq`). The vCPU's
    /// own vector is raised once for each upcall that becomes pending, and stays pending while the
    /// local APIC is off. Arm's interrupt is an edge, too, and is lost on a vCPU that is down
    /// (`vgic_inject_irq`).
    pub(crate) fn assert_interrupt(&mut self, key: VcpuKey) {
        if self.profile.is_arm() {
            if self.vcpu(key).is_up() {
                self.vcpu_mut(key).apic.requested = true;
                self.wake(key);
            }
            return;
        }
        let has_level = self.level_of_domain(key).is_some();
        let vcpu = self.vcpu_mut(key);
        if vcpu.own_vector.is_some() {
            vcpu.apic.requested = true;
        }
        if has_level || vcpu.own_vector.is_some() && vcpu.apic.on {
            self.wake(key);
        }
    }

    /// Returns the interrupt that a vCPU takes next if its flag is set. The domain's vector comes
    /// first, even if the vCPU has its own.
    fn due(&self, key: VcpuKey) -> Option<Due> {
        let (vcpu, level) = (self.vcpu(key), self.level_of_domain(key));
        if self.profile.is_arm() {
            let asserted = vcpu.apic.requested;
            return asserted.then_some(Due { vector: ARM_INTERRUPT, own: false });
        }
        if let Some(vector) = level.filter(|_| self.upcall_is_pending(key)) {
            return Some(Due { vector, own: false });
        }
        let own = vcpu
            .own_vector
            .filter(|_| vcpu.apic.on && vcpu.apic.requested && !vcpu.apic.in_service);
        own.map(|vector| Due { vector, own: true })
    }

    /// Returns whether an interrupt can be delivered (`local_events_need_delivery`). On Arm, a set
    /// `evtchn_upcall_pending` counts, even if its interrupt was taken or lost.
    pub(crate) fn can_deliver(&self, key: VcpuKey, interrupts: bool) -> bool {
        let marked = || self.profile.is_arm() && self.upcall_is_pending(key);
        interrupts && (self.due(key).is_some() || marked())
    }

    /// Takes the next interrupt of a vCPU, if its flag is set or it is an NMI.
    pub(crate) fn take_interrupt(
        &mut self,
        key: VcpuKey,
        flag: bool,
        nmi: bool,
    ) -> Option<Interrupt> {
        if nmi && core::mem::take(&mut self.vcpu_mut(key).nmi) {
            return self.handler(key, NMI).map(|handler| Interrupt { handler, is_nmi: true });
        }
        let due = self.due(key).filter(|_| flag)?;
        if self.vcpu(key).delayed < MAX_DELAYS && self.random.once_in(self.rates.late_upcalls) {
            self.vcpu_mut(key).delayed += 1;
            return None;
        }
        self.vcpu_mut(key).delayed = 0;
        self.note(key, Event::Interrupt { vector: due.vector });
        let handler = self.handler(key, due.vector)?;
        if due.own {
            let apic = &mut self.vcpu_mut(key).apic;
            (apic.requested, apic.in_service) = (false, true);
        } else if self.profile.is_arm() {
            self.vcpu_mut(key).apic.requested = false;
        }
        Some(Interrupt { handler, is_nmi: false })
    }

    /// At random, raises an upcall without an event.
    pub(crate) fn raise_spurious_upcall(&mut self, key: VcpuKey) {
        if self.random.once_in(self.rates.spurious_upcalls) {
            self.announce(key);
        }
    }

    /// Stops the machine if an interrupt is due on a vCPU that has taken too many in a row.
    pub(crate) fn stop_for_storm(&mut self, key: VcpuKey) {
        if let Some(Due { vector, .. }) = self.due(key) {
            self.stop(FailureKind::Storm { on: self.name(key), vector });
        }
    }

    fn handler(&mut self, key: VcpuKey, vector: u8) -> Option<Handler> {
        let Some(handler) = self.domain(key).handlers.get(&vector).map(Arc::clone) else {
            self.stop(FailureKind::NoHandler { on: self.name(key), vector });
            return None;
        };
        Some(handler)
    }

    /// Raises a VIRQ of a vCPU.
    pub(crate) fn raise_virq(&mut self, key: VcpuKey, virq: Virq) {
        if let Some(port) = self.domain(key).ports.of_virq(virq, Some(key.vcpu)) {
            self.set_pending(key.domain, port);
        }
    }

    /// Wakes the vCPUs that poll a port. A vCPU that polls several is woken by any event of the
    /// domain (`evtchn_check_pollers`).
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

    /// Returns whether a port is pending.
    pub(crate) fn is_pending(&self, domain: usize, port: u32) -> bool {
        let (word, bit) = locate(port);
        let shared = self.memory.shared_info(self.domains[domain].shared);
        shared.evtchn_pending(word).is_some_and(|pending| pending.load(Ordering::SeqCst) & bit != 0)
    }

    /// Frees a port and clears its event. Its mask stays, and the peer's port becomes unbound
    /// (`evtchn_close`).
    pub(crate) fn close_port(&mut self, domain: usize, port: u32) {
        let id = self.domains[domain].id;
        let closed = &mut self.domains[domain].ports.all[port as usize];
        let binding = core::mem::replace(&mut closed.binding, Binding::Free);
        closed.vcpu = 0;
        if let Binding::Interdomain { remote, port: far } = binding
            && let Some(there) = self.domains.iter_mut().find(|there| there.id == remote)
            && let Some(peer) = there
                .ports
                .all
                .get_mut(far as usize)
                .filter(|peer| matches!(peer.binding, Binding::Interdomain { .. }))
        {
            peer.binding = Binding::Unbound { remote: id };
        }
        let (word, bit) = locate(port);
        if let Some(pending) =
            self.memory.shared_info(self.domains[domain].shared).evtchn_pending(word)
        {
            pending.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Closes all ports but those that Xen uses.
    pub(crate) fn close_all_ports(&mut self, domain: usize) {
        for port in 1..self.domains[domain].ports.all.len() {
            let binding = &self.domains[domain].ports.all[port].binding;
            if ![Binding::Free, Binding::Xen].contains(binding) {
                self.close_port(domain, port as u32);
            }
        }
    }
}

/// Returns the word of a port in the bitmaps, and its bit there.
fn locate(port: u32) -> (usize, XenUlong) {
    ((port / BITS) as usize, XenUlong::wrapping_shl(1, port % BITS))
}
