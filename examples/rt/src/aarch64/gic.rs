//! The interrupt controller, GICv2 or GICv3: upcalls and the virtual timer are private interrupts
//! of each vCPU.

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arm_gic::gicv2::GicV2;
use arm_gic::gicv3::{GicCpuInterface, GicV3};
use arm_gic::{IntId, InterruptGroup, UniqueMmioPointer};
use xen_hal::platform::VcpuId;

use super::device_tree::{GicAddresses, Platform};
use super::{interrupts, vcpus};
use crate::MAX_VCPUS;
use crate::handler::{TIMER, UPCALL};

/// The interrupt numbers of upcalls and of the virtual timer.
static UPCALL_NUMBER: AtomicU32 = AtomicU32::new(0);
static TIMER_NUMBER: AtomicU32 = AtomicU32::new(0);

enum Gic {
    None,
    V2(GicV2<'static>),
    V3(GicV3<'static>),
}

/// The driver, for one vCPU at a time.
struct Driver {
    gic: UnsafeCell<Gic>,
    busy: AtomicBool,
}

// SAFETY: `with` lets one vCPU at a time use the driver.
unsafe impl Sync for Driver {}

static DRIVER: Driver = Driver { gic: UnsafeCell::new(Gic::None), busy: AtomicBool::new(false) };

impl Driver {
    /// Uses the driver. Interrupts must be off.
    fn with<T>(&self, work: impl FnOnce(&mut Gic) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: `busy` keeps other vCPUs away, and no interrupt comes meanwhile.
        let result = work(unsafe { &mut *self.gic.get() });
        self.busy.store(false, Ordering::Release);
        result
    }
}

/// Sets up the driver, on the first vCPU.
///
/// # Safety
///
/// The addresses are those of the interrupt controller, mapped as device memory and used by nothing
/// else. Interrupts are off.
pub(super) unsafe fn prepare(platform: &Platform) {
    UPCALL_NUMBER.store(platform.upcall, Ordering::Relaxed);
    TIMER_NUMBER.store(platform.timer, Ordering::Relaxed);
    let gic = match platform.gic {
        GicAddresses::V2 { distributor, cpu_interface } => {
            let (distributor, cpu_interface) = (
                ptr::with_exposed_provenance_mut(distributor),
                ptr::with_exposed_provenance_mut(cpu_interface),
            );
            // SAFETY: the caller's promise.
            Gic::V2(unsafe { GicV2::new(distributor, cpu_interface) })
        }
        GicAddresses::V3 { distributor, redistributors } => {
            let pointers = NonNull::new(ptr::with_exposed_provenance_mut(distributor))
                .zip(NonNull::new(ptr::with_exposed_provenance_mut(redistributors)));
            let Some((distributor, redistributors)) = pointers else {
                panic!("expected the GIC's addresses in the device tree, found 0");
            };
            // SAFETY: the caller's promise.
            let distributor = unsafe { UniqueMmioPointer::new(distributor) };
            // SAFETY: the caller's promise.
            let gic = unsafe { GicV3::new(distributor, redistributors, MAX_VCPUS) };
            let Ok(mut gic) = gic else { panic!("expected a GICv3 or v4, found another") };
            gic.distributor().configure_default_settings();
            Gic::V3(gic)
        }
    };
    DRIVER.with(|driver| *driver = gic);
}

/// Lets the calling vCPU get its upcalls and timer interrupts. Interrupts must be off.
pub(super) fn enable_for(vcpu: VcpuId) {
    let cpu = vcpu.0 as usize;
    let numbers = [&UPCALL_NUMBER, &TIMER_NUMBER].map(ppi);
    let enabled = DRIVER.with(|gic| match gic {
        Gic::None => false,
        Gic::V2(gic) => {
            gic.setup();
            numbers.into_iter().all(|number| gic.enable_interrupt(number, true).is_ok())
        }
        Gic::V3(gic) => {
            gic.init_cpu(cpu);
            if let Ok(mut redistributor) = gic.redistributor(cpu) {
                redistributor.configure_default_settings();
            }
            GicCpuInterface::set_priority_mask(0xff);
            GicCpuInterface::enable_group1(true);
            numbers.into_iter().all(|number| gic.enable_interrupt(number, Some(cpu), true).is_ok())
        }
    });
    assert!(enabled, "the interrupts of vCPU {vcpu} can be enabled");
}

fn ppi(number: &AtomicU32) -> IntId {
    IntId::ppi(number.load(Ordering::Relaxed) - 16)
}

/// Handles the interrupt that the calling vCPU took.
pub(super) extern "C" fn interrupt() {
    let number = DRIVER.with(|gic| match gic {
        Gic::None => None,
        Gic::V2(gic) => gic.get_and_acknowledge_interrupt(InterruptGroup::Group0),
        Gic::V3(_) => GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1),
    });
    // A withdrawn interrupt has no number.
    let Some(number) = number else { return };
    if number == ppi(&UPCALL_NUMBER) {
        UPCALL.call();
    } else if number == ppi(&TIMER_NUMBER) {
        interrupts::timer().mask();
        TIMER.call();
    } else {
        panic!("expected an upcall or the timer, found {number:?} on vCPU {}", vcpus::current());
    }
    DRIVER.with(|gic| match gic {
        Gic::None => {}
        Gic::V2(gic) => gic.end_interrupt(number, InterruptGroup::Group0),
        Gic::V3(_) => GicCpuInterface::end_interrupt(number, InterruptGroup::Group1),
    });
}
