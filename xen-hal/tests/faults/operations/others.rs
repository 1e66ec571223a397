//! Version, parameters, scheduling, vCPUs and the console.

use std::num::NonZero;
use std::time::Duration;

use xen_hal::clock::SystemTime;
use xen_hal::hvm::{UpcallVector, parameter};
use xen_hal::hypercall::Errno;
use xen_hal::memory::WidthLatch;
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::{LongMode, UpdateFlag};
use xen_pac::base::Domid;
use xen_pac::hvm::CallbackVia;
use xen_pac::sched::ShutdownReason;

use super::{Operation, single};

const FIRST: VcpuId = VcpuId(0);
const SECOND: VcpuId = VcpuId(1);
const MINUTE: NonZero<u32> = NonZero::new(60).expect("it is not zero");

pub(super) fn operations() -> Vec<Operation> {
    [versions(), hvm(), scheduling(), vcpus(), console()].into_iter().flatten().collect()
}

fn versions() -> Vec<Operation> {
    vec![
        single("Version::release", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().release());
        }),
        single("Version::extraversion", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().extraversion());
        }),
        single("Version::compile_info", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().compile_info());
        }),
        single("Version::capabilities", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().capabilities());
        }),
        single("Version::changeset", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().changeset());
        }),
        single("Version::command_line", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().command_line());
        }),
        single("Version::virtual_start", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().virtual_start());
        }),
        single("Version::features", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().features());
        }),
        single("Version::page_size", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().page_size());
        }),
        single("Version::guest_handle", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().version().guest_handle());
        }),
    ]
}

fn hvm() -> Vec<Operation> {
    vec![
        single("Hvm::get", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().hvm().get(parameter::STORE_EVTCHN));
        }),
        single("Hvm::set_callback_via", |kernel, attempt| {
            let via = CallbackVia::vector(0xf4).expect("it is no exception's");
            attempt.during(kernel.guest, || kernel.xen().hvm().set_callback_via(via));
        }),
        single("Hvm::set_upcall_vector", |kernel, attempt| {
            let vector = UpcallVector::new(0xf4).expect("it is no exception's");
            attempt.during(kernel.guest, || kernel.xen().hvm().set_upcall_vector(FIRST, vector));
        }),
        single("Hvm::flush_tlbs", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().hvm().flush_tlbs());
        }),
    ]
}

fn scheduling() -> Vec<Operation> {
    vec![
        single("Sched::yield_now", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().sched().yield_now());
        }),
        single("Sched::poll", |kernel, attempt| {
            let until = SystemTime::from_nanos(1);
            attempt.during(kernel.guest, || kernel.xen().sched().poll(&[], Some(until)));
        }),
        single("Sched::wait_until", |kernel, attempt| {
            let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
            kernel.bitmaps().mask(channel.port());
            channel.send().expect("the port is an IPI's");
            let mut looks = 0;
            let condition = || {
                looks += 1;
                looks > 1
            };
            attempt.during(kernel.guest, || {
                kernel.xen().sched().wait_until(
                    &kernel.guest.interrupts(),
                    &[channel.port()],
                    condition,
                )
            });
        }),
        single("Sched::shutdown_code", |kernel, attempt| {
            attempt.during(kernel.guest, || {
                kernel.xen().sched().shutdown_code(ShutdownReason::POWEROFF)
            });
        }),
        single("Sched::remote_shutdown, of oneself, which is refused", |kernel, attempt| {
            attempt.during(kernel.guest, || {
                match kernel.xen().sched().remote_shutdown(Domid::SELF, ShutdownReason::POWEROFF) {
                    Err(Errno::ESRCH) => Ok(()),
                    other => other,
                }
            });
        }),
        single("Sched::pin_override", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().sched().pin_override(Some(0)));
        }),
        single("Sched::start_watchdog", |kernel, attempt| {
            attempt.during(kernel.guest, || {
                kernel.xen().sched().start_watchdog(MINUTE).map(|watchdog| watchdog.id())
            });
        }),
        single("Watchdog::kick", |kernel, attempt| {
            let watchdog = kernel.xen().sched().start_watchdog(MINUTE).expect("one is free");
            attempt.during(kernel.guest, || watchdog.kick(MINUTE));
        }),
        single("Watchdog::stop", |kernel, attempt| {
            let watchdog = kernel.xen().sched().start_watchdog(MINUTE).expect("one is free");
            attempt.during(kernel.guest, || watchdog.stop());
        }),
    ]
}

fn vcpus() -> Vec<Operation> {
    vec![
        single("Vcpu::initialise", |kernel, attempt| {
            let state = LongMode::new(0x1000, 0x2000, 0x3000);
            // SAFETY: the vCPU is not brought up.
            attempt
                .during(kernel.guest, || unsafe { kernel.xen().vcpu(SECOND).initialise(&state) });
        }),
        single("Vcpu::up", |kernel, attempt| {
            kernel.guest.set_program(SECOND, |_| ());
            // SAFETY: the vCPU runs the program that was prepared.
            unsafe { kernel.xen().vcpu(SECOND).initialise(&LongMode::new(0x1000, 0x2000, 0x3000)) }
                .expect("the state can be");
            attempt.during(kernel.guest, || kernel.xen().vcpu(SECOND).up());
        }),
        single("Vcpu::down", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().vcpu(SECOND).down());
        }),
        single("Vcpu::is_up", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().vcpu(SECOND).is_up());
        }),
        single("Vcpu::runstate", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().vcpu(SECOND).runstate());
        }),
        single("Vcpu::set_periodic_timer", |kernel, attempt| {
            attempt.during(kernel.guest, || {
                kernel.xen().vcpu(FIRST).set_periodic_timer(Duration::from_millis(2))
            });
        }),
        single("Vcpu::stop_periodic_timer", |kernel, attempt| {
            kernel
                .xen()
                .vcpu(FIRST)
                .set_periodic_timer(Duration::from_millis(2))
                .expect("it is long enough");
            attempt.during(kernel.guest, || kernel.xen().vcpu(FIRST).stop_periodic_timer());
        }),
        single("Vcpu::set_singleshot_timer", |kernel, attempt| {
            let later = SystemTime::from_nanos(i64::MAX - 1);
            attempt.during(kernel.guest, || kernel.xen().vcpu(FIRST).set_singleshot_timer(later));
        }),
        single("Vcpu::stop_singleshot_timer", |kernel, attempt| {
            kernel
                .xen()
                .vcpu(FIRST)
                .set_singleshot_timer(SystemTime::from_nanos(i64::MAX - 1))
                .expect("it is its own");
            attempt.during(kernel.guest, || kernel.xen().vcpu(FIRST).stop_singleshot_timer());
        }),
        single("Vcpu::register_vcpu_info", |kernel, attempt| {
            let guest = kernel.guest;
            let latch = WidthLatch::new(guest.xen()).expect("the callback can be read and set");
            // SAFETY: the page is the area's alone, and nothing outlives the machine.
            let area = unsafe { guest.area(5) };
            attempt.during(guest, || {
                kernel.xen().vcpu(SECOND).register_vcpu_info(&guest.space(), latch, area)
            });
            assert_eq!(
                area.is_taken(),
                attempt.fails.is_none(),
                "an area that was refused can be used again"
            );
        }),
        single("UpdateFlag::request", |kernel, attempt| {
            attempt.during(kernel.guest, || UpdateFlag::request(kernel.guest.xen()));
        }),
        single("Vcpu::register_runstate", |kernel, attempt| {
            // SAFETY: as above.
            let area = unsafe { kernel.guest.area(5) };
            let latch = WidthLatch::new(kernel.guest.xen()).expect("the callback can be set");
            // SAFETY: there is one address space.
            attempt.during(kernel.guest, || unsafe {
                kernel.xen().vcpu(SECOND).register_runstate(latch, area)
            });
            assert_eq!(
                area.is_taken(),
                attempt.fails.is_none(),
                "an area that was refused can be used again"
            );
        }),
        single("Vcpu::register_time", |kernel, attempt| {
            // SAFETY: as above.
            let area = unsafe { kernel.guest.area(5) };
            // SAFETY: there is one address space.
            attempt
                .during(kernel.guest, || unsafe { kernel.xen().vcpu(SECOND).register_time(area) });
            assert_eq!(
                area.is_taken(),
                attempt.fails.is_none(),
                "an area that was refused can be used again"
            );
        }),
    ]
}

fn console() -> Vec<Operation> {
    vec![
        single("EmergencyConsole::write", |kernel, attempt| {
            attempt
                .during(kernel.guest, || kernel.xen().emergency_console().write_all(b"a line\n"));
        }),
        single("EmergencyConsole::read", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().emergency_console().read(&mut [0; 16]));
        }),
    ]
}
