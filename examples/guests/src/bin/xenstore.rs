//! Tries every operation of xenstore, and prints what the server answers.
#![no_std]
#![no_main]

use programs::{Error, probe};
use rt::{Boot, println};
use xen_hal::console::Console;
use xen_hal::xenstore::Store;

rt::entry!(main);

fn main(boot: Boot) -> Result<(), Error> {
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(&boot.xen, rt::at) }?;
    let mut storage = [0; Store::STORAGE];
    // SAFETY: as above.
    let mut store = unsafe { Store::open(&boot.xen, rt::at, &mut storage) }?;
    let mut written = 0;
    probe(&mut store, &mut console, &mut |line| {
        written += 1;
        println!("| {line}");
    })?;
    println!("guest: lines written: {written}");
    Ok(())
}
