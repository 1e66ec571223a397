//! Reading the clock.

use core::ffi::c_void;

use xen_hal::clock::{Clock, Instant, Monotonic, PvClock, SystemTime};
use xen_hal::platform::{Counter, Tsc};
use xen_hal::version::Features;
use xen_pac::shared_info::{VcpuTimeInfo, raw};

/// A counter that is a C function.
#[derive(Clone, Copy)]
pub struct Callback {
    /// Called with the state for each reading.
    pub read: extern "C" fn(*mut c_void) -> u64,
    /// Whatever the function needs.
    pub state: *mut c_void,
}

impl Counter for Callback {
    #[inline(always)]
    fn read(&self) -> u64 {
        (self.read)(self.state)
    }
}

/// The clock over a block, in a domain that has all features.
pub fn over<C: Counter>(block: VcpuTimeInfo<'_>, counter: C) -> PvClock<'_, C> {
    PvClock::new(Features::from_words([u32::MAX]), block, counter).expect("it has the feature")
}

/// The system time.
#[unsafe(export_name = "ours_now")]
#[inline(never)]
pub fn now(clock: PvClock<'_, Tsc>) -> SystemTime {
    clock.now()
}

/// The kernel's monotonic time.
#[unsafe(export_name = "ours_monotonic")]
#[inline(never)]
pub fn monotonic(clock: PvClock<'_, Tsc>, line: &Monotonic) -> Instant {
    clock.instant(line)
}

/// Ticks to nanoseconds.
#[unsafe(export_name = "ours_scale")]
#[inline(never)]
pub fn scale(delta: i64, mul: u32, shift: i8) -> i64 {
    xen_hal::clock::scale(delta, mul, shift)
}

#[allow(missing_docs, reason = "the C twins of the functions above")]
pub mod twin {
    use super::{c_void, raw};

    /// The kernel's time line: the latest instant, and what is added to a system time.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Line {
        pub latest: i64,
        pub offset: i64,
    }

    unsafe extern "C" {
        pub safe fn twin_scale(delta: i64, mul: u32, shift: i8) -> i64;
        pub fn twin_now(block: *mut raw::VcpuTimeInfo) -> i64;
        pub fn twin_now_with(
            block: *mut raw::VcpuTimeInfo,
            read: extern "C" fn(*mut c_void) -> u64,
            state: *mut c_void,
        ) -> i64;
        pub fn twin_monotonic(block: *mut raw::VcpuTimeInfo, line: *mut Line) -> i64;
        pub fn twin_monotonic_with(
            block: *mut raw::VcpuTimeInfo,
            line: *mut Line,
            read: extern "C" fn(*mut c_void) -> u64,
            state: *mut c_void,
        ) -> i64;
    }
}
