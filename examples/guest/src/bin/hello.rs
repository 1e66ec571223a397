//! The smallest guest that shows something of each layer: it asks Xen for its version and its features, maps the page that it shares with Xen, and reads the clock
//! there.
#![no_std]
#![no_main]

use guest::{Boot, During, Failure, Page, println};
use xen_hal::hypercall::{Commands, Errno, Hypercall};
use xen_hal::platform::{Counter, Tsc};
use xen_pac::base::Domid;
use xen_pac::features::{Feature, XENFEAT_NR_SUBMAPS};
use xen_pac::hvm::{CallbackVia, HvmParam, XenHvmParam};
use xen_pac::memory::{MapSpace, XenAddToPhysmap};
use xen_pac::shared_info::{SharedInfo, VcpuTimeInfoSnapshot};
use xen_pac::version::XenFeatureInfo;
use xen_pac::{hvm, memory, version};

guest::main!(run);

/// Where the page appears that the guest shares with Xen.
static SHARED_INFO: Page = Page::new();

/// The interrupt vector at which events would arrive. Interrupts stay off here, so none does.
const UPCALL_VECTOR: u8 = 0xf3;

fn run(boot: Boot) -> Result<(), Failure> {
    let xen = &boot.xen;
    println!("hello");
    let release = xen.bare(version::command::Version).during("asking for the version")?;
    println!("Xen {}.{}, reached by {xen:?}", release >> 16, release & 0xffff);
    for index in 0..XENFEAT_NR_SUBMAPS {
        let word = features(xen, index).during("asking for the features")?;
        (0..u32::BITS).filter(|bit| word >> bit & 1 != 0).for_each(|bit| println!("feature {}", Feature(index * u32::BITS + bit)));
    }
    // The order matters: Xen lays out the shared page for the mode that the vCPU is in when it learns the callback.
    set_callback(xen).during("setting the callback")?;
    let shared = map_shared_info(xen).during("mapping shared_info")?;
    let vcpu = shared.vcpu_info(0).ok_or(Failure::new("reading the clock", "shared_info has no vCPU 0"))?;
    let (time, ticks) = vcpu.time().snapshot_with(|| Tsc.read());
    let now = nanoseconds(&time, ticks).ok_or(Failure::new("reading the clock", "Xen has not filled in the time yet"))?;
    println!("{now} ns since Xen started, at tick {ticks}");
    Ok(())
}

/// A word of the feature flags.
fn features(xen: &impl Hypercall, index: u32) -> Result<u32, Errno> {
    let mut word = XenFeatureInfo::new(index);
    xen.argument(version::command::GetFeatures, &mut word)?;
    Ok(word.submap)
}

/// Tells Xen at which vector to announce events.
fn set_callback(xen: &impl Hypercall) -> Result<(), Errno> {
    let via = CallbackVia::vector(UPCALL_VECTOR).map_err(|_| Errno::EINVAL)?;
    let mut parameter = XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, via.encode());
    // SAFETY: the parameter gives Xen no memory, and with interrupts off no upcall will come.
    unsafe { xen.argument_unchecked(hvm::command::SetParam, &mut parameter) }
}

/// Has Xen put the shared page where [`SHARED_INFO`] is.
fn map_shared_info(xen: &impl Hypercall) -> Result<SharedInfo<'static>, Errno> {
    let mut request = XenAddToPhysmap::new(Domid::SELF, 0, MapSpace::SHARED_INFO, 0, SHARED_INFO.frame());
    // SAFETY: the frame's own memory is lost, and nothing is in it.
    unsafe { xen.argument_unchecked(memory::command::AddToPhysmap, &mut request) }?;
    // SAFETY: the page is there now, and stays; it is touched through this handle only.
    Ok(unsafe { SharedInfo::from_ptr(SHARED_INFO.as_ptr()) })
}

/// Xen's clock at a reading of the time stamp counter; `None` before the vCPU's first update.
fn nanoseconds(time: &VcpuTimeInfoSnapshot, ticks: u64) -> Option<u64> {
    if time.tsc_to_system_mul == 0 {
        return None;
    }
    let delta = ticks.wrapping_sub(time.tsc_timestamp);
    let distance = u32::from(time.tsc_shift.unsigned_abs());
    let shifted = if time.tsc_shift < 0 { delta >> distance } else { delta << distance };
    let elapsed = (u128::from(shifted) * u128::from(time.tsc_to_system_mul)) >> 32;
    Some(time.system_time.wrapping_add(elapsed as u64))
}
