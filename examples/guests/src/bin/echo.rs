//! Echoes the lines that are typed on the domain's console, until one is `quit`.
#![no_std]
#![no_main]

use programs::{Error, echo};
use rt::{Boot, println};
use xen_hal::console::Console;

rt::entry!(main);

fn main(boot: Boot) -> Result<(), Error> {
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(&boot.xen, rt::at) }?;
    println!("console: {console:?}");
    echo(&mut console)
}
