//! The interface of device backends to the control domain, and the faults of backends.

use core::mem::offset_of;
use core::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::vec::Vec;

use xen_hal::Xen;
use xen_hal::grant::{
    Access, Bytes, ForeignGrant, GrantRef, MapRequest, MapTarget, Mapping, PageMemory,
};
use xen_hal::platform::PAGE_SIZE;
use xen_hal::ring::RingPage;
use xen_pac::base::Domid;
use xen_pac::ring::raw::Sring;

use super::StoreServer;
use crate::guest::Guest;
use crate::platform::Hypervisor;
use crate::vcpu;

/// The fault of a broken or malicious backend, from the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendFault {
    /// Takes requests, and sends no response.
    Silent,
    /// Responds that every request failed.
    Fails,
    /// Responds with an invalid status.
    UnknownStatus,
    /// Responds with a number that no request has.
    WrongId,
    /// Responds to the first request again, instead of to later ones.
    Repeats,
    /// Responds with a wrong operation, or with a flag that was not negotiated.
    WrongOperation,
    /// Announces more responses than there are requests.
    IndexAhead,
    /// Overwrites the ring at random.
    Scribbles,
    /// Maps the granted pages, and does not unmap them.
    KeepsPages,
    /// Closes the device.
    Closes,
    /// Removes its directory from xenstore.
    Vanishes,
}

impl BackendFault {
    /// Every fault.
    pub const ALL: [Self; 11] = [
        Self::Silent,
        Self::Fails,
        Self::UnknownStatus,
        Self::WrongId,
        Self::Repeats,
        Self::WrongOperation,
        Self::IndexAhead,
        Self::Scribbles,
        Self::KeepsPages,
        Self::Closes,
        Self::Vanishes,
    ];
}

/// A mapped page of the guest that holds a ring.
pub(super) struct RingMapping(Mapping<'static, Hypervisor>, NonNull<PageMemory>);

// SAFETY: the page stays mapped for reading and writing as long as the mapping exists, and nothing
// else in the control domain uses its target.
unsafe impl RingPage for RingMapping {
    fn page(&self) -> NonNull<PageMemory> {
        self.1
    }
}

impl RingMapping {
    pub(super) fn into_mapping(self) -> Mapping<'static, Hypervisor> {
        self.0
    }

    pub(super) fn bytes(&self) -> Option<&Bytes> {
        self.0.bytes()
    }
}

impl RingMapping {
    /// Writes invalid values to the ring.
    pub(super) fn attack(&self, fault: BackendFault, guest: Guest) {
        let Some(bytes) = self.bytes() else { return };
        // The offsets are within the page.
        match fault {
            BackendFault::IndexAhead => {
                let at = offset_of!(Sring, rsp_prod);
                let ahead = bytes.load::<u32>(at).unwrap_or(0).wrapping_add(0x4000_0000);
                let _ = bytes.store(at, ahead);
            }
            BackendFault::Scribbles => {
                for _ in 0..64 {
                    let at = guest.random() as usize % PAGE_SIZE / 4 * 4;
                    let _ = bytes.store(at, guest.random() as u32);
                }
            }
            _ => {}
        }
    }
}

/// The part of the control domain that a device backend uses.
pub(super) struct Host<'a> {
    pub(super) guest: Guest,
    pub(super) store: &'a mut StoreServer,
    /// The free targets at which pages of guests can be mapped.
    pub(super) targets: &'a mut Vec<MapTarget<'static>>,
    /// The domain that is served.
    pub(super) domain: Domid,
}

impl Host<'_> {
    /// Maps a page that the served domain grants.
    pub(super) fn map(
        &mut self,
        reference: u32,
        access: Access,
    ) -> Option<Mapping<'static, Hypervisor>> {
        let of = ForeignGrant { domain: self.domain, reference: GrantRef(reference) };
        let request = MapRequest { of, access, target: self.targets.pop()? };
        // SAFETY: the grant is another domain's.
        match unsafe { Xen::new(self.guest.xen()).grants().map(request) } {
            Ok(mapping) => Some(mapping),
            Err(error) => {
                self.targets.push(error.target);
                None
            }
        }
    }

    pub(super) fn unmap(&mut self, mapping: Mapping<'static, Hypervisor>) {
        // Unmapping also succeeds if the granting domain has ended.
        self.targets.extend(mapping.unmap());
    }

    /// Maps the page of a ring.
    pub(super) fn map_ring(&mut self, reference: u32) -> Option<RingMapping> {
        let mapping = self.map(reference, Access::ReadWrite)?;
        let page = mapping.bytes()?.as_ptr();
        Some(RingMapping(mapping, page))
    }
}

/// Locks the world or a device. All vCPUs share a thread, so while another vCPU holds the lock,
/// lets that vCPU run.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(error)) => return error.into_inner(),
            Err(TryLockError::WouldBlock) => match vcpu::try_current() {
                Some(current) => current.relax(),
                None => thread::yield_now(),
            },
        }
    }
}
