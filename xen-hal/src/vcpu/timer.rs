//! The timers that Xen keeps for each vCPU on x86. Both raise `Virq::TIMER`.

use core::time::Duration;

use xen_pac::vcpu::{
    VcpuSetPeriodicTimer, VcpuSetSingleshotTimer, command, singleshot_timer_flags,
};

use super::Vcpu;
use crate::clock::SystemTime;
use crate::hypercall::{Commands, Errno, Hypercall};

impl<H: Hypercall> Vcpu<H> {
    /// Starts the periodic timer, or changes its period. The next tick comes one period after the
    /// last, and so at once where there was none for that long. x86 only. Upstream:
    /// `VCPUOP_set_periodic_timer`.
    ///
    /// It ticks while the vCPU is awake, and wakes nobody: Xen stops it while the vCPU sleeps. A
    /// kernel that sleeps between its ticks sets the singleshot timer anew in each.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a period under a millisecond or over 2^62 - 1 ns, and on Arm.
    pub fn set_periodic_timer(&self, period: Duration) -> Result<(), Errno> {
        // What does not fit is longer than the longest period, and refused as such.
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        self.xen.call(command::SetPeriodicTimer, (self.id, &mut VcpuSetPeriodicTimer::new(nanos)))
    }

    /// Stops the periodic timer. A tick that has been raised stays pending. x86 only. Upstream:
    /// `VCPUOP_stop_periodic_timer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    pub fn stop_periodic_timer(&self) -> Result<(), Errno> {
        self.xen.call(command::StopPeriodicTimer, (self.id, &mut ()))
    }

    /// Sets the singleshot timer of this vCPU, which must be the calling one. If `at` has passed,
    /// the timer fires at once; with [`SystemTime::NEVER`] it never fires. An earlier setting is
    /// replaced. x86 only. Upstream: `VCPUOP_set_singleshot_timer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another vCPU than the calling one, and on Arm.
    pub fn set_singleshot_timer(&self, at: SystemTime) -> Result<(), Errno> {
        self.singleshot(at, 0)
    }

    /// As [`set_singleshot_timer`](Self::set_singleshot_timer), but asks Xen to refuse a moment
    /// that has passed. Releases from 4.17.3 on do not: the timer fires at once, and the call
    /// succeeds. So nothing may depend on the refusal. Upstream: `VCPU_SSHOTTMR_future`.
    ///
    /// # Errors
    ///
    /// As for [`set_singleshot_timer`](Self::set_singleshot_timer), and `ETIME` up to 4.17.2 for a
    /// moment that has passed; no timer is set then.
    pub fn set_singleshot_timer_in_future(&self, at: SystemTime) -> Result<(), Errno> {
        self.singleshot(
            at,
            singleshot_timer_flags::FUTURE.mask << singleshot_timer_flags::FUTURE.shift,
        )
    }

    /// Stops the singleshot timer of this vCPU, which must be the calling one. x86 only. Upstream:
    /// `VCPUOP_stop_singleshot_timer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another vCPU than the calling one, and on Arm.
    pub fn stop_singleshot_timer(&self) -> Result<(), Errno> {
        self.xen.call(command::StopSingleshotTimer, (self.id, &mut ()))
    }

    fn singleshot(&self, at: SystemTime, flags: u32) -> Result<(), Errno> {
        self.xen.call(
            command::SetSingleshotTimer,
            (self.id, &mut VcpuSetSingleshotTimer::new(at.as_nanos() as u64, flags)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::VcpuId;
    use crate::testing::{Script, errno};

    #[test]
    fn periods_are_durations_and_moments_are_points() {
        let xen = Script::new()
            .vcpu(command::SetPeriodicTimer, |vcpu, timer| {
                assert_eq!((vcpu, timer.period_ns), (2, 10_000_000));
                0
            })
            .vcpu(command::StopPeriodicTimer, |_, _| 0)
            .vcpu(command::SetSingleshotTimer, |vcpu, timer| {
                assert_eq!((vcpu, timer.timeout_abs_ns, timer.flags), (2, 1_000_000_007, 0));
                0
            })
            .vcpu(command::SetSingleshotTimer, |_, timer| {
                assert_eq!((timer.timeout_abs_ns, timer.flags), (7, 1));
                errno(Errno::ETIME)
            })
            .vcpu(command::StopSingleshotTimer, |_, _| errno(Errno::EINVAL));
        let vcpu = Vcpu::new(&xen, VcpuId(2));
        vcpu.set_periodic_timer(Duration::from_millis(10)).unwrap();
        vcpu.stop_periodic_timer().unwrap();
        vcpu.set_singleshot_timer(SystemTime::from_nanos(7) + Duration::from_secs(1)).unwrap();
        assert_eq!(
            vcpu.set_singleshot_timer_in_future(SystemTime::from_nanos(7)),
            Err(Errno::ETIME)
        );
        assert_eq!(vcpu.stop_singleshot_timer(), Err(Errno::EINVAL));
    }

    #[test]
    fn a_period_without_end_does_not_become_a_short_one() {
        let xen = Script::new().vcpu(command::SetPeriodicTimer, |_, timer| {
            assert_eq!(timer.period_ns, u64::MAX);
            errno(Errno::EINVAL)
        });
        assert_eq!(
            Vcpu::new(&xen, VcpuId(0)).set_periodic_timer(Duration::MAX),
            Err(Errno::EINVAL)
        );
    }
}
