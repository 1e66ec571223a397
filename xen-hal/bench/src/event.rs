//! Masks, and dispatching.

use core::ffi::c_void;
use core::ops::ControlFlow;

use xen_hal::event::{AllPorts, Drain, Events, Port, PortSet, ScanCursor, TwoLevel};
use xen_hal::hypercall::Errno;
use xen_pac::shared_info::{VcpuInfo, raw};

use crate::hypercall::Bench;

/// What the handler that is compiled in knows of its events.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The sum of the ports.
    pub sum: u64,
    /// How many there were.
    pub count: u64,
}

impl Tally {
    #[inline(always)]
    fn add(&mut self, port: Port) {
        self.sum = self.sum.wrapping_add(port.0.into());
        self.count = self.count.wrapping_add(1);
    }
}

/// Masks a port.
#[unsafe(export_name = "ours_mask")]
#[inline(never)]
pub fn mask(bitmaps: TwoLevel<'_>, port: Port) -> bool {
    bitmaps.mask(port)
}

/// Unmasks a port, for a vCPU with a set of its own.
#[unsafe(export_name = "ours_unmask")]
#[inline(never)]
pub fn unmask(bitmaps: TwoLevel<'_>, port: Port, own: &PortSet) -> Result<(), Errno> {
    bitmaps.unmask(Events::new(Bench), port, own)
}

/// Unmasks a port, for a guest whose ports are all one vCPU's.
#[unsafe(export_name = "ours_unmask_all")]
#[inline(never)]
pub fn unmask_all(bitmaps: TwoLevel<'_>, port: Port) -> Result<(), Errno> {
    bitmaps.unmask(Events::new(Bench), port, AllPorts)
}

/// Handles the events of a vCPU with a set of its own.
#[unsafe(export_name = "ours_dispatch")]
#[inline(never)]
pub fn dispatch(
    bitmaps: TwoLevel<'_>,
    vcpu: VcpuInfo<'_>,
    own: &PortSet,
    tally: &mut Tally,
) -> Drain {
    bitmaps.dispatch(vcpu, own, |port| tally.add(port))
}

/// Handles the events of a guest whose ports are all one vCPU's.
#[unsafe(export_name = "ours_dispatch_all")]
#[inline(never)]
pub fn dispatch_all(bitmaps: TwoLevel<'_>, vcpu: VcpuInfo<'_>, tally: &mut Tally) -> Drain {
    bitmaps.dispatch(vcpu, AllPorts, |port| tally.add(port))
}

/// As [`dispatch`], with a handler that can stop, and does after `most` events.
#[unsafe(export_name = "ours_try_dispatch")]
#[inline(never)]
pub fn try_dispatch(
    bitmaps: TwoLevel<'_>,
    vcpu: VcpuInfo<'_>,
    own: &PortSet,
    cursor: &ScanCursor,
    tally: &mut Tally,
    most: u64,
) -> Drain {
    bitmaps.try_dispatch(vcpu, own, cursor, |port| {
        tally.add(port);
        if tally.count == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

#[allow(missing_docs, reason = "the C twins of the functions above")]
pub mod twin {
    use super::{Tally, c_void, raw};

    unsafe extern "C" {
        pub fn twin_mask(shared: *mut raw::SharedInfo, port: u32) -> bool;
        pub fn twin_unmask(shared: *mut raw::SharedInfo, port: u32, own: *const u64) -> i32;
        pub fn twin_unmask_all(shared: *mut raw::SharedInfo, port: u32) -> i32;
        pub fn twin_dispatch(
            shared: *mut raw::SharedInfo,
            vcpu: *mut raw::VcpuInfo,
            own: *const u64,
            tally: *mut Tally,
        ) -> bool;
        pub fn twin_dispatch_all(
            shared: *mut raw::SharedInfo,
            vcpu: *mut raw::VcpuInfo,
            tally: *mut Tally,
        ) -> bool;
        pub fn twin_try_dispatch(
            shared: *mut raw::SharedInfo,
            vcpu: *mut raw::VcpuInfo,
            own: *const u64,
            cursor: *mut u32,
            tally: *mut Tally,
            most: u64,
        ) -> bool;
        pub fn twin_dispatch_with(
            shared: *mut raw::SharedInfo,
            vcpu: *mut raw::VcpuInfo,
            own: *const u64,
            cursor: *mut u32,
            handle: extern "C" fn(*mut c_void, u32) -> bool,
            state: *mut c_void,
        ) -> bool;
    }
}
