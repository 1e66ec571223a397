//! The clock, and one timer for each vCPU.

use core::ffi::c_int;

use xen_hal::clock::{Clock, SystemTime};
use xen_hal::hypercall::Errno;

use super::events::XenEvents;
use super::storage::{create, done, get, stores};

/// The size of a `struct xen_clock` in bytes.
pub const XEN_CLOCK_SIZE: usize = 64;

/// A vCPU's clock and timer. It must be static, and zero before the first call. On x86, only that
/// vCPU can use it.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct XenClock {
    opaque: [u64; XEN_CLOCK_SIZE / 8],
}

stores!(XenClock, arch::Time, b"xen_clck");

/// Creates the clock of `vcpu`. On aarch64, `events` and `vcpu` are unused.
///
/// Errors: `-EINVAL` if a pointer is null, `events` is not initialised, or has no such vCPU;
/// `-EBUSY` if the clock exists; `-ENODEV` if Xen's clock cannot be used in this domain (on x86,
/// Xen lacks `XENFEAT_hvm_safe_pvclock`; on aarch64, the counter has no rate).
///
/// # Safety
///
/// `clock` must be static, and `events` one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_clock_init(
    clock: *mut XenClock,
    events: *const XenEvents,
    vcpu: u32,
) -> c_int {
    // SAFETY: the caller's obligation.
    let new = || unsafe { arch::Time::new(events, vcpu) };
    // SAFETY: as above.
    done(unsafe { create(clock, new) })
}

/// Returns the time in nanoseconds: on x86, since Xen started; on aarch64, since the domain
/// started. It does not run backwards on one vCPU.
///
/// Errors: `-EINVAL` if `clock` is null or not initialised.
///
/// # Safety
///
/// `clock` must be one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_clock_now(clock: *const XenClock) -> i64 {
    // SAFETY: the caller's obligation.
    match unsafe { get(clock) } {
        // Negative only before Xen's first tick.
        Ok(time) => time.clock.now().as_nanos().max(0),
        Err(errno) => -i64::from(errno.number()),
    }
}

/// Sets the vCPU's timer to the time `at`, in nanoseconds of its clock. A time in the past fires at
/// once, and `INT64_MAX` never. Each call replaces the last.
///
/// On x86 the timer raises the event of `VIRQ_TIMER`. On aarch64 it raises the interrupt of the
/// virtual timer, PPI 27, until the handler sets or stops the timer.
///
/// Errors: `-EINVAL` if `clock` is null or not initialised, or `at` is negative.
///
/// # Safety
///
/// `clock` must be the `struct xen_clock` of the calling vCPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_timer_set(clock: *const XenClock, at: i64) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { get(clock) }.and_then(|time| {
        if at < 0 {
            return Err(Errno::EINVAL);
        }
        time.set_timer(SystemTime::from_nanos(at))
    }))
}

/// Stops the vCPU's timer.
///
/// Errors: `-EINVAL` if `clock` is null or not initialised.
///
/// # Safety
///
/// As for `xen_timer_set`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_timer_stop(clock: *const XenClock) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { get(clock) }.and_then(arch::Time::stop_timer))
}

#[cfg(not(target_arch = "aarch64"))]
mod arch {
    use xen_hal::Xen;
    use xen_hal::clock::{PvClock, SystemTime};
    use xen_hal::hypercall::{Errno, installed};
    use xen_hal::platform::VcpuId;

    use super::super::Counter;
    use super::super::events::{XenEvents, vcpu_info};
    use super::super::storage::errno;

    /// Xen's clock, and the vCPU's one-shot timer.
    pub(crate) struct Time {
        pub(super) clock: PvClock<'static, Counter>,
        vcpu: VcpuId,
    }

    impl Time {
        /// # Safety
        ///
        /// `events` must be null or such a struct.
        pub(super) unsafe fn new(events: *const XenEvents, vcpu: u32) -> Result<Self, Errno> {
            // SAFETY: the caller's obligation.
            let info = unsafe { vcpu_info(events, vcpu) }?;
            let features = Xen::new(installed()).version().features()?;
            let clock = PvClock::new(features, info.time(), Counter).map_err(errno)?;
            Ok(Self { clock, vcpu: VcpuId(vcpu) })
        }

        pub(super) fn set_timer(&self, at: SystemTime) -> Result<(), Errno> {
            Xen::new(installed()).vcpu(self.vcpu).set_singleshot_timer(at)
        }

        pub(super) fn stop_timer(&self) -> Result<(), Errno> {
            Xen::new(installed()).vcpu(self.vcpu).stop_singleshot_timer()
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use xen_hal::clock::{CounterClock, SystemTime, TimeOffset};
    use xen_hal::hypercall::Errno;
    use xen_hal::platform::LocalTimer;

    use super::super::Counter;
    use super::super::events::XenEvents;

    /// The virtual counter and the virtual timer.
    pub(crate) struct Time {
        pub(super) clock: CounterClock<Counter>,
    }

    impl Time {
        /// # Safety
        ///
        /// None.
        pub(super) unsafe fn new(_: *const XenEvents, _: u32) -> Result<Self, Errno> {
            let clock = CounterClock::new(Counter, Counter.frequency(), TimeOffset::ZERO);
            clock.map(|clock| Self { clock }).ok_or(Errno::ENODEV)
        }

        pub(super) fn set_timer(&self, at: SystemTime) -> Result<(), Errno> {
            timer().set(self.clock.ticks_at(at));
            Ok(())
        }

        pub(super) fn stop_timer(&self) -> Result<(), Errno> {
            timer().stop();
            Ok(())
        }
    }

    fn timer() -> LocalTimer {
        // SAFETY: the program gave the timer to this library, and handles its interrupt.
        unsafe { LocalTimer::new() }
    }
}
