//! A browser of xenstore on the domain's console. The command line has the first commands, which
//! are separated by semicolons.
#![no_std]
#![no_main]

use programs::{Error, browse};
use rt::{Boot, println};
use xen_hal::console::Console;
use xen_hal::xenstore::Store;

rt::entry!(main);

fn main(boot: Boot) -> Result<(), Error> {
    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(&boot.xen, rt::at) }?;
    // SAFETY: as above.
    let mut store = unsafe { Store::open(&boot.xen, rt::at, &mut storage) }?;
    println!("console: {console:?}, store: {store:?}");
    browse(&mut console, &mut store, boot.command_line())
}
