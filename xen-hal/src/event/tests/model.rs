//! A model of Xen's side of the two-level form.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::boxed::Box;
use std::sync::Mutex;
use std::vec::Vec;

use xen_pac::base::XenUlong;
use xen_pac::command::Command;
use xen_pac::event_channel::{EvtchnBindVcpu, EvtchnUnmask, command};
use xen_pac::hypercall::HypercallNr;
use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};

use crate::event::{Port, TwoLevel};
use crate::hypercall::{Errno, Hypercall};
use crate::testing::{argument_at, errno};

pub(super) const BITS: u32 = XenUlong::BITS;

/// A hypervisor with one domain, whose shared page is ordinary memory. It may be used from several
/// threads.
pub(super) struct Xen {
    page: Box<UnsafeCell<raw::SharedInfo>>,
    /// The vCPU that each port notifies; those not listed notify vCPU 0.
    vcpus: Mutex<Vec<(u32, u32)>>,
    /// How often each vCPU was interrupted.
    pub(super) upcalls: [AtomicU32; 2],
    /// How many hypercalls were made.
    pub(super) calls: AtomicUsize,
}

// SAFETY: the page is touched through atomics only.
unsafe impl Sync for Xen {}

impl Xen {
    pub(super) fn new() -> Self {
        Self {
            page: Box::new(UnsafeCell::new(raw::SharedInfo::ZEROED)),
            vcpus: Mutex::default(),
            upcalls: Default::default(),
            calls: AtomicUsize::new(0),
        }
    }

    pub(super) fn shared(&self) -> SharedInfo<'_> {
        // SAFETY: the page lives as long as the model, and is accessed through such handles only.
        unsafe { SharedInfo::from_ptr(NonNull::new(self.page.get()).unwrap()) }
    }

    pub(super) fn bitmaps(&self) -> TwoLevel<'_> {
        TwoLevel::new(self.shared())
    }

    pub(super) fn vcpu(&self, vcpu: u32) -> VcpuInfo<'_> {
        self.shared().vcpu_info(vcpu as usize).unwrap()
    }

    pub(super) fn upcall_pending(&self, vcpu: u32) -> bool {
        self.vcpu(vcpu).evtchn_upcall_pending().load(SeqCst) != 0
    }

    pub(super) fn selector(&self, vcpu: u32) -> XenUlong {
        self.vcpu(vcpu).evtchn_pending_sel().load(SeqCst)
    }

    pub(super) fn upcalls(&self, vcpu: usize) -> u32 {
        self.upcalls[vcpu].load(SeqCst)
    }

    pub(super) fn notify(&self, port: Port, vcpu: u32) {
        let mut vcpus = self.vcpus.lock().unwrap();
        vcpus.retain(|(known, _)| *known != port.0);
        vcpus.push((port.0, vcpu));
    }

    fn notified(&self, port: u32) -> u32 {
        self.vcpus
            .lock()
            .unwrap()
            .iter()
            .find(|(known, _)| *known == port)
            .map_or(0, |(_, vcpu)| *vcpu)
    }

    /// An event for a port: what Xen does when a peer sends.
    pub(super) fn raise(&self, port: Port) {
        let (word, bit) = place(port.0);
        if self.shared().evtchn_pending(word).unwrap().fetch_or(bit, SeqCst) & bit != 0 {
            return;
        }
        if self.shared().evtchn_mask(word).unwrap().load(SeqCst) & bit == 0 {
            self.select(port.0);
        }
    }

    /// What Xen does when it unmasks.
    fn unmask(&self, port: u32) -> isize {
        if port >= TwoLevel::PORTS {
            return errno(Errno::EINVAL);
        }
        let (word, bit) = place(port);
        let masked = self.shared().evtchn_mask(word).unwrap().fetch_and(!bit, SeqCst) & bit != 0;
        if masked && self.shared().evtchn_pending(word).unwrap().load(SeqCst) & bit != 0 {
            self.select(port);
        }
        0
    }

    /// Tells the port's vCPU, unless it was told of the word already.
    fn select(&self, port: u32) {
        let vcpu = self.notified(port);
        let bit = 1 << (port / BITS);
        if self.vcpu(vcpu).evtchn_pending_sel().fetch_or(bit, SeqCst) & bit == 0
            && self.vcpu(vcpu).evtchn_upcall_pending().fetch_or(1, SeqCst) == 0
        {
            self.upcalls[vcpu as usize].fetch_add(1, SeqCst);
        }
    }

    fn answer(&self, number: u32, arguments: &[usize]) -> isize {
        self.calls.fetch_add(1, SeqCst);
        assert_eq!(number, HypercallNr::EVENT_CHANNEL_OP.0);
        let &[command, argument, ..] = arguments else { panic!("{arguments:?}") };
        match command as u32 {
            command::Unmask::NUMBER => {
                // SAFETY: the typed call for this command passes this argument.
                self.unmask(unsafe { argument_at::<EvtchnUnmask>(argument) }.port)
            }
            command::BindVcpu::NUMBER => {
                // SAFETY: as above.
                let bind = unsafe { argument_at::<EvtchnBindVcpu>(argument) };
                if bind.vcpu as usize >= self.upcalls.len() {
                    return errno(Errno::ENOENT);
                }
                self.notify(Port(bind.port), bind.vcpu);
                0
            }
            other => panic!("command {other}"),
        }
    }
}

fn place(port: u32) -> (usize, XenUlong) {
    ((port / BITS) as usize, 1 << (port % BITS))
}

// SAFETY: the tests rely on nothing that the model does not do.
unsafe impl Hypercall for Xen {
    crate::testing::hypercall_by_answer!();
}
