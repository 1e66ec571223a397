//! Asks Xen for its version and features, maps the shared page, and reads Xen's clock.
#![no_std]
#![no_main]

use rt::{Boot, Counter, During, Failure, Page, println};
use xen_hal::Xen;
use xen_hal::clock::PvClock;

rt::entry!(main);

static SHARED_INFO: Page = Page::new();

fn main(boot: Boot) -> Result<(), Failure> {
    let xen = Xen::new(&boot.xen);
    println!("hello");
    let release = xen.version().release().during("asking for the version")?;
    println!("Xen {release}, reached by {:?}", boot.xen);
    let features = xen.version().features().during("asking for the features")?;
    features.iter().for_each(|feature| println!("feature {feature}"));
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO)?;
    let vcpu = shared
        .vcpu_info(0)
        .ok_or(Failure::new("reading the clock", "shared_info has no vCPU 0"))?;
    let clock = PvClock::new(features, vcpu.time(), Counter::default())
        .map_err(|_| Failure::new("reading the clock", "it is not safe in this domain"))?;
    let rate = clock
        .frequency()
        .ok_or(Failure::new("reading the clock", "Xen has not filled in the time yet"))?;
    println!("{} ns since Xen started, by a counter of {rate} Hz", clock.now().as_nanos());
    Ok(())
}
