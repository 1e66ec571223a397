//! Parameters, scheduling, vCPUs and the console.

use std::num::NonZero;
use std::ptr::NonNull;
use std::time::Duration;

use xen_hal::clock::SystemTime;
use xen_hal::event::Port;
use xen_hal::grant::PageMemory;
use xen_hal::hvm::{Hvm, ParamValue, UpcallVector, parameter};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::{Interrupts, VcpuId};
use xen_hal::suspend::{Setup, Suspended};
use xen_hal::vcpu::{Area, UpdateFlag};
use xen_pac::hvm::{CallbackVia, HvmParam};
use xen_pac::sched::ShutdownReason;
use xen_pac::vcpu::Runstate;

use super::hostile::Hostile;
use super::{Operation, debug, good};
use crate::fake::{Fake, Identity};
use crate::input::Input;

const VCPU: VcpuId = VcpuId(3);

/// There are no handlers to be kept away.
struct NoInterrupts;

// SAFETY: there are none.
unsafe impl Interrupts for NoInterrupts {
    fn disable(&self) -> bool {
        false
    }

    unsafe fn enable(&self) {}

    unsafe fn wait(&self) {}
}

macro_rules! parameters {
    ($($name:ident)*) => { [$(|hvm: Hvm<&Fake<'_>>| get(hvm, parameter::$name)),*] };
}

pub(super) const OPERATIONS: &[Operation] = &[
    any_parameter,
    |xen, input| _ = good(xen.hal().hvm().get_raw(HvmParam(input.byte().into()))),
    |xen, _| _ = good(WidthLatch::new(&xen.fake)),
    |xen, input| {
        if let Ok(via) = CallbackVia::vector(input.byte()) {
            good(xen.hal().hvm().set_callback_via(via));
        }
    },
    |xen, input| {
        if let Some(vector) = good(UpcallVector::new(input.byte())) {
            good(xen.hal().hvm().set_upcall_vector(VCPU, vector));
        }
    },
    |xen, _| _ = good(xen.hal().hvm().flush_tlbs()),
    |xen, _| _ = good(xen.hal().sched().yield_now()),
    |xen, _| _ = good(xen.hal().sched().block()),
    |xen, input| {
        _ = good(
            xen.hal()
                .sched()
                .poll(&[Port(1), Port(2)], Some(SystemTime::from_nanos(input.number() as i64))),
        )
    },
    // SAFETY: nothing is registered.
    |xen, _| _ = good(unsafe { xen.hal().sched().suspend() }),
    |xen, _| _ = good(xen.hal().sched().shutdown(ShutdownReason::POWEROFF)),
    |xen, _| _ = good(xen.hal().sched().shutdown_code(ShutdownReason::CRASH)),
    |xen, input| _ = good(xen.hal().sched().pin_override(Some(input.number() as u32))),
    wait,
    watchdog,
    |xen, _| {
        if let Some(times) = good(xen.hal().vcpu(VCPU).runstate()) {
            (0..=u8::MAX).for_each(|state| debug(&times.spent_in(Runstate(state.into()))));
            debug(&times.spent_in(times.state));
        }
    },
    |xen, _| _ = good(xen.hal().vcpu(VCPU).is_up()),
    |xen, _| _ = good(xen.hal().vcpu(VCPU).physical_id()),
    |xen, input| {
        _ = good(xen.hal().vcpu(VCPU).set_periodic_timer(Duration::from_nanos(input.number())))
    },
    |xen, input| {
        _ = good(
            xen.hal()
                .vcpu(VCPU)
                .set_singleshot_timer(SystemTime::from_nanos(input.number() as i64)),
        )
    },
    |xen, _| _ = good(UpdateFlag::request(&xen.fake)),
    |xen, _| {
        // SAFETY: there is no Xen whose layout could differ.
        let latch = unsafe { WidthLatch::assume(&xen.fake) };
        with_area(|area| xen.hal().vcpu(VCPU).register_vcpu_info(&Identity, latch, area).is_ok());
    },
    |xen, _| {
        // SAFETY: there is no Xen whose layout could differ.
        let latch = unsafe { WidthLatch::assume(&xen.fake) };
        with_area(|area| {
            xen.hal().vcpu(VCPU).register_runstate_physical(&Identity, latch, area).is_ok()
        })
    },
    |xen, _| with_area(|area| xen.hal().vcpu(VCPU).register_time_physical(&Identity, area).is_ok()),
    |xen, input| {
        let mut buffer = vec![0; input.byte().into()];
        if let Some(count) = good(xen.hal().emergency_console().read(&mut buffer)) {
            debug(&buffer[..count]);
        }
    },
    suspend,
];

/// A registration that failed can be continued, and every suspend gives the domain back.
fn suspend(xen: &Hostile<'_>, _: &Input) {
    static PAGE: PageMemory = PageMemory::new();
    let setup = Setup {
        callback: CallbackVia::vector(0xf3).ok(),
        vcpus: 2,
        upcall_vector: UpcallVector::new(0xf4).ok(),
        periodic_timer: Some(Duration::from_millis(10)),
        ..Setup::new(&xen.fake, Identity, NonNull::from(&PAGE).cast())
    };
    let time = SystemTime::default;
    // SAFETY: there is no Xen that could map anything, and the page is not used.
    let mut registered = unsafe { setup.register() };
    for _ in 0..4 {
        registered = match registered {
            Ok(domain) => match domain.suspend(time()) {
                Ok(Suspended::Cancelled(domain)) => Ok(domain),
                Ok(Suspended::Restored(restored)) => restored.register(|_| Ok(time())),
                Err(refused) => {
                    debug(&refused);
                    Ok(refused.registered)
                }
            },
            Err(failed) => {
                debug(&failed);
                failed.restored.register(|_| Ok(time()))
            }
        };
    }
}

fn any_parameter(xen: &Hostile<'_>, input: &Input) {
    let all = parameters! {
        CALLBACK_IRQ STORE_PFN STORE_EVTCHN CONSOLE_PFN CONSOLE_EVTCHN ACPI_IOPORTS_LOCATION
        VM86_TSS VM86_TSS_SIZED VM_GENERATION_ID_ADDR X87_FIP_WIDTH ALTP2M VIRIDIAN TIMER_MODE
        HPET_ENABLED VPT_ALIGN IDENT_PT ACPI_S_STATE TRIPLE_FAULT_REASON MCA_CAP IOREQ_PFN
        BUFIOREQ_PFN IOREQ_SERVER_PFN NR_IOREQ_SERVER_PAGES PAGING_RING_PFN MONITOR_RING_PFN
        SHARING_RING_PFN
    };
    all[input.below(all.len())](xen.hal().hvm());
}

/// What was decoded stands for a value that decodes to the same.
fn get<V: ParamValue + std::fmt::Debug>(hvm: Hvm<&Fake<'_>>, parameter: parameter::Parameter<V>) {
    if let Some(value) = good(hvm.get(parameter)) {
        let shown = format!("{value:?}");
        assert_eq!(V::decode(value.encode()).map(|again| format!("{again:?}")), Some(shown));
    }
}

/// An area is taken where it was registered, and only there.
fn with_area<T: xen_pac::access::Data + 'static>(register: impl FnOnce(&'static Area<T>) -> bool) {
    let memory = Box::into_raw(Box::new(Area::<T>::new()));
    // SAFETY: nobody has the area when it goes, below.
    let area: &'static Area<T> = unsafe { &*memory };
    debug(area);
    assert_eq!(register(area), area.is_taken());
    // SAFETY: it comes from a box, and the hypervisor has forgotten it.
    drop(unsafe { Box::from_raw(memory) });
}

fn wait(xen: &Hostile<'_>, input: &Input) {
    let (ports, deadline) = ([Port(7)], SystemTime::from_nanos(input.number() as i64));
    let holds = || input.is_empty() || input.byte() % 4 == 0;
    good(xen.hal().sched().wait_until(&NoInterrupts, &ports, holds));
    let now = || SystemTime::from_nanos(input.number() as i64);
    good(xen.hal().sched().wait_until_deadline(&NoInterrupts, &ports, deadline, now, holds));
}

fn watchdog(xen: &Hostile<'_>, input: &Input) {
    let seconds = NonZero::new(u32::from(input.byte())).unwrap_or(NonZero::<u32>::MIN);
    if let Some(watchdog) = good(xen.hal().sched().start_watchdog(seconds)) {
        debug(&watchdog.id());
        good(watchdog.kick(seconds));
        good(watchdog.stop());
    }
}
