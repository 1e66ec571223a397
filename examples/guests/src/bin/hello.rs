//! Prints Xen's version and features, maps the shared page, and reads Xen's clock.
#![no_std]
#![no_main]

use rt::{Boot, Counter, During, Failure, Page, println};
use xen_hal::Xen;
use xen_hal::version::Features;
use xen_pac::shared_info::SharedInfo;

rt::entry!(main);

static SHARED_INFO: Page = Page::new();

fn main(boot: Boot) -> Result<(), Failure> {
    let xen = Xen::new(&boot.xen);
    println!("hello");
    let release = xen.version().release().during("asking for the version")?;
    println!("Xen {release}, reached by {:?}", boot.xen);
    #[cfg(not(target_arch = "aarch64"))]
    if let Err(error) = print_start_info(&boot) {
        println!("start info: {error}");
        return Err(Failure::new("reading the start info", "it cannot be read"));
    }
    let features = xen.version().features().during("asking for the features")?;
    features.iter().for_each(|feature| println!("feature {feature}"));
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO)?;
    read_clock(features, shared)
}

/// Prints what Xen stored for the entry point: version 1 has a memory map.
#[cfg(not(target_arch = "aarch64"))]
fn print_start_info(boot: &Boot) -> Result<(), xen_hal::start_info::StartInfoError> {
    let info = boot.start_info();
    let (text, modules) = (info.command_line()?, info.modules()?.len());
    let ranges = info.memory_map()?.map_or(0, |map| map.len());
    println!(
        "start info of version {}: command line {text:?}, {modules} modules, {ranges} ranges",
        info.version()
    );
    Ok(())
}

/// Reads the clock that Xen keeps in the shared page.
#[cfg(not(target_arch = "aarch64"))]
fn read_clock(features: Features, shared: SharedInfo<'_>) -> Result<(), Failure> {
    use xen_hal::clock::{Clock, PvClock};
    const READING: &str = "reading the clock";
    let block = shared.vcpu_info(0).ok_or(Failure::new(READING, "vCPU 0 has no block"))?;
    let clock = PvClock::new(features, block.time(), Counter::default())
        .map_err(|_| Failure::new(READING, "it is not safe in this domain"))?;
    let rate =
        clock.frequency().ok_or(Failure::new(READING, "Xen has not filled in the time yet"))?;
    println!("{} ns since Xen started, by a counter of {rate} Hz", clock.now().as_nanos());
    Ok(())
}

/// Reads the counter's clock: Xen keeps none in the shared page.
#[cfg(target_arch = "aarch64")]
fn read_clock(_: Features, _: SharedInfo<'_>) -> Result<(), Failure> {
    use xen_hal::clock::{Clock, CounterClock, TimeOffset};
    let (counter, rate) = (Counter::default(), Counter::default().frequency());
    let clock = CounterClock::new(counter, rate, TimeOffset::ZERO)
        .ok_or(Failure::new("reading the clock", "the counter has no rate"))?;
    println!("{} ns by a counter of {rate} Hz", clock.now().as_nanos());
    Ok(())
}
