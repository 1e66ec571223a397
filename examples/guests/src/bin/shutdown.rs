//! Prints its name, which xenstore holds, on its console, and ends when the toolstack requests it.
#![no_std]
#![no_main]

use rt::Boot;
use xen_hal::console::Console;
use xen_hal::sched::Sched;
use xen_hal::xenbus::ShutdownControl;
use xen_hal::xenstore::{Store, Tree};

rt::entry!(main);

fn main(boot: Boot) -> Result<(), xen_hal::Error> {
    let xen = &boot.xen;
    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(xen, rt::at) }?;
    // SAFETY: as above.
    let mut store = unsafe { Store::open(xen, rt::at, &mut storage) }?;
    let mut buffer = [0; 64];
    writeln!(console, "I am {}", store.read_str("name", &mut buffer)?)?;
    let control = ShutdownControl::watch(&mut store)?;
    let request = loop {
        // Without an event there is no request. To ask nevertheless would keep xenstored busy.
        if store.event(&mut buffer)?.is_none() {
            Sched::new(xen).yield_now()?;
        } else if let Some(request) = control.take(&mut store)? {
            break request;
        }
    };
    writeln!(console, "shutting down: {request:?}")?;
    Ok(console.flush()?)
}
