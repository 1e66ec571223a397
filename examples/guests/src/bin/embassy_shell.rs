//! The demonstration of Embassy with its shell, whose command `shutdown` ends it.
#![no_std]
#![no_main]

#[path = "../embassy.rs"]
mod embassy;

use embassy_demo::{EVENTS, Error, WAKERS};
use embassy_executor::Spawner;
use rt::{Boot, println};
use static_cell::StaticCell;
use xen_hal::hypercall::{Installed, installed};
use xen_hal::platform::VcpuId;
use xen_hal::xenstore::{AsyncStore, Store};

rt::entry!(main);

static STORAGE: StaticCell<[u8; Store::STORAGE]> = StaticCell::new();
static STORE: StaticCell<AsyncStore<'static, Installed>> = StaticCell::new();

fn main(boot: Boot) -> Result<(), Error> {
    embassy_demo::keep_running();
    embassy::run(boot, || {
        let (console, store) = (console::open()?, open_store()?);
        Ok(move |spawner: Spawner| {
            if let Ok(shell) = shell(console, store) {
                spawner.spawn(shell);
            }
        })
    })
}

/// Connects to xenstore, if the domain has one.
fn open_store() -> Result<Option<&'static AsyncStore<'static, Installed>>, Error> {
    let storage = STORAGE.init([0; Store::STORAGE]);
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let Ok(store) = (unsafe { Store::open(installed(), rt::at, storage) }) else { return Ok(None) };
    // The shell sends only short requests.
    let store = AsyncStore::new(store, &mut [], &WAKERS, &EVENTS, VcpuId(0));
    Ok(Some(STORE.init(store.map_err(xen_hal::Error::from)?)))
}

#[embassy_executor::task]
async fn shell(
    mut console: console::Console,
    store: Option<&'static AsyncStore<'static, Installed>>,
) {
    if let Err(error) = embassy_demo::shell(&mut console, store).await {
        println!("the console failed: {error}");
    }
}

/// x86: Xen's console, which dom0 reads, or the domain's ring.
#[cfg(not(target_arch = "aarch64"))]
mod console {
    use xen_hal::console::AsyncConsole;

    use super::*;

    pub(super) type Console = AsyncConsole<'static, Installed>;

    pub(super) fn open() -> Result<Console, Error> {
        // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
        let console = unsafe { xen_hal::console::Console::open(installed(), rt::at) };
        let console = console.map_err(xen_hal::Error::from)?;
        let console = AsyncConsole::new(console, &WAKERS, &EVENTS, VcpuId(0));
        Ok(console.map_err(xen_hal::Error::from)?)
    }
}

/// aarch64: the domain's ring, or the UART that Xen emulates, in a domain without a ring.
#[cfg(target_arch = "aarch64")]
mod console {
    use embassy_time::Timer;
    use embedded_io_async::{ErrorType, Read, Write};
    use xen_hal::console::{AsyncConsole, ConsoleError};

    use super::*;

    /// The UART is polled, because the runtime does not handle its interrupt.
    pub(super) enum Console {
        Ring(AsyncConsole<'static, Installed>),
        Uart,
    }

    pub(super) fn open() -> Result<Console, Error> {
        // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
        let console = unsafe { xen_hal::console::Console::open(installed(), rt::at) };
        let console = console.map_err(xen_hal::Error::from)?;
        if console.port().is_none() {
            return Ok(Console::Uart);
        }
        let console = AsyncConsole::new(console, &WAKERS, &EVENTS, VcpuId(0));
        Ok(Console::Ring(console.map_err(xen_hal::Error::from)?))
    }

    impl ErrorType for Console {
        type Error = ConsoleError;
    }

    impl Read for Console {
        async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
            if let Self::Ring(ring) = self {
                return ring.read(bytes).await;
            }
            let Some(first) = bytes.first_mut() else { return Ok(0) };
            loop {
                if let Some(byte) = rt::console::read() {
                    *first = byte;
                    return Ok(1);
                }
                Timer::after_millis(10).await;
            }
        }
    }

    impl Write for Console {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
            if let Self::Ring(ring) = self {
                return ring.write(bytes).await;
            }
            rt::console::write(bytes);
            Ok(bytes.len())
        }

        async fn flush(&mut self) -> Result<(), ConsoleError> {
            match self {
                Self::Ring(ring) => ring.flush().await,
                Self::Uart => Ok(()),
            }
        }
    }
}
