//! The smallest guest that shows something of each layer: it asks Xen for its version and its
//! features, maps the page that it shares with Xen, and reads the clock there.
#![no_std]
#![no_main]

use guest::{Boot, During, Failure, Page, println};
use xen_hal::Xen;
use xen_hal::clock::PvClock;
use xen_hal::platform::{IdentityMap, Tsc};
use xen_pac::hvm::CallbackVia;

guest::main!(run);

/// Where the page appears that the guest shares with Xen.
static SHARED_INFO: Page = Page::new();

/// The interrupt vector at which events would arrive. Interrupts stay off here, so none does.
const UPCALL_VECTOR: u8 = 0xf3;

fn run(boot: Boot) -> Result<(), Failure> {
    let xen = Xen::new(&boot.xen);
    println!("hello");
    let release = xen.version().release().during("asking for the version")?;
    println!("Xen {release}, reached by {:?}", boot.xen);
    let features = xen.version().features().during("asking for the features")?;
    features.iter().for_each(|feature| println!("feature {feature}"));
    // The order matters, and the latch keeps it: Xen lays out the shared page for the mode that the
    // vCPU is in when it learns the callback.
    let via = CallbackVia::vector(UPCALL_VECTOR)
        .map_err(|_| Failure::new("setting the callback", "the vector is none"))?;
    let latch = xen
        .hvm()
        .set_callback_via(via)
        .map_err(|_| Failure::new("setting the callback", "Xen refuses the vector"))?;
    // SAFETY: this runtime maps memory to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: nothing is kept in the page, which stays mapped and is touched through this handle
    // only.
    let shared = unsafe { xen.memory().map_shared_info(&space, SHARED_INFO.as_ptr(), latch) }
        .map_err(|_| Failure::new("mapping shared_info", "Xen refuses the page"))?;
    let vcpu = shared
        .vcpu_info(0)
        .ok_or(Failure::new("reading the clock", "shared_info has no vCPU 0"))?;
    let clock = PvClock::new(features, vcpu.time(), Tsc)
        .map_err(|_| Failure::new("reading the clock", "it is not safe in this domain"))?;
    let rate = clock
        .frequency()
        .ok_or(Failure::new("reading the clock", "Xen has not filled in the time yet"))?;
    println!("{} ns since Xen started, by a counter of {rate} Hz", clock.now().as_nanos());
    Ok(())
}
