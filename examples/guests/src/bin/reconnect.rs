//! Restarts the connection to xenstore, with a watch set and a request in flight, and prints what
//! is left of them. Dom0 runs oxenstored, because xenstored does not offer it.
#![no_std]
#![no_main]

use programs::Error;
use rt::{Boot, println};
use xen_hal::xenstore::{Store, StoreError, StoreEvent, Tree};
use xen_pac::xenstore::XsdSockmsgType;

rt::entry!(main);

fn main(boot: Boot) -> Result<(), Error> {
    let (mut storage, mut buffer) = ([0; Store::STORAGE], [0; 64]);
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut store = unsafe { Store::open(&boot.xen, rt::at, &mut storage) }?;
    for round in 0..3 {
        store.watch("data", "token")?;
        let asked = store.submit(XsdSockmsgType::READ, &[b"name\0"])?;
        store.reconnect()?;
        let in_flight = store.answer(asked, &mut buffer);
        println!("| reconnection {round}: in flight: {in_flight:?}");
        assert_eq!(in_flight, Err(StoreError::Reset));
        let event = store.event(&mut buffer)?;
        println!("| event: {event:?}");
        assert_eq!(event, Some(StoreEvent::Reset));
        assert!(!store.unwatch("data", "token")?, "the watch is gone");
        store.write("data/round", "here")?;
        assert_eq!(store.read_str("data/round", &mut buffer)?, "here");
    }
    Ok(())
}
