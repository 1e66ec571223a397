//! The console for asynchronous tasks.

use core::fmt;
use core::mem::ManuallyDrop;

use embedded_io_async::{ErrorType, Read, ReadReady, Write};
use xen_pac::base::Virq;

use super::{Console, ConsoleError};
use crate::event::{AsyncListener, Dispatcher, EventError, Events, Kind, Wakers};
use crate::hypercall::Hypercall;
use crate::platform::VcpuId;
use crate::ring::{Wait, YieldWait};

/// A [`Console`] whose operations wait as futures, with the traits of `embedded-io-async`.
///
/// All operations can be cancelled: a typed byte was either returned or stays in the console, and
/// only the bytes that the last complete call reported were written. If the backend does not read,
/// a writer waits for ever; `with_timeout` of `embassy-time` ends the wait.
///
/// ```
/// use embedded_io_async::{Read, Write};
/// use xen_hal::console::{AsyncConsole, ConsoleError};
/// use xen_hal::hypercall::Installed;
///
/// async fn echo(console: &mut AsyncConsole<'_, Installed>) -> Result<(), ConsoleError> {
///     let mut keys = [0; 16];
///     loop {
///         let count = console.read(&mut keys).await?;
///         console.write_all(&keys[..count]).await?;
///     }
/// }
/// ```
pub struct AsyncConsole<'a, H: Hypercall + Copy, W = YieldWait<H>> {
    console: Console<'a, H, W>,
    events: ManuallyDrop<AsyncListener<'a, H>>,
}

impl<'a, H: Hypercall + Copy, W: Wait> AsyncConsole<'a, H, W> {
    /// Listens to the console's events on `vcpu`: those of the ring's port, or
    /// [`Virq::CONSOLE`] in a domain that uses Xen's own console.
    ///
    /// # Errors
    ///
    /// As for [`Wakers::listen`], and as for [`Events::bind_virq`] in a domain that may not read
    /// Xen's console.
    pub fn new<const PORTS: usize, const VCPUS: usize>(
        console: Console<'a, H, W>,
        wakers: &'a Wakers<PORTS>,
        dispatcher: &'a Dispatcher<VCPUS>,
        vcpu: VcpuId,
    ) -> Result<Self, EventError> {
        let events = Events::new(console.xen);
        let channel = match console.port() {
            Some(port) => events.adopt(port, Kind::Interdomain, VcpuId(0)),
            // A global interrupt is bound on vCPU 0. `listen` moves it.
            None => events.bind_virq(Virq::CONSOLE, VcpuId(0))?,
        };
        match wakers.listen(dispatcher, channel, vcpu) {
            Ok(events) => Ok(Self { console, events: ManuallyDrop::new(events) }),
            Err(refused) => {
                if console.port().is_some() {
                    let _ = refused.channel.into_port();
                }
                Err(refused.error)
            }
        }
    }

    /// Returns the console.
    pub const fn console(&mut self) -> &mut Console<'a, H, W> {
        &mut self.console
    }
}

impl<H: Hypercall + Copy, W> Drop for AsyncConsole<'_, H, W> {
    fn drop(&mut self) {
        // SAFETY: the value is not used after this.
        let events = unsafe { ManuallyDrop::take(&mut self.events) };
        let channel = events.into_channel();
        // The ring's port stays open: this value has not created it.
        if channel.kind() == Kind::Interdomain {
            let _ = channel.into_port();
        }
    }
}

impl<H: Hypercall + Copy, W: Wait> ErrorType for AsyncConsole<'_, H, W> {
    type Error = ConsoleError;
}

impl<H: Hypercall + Copy, W: Wait> Read for AsyncConsole<'_, H, W> {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        loop {
            let count = self.console.try_read(bytes)?;
            if count > 0 || bytes.is_empty() {
                return Ok(count);
            }
            self.events.wait().await;
        }
    }
}

impl<H: Hypercall + Copy, W: Wait> ReadReady for AsyncConsole<'_, H, W> {
    fn read_ready(&mut self) -> Result<bool, ConsoleError> {
        self.console.read_ready()
    }
}

impl<H: Hypercall + Copy, W: Wait> Write for AsyncConsole<'_, H, W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
        loop {
            let count = self.console.try_write(bytes)?;
            if count > 0 || bytes.is_empty() {
                return Ok(count);
            }
            self.events.wait().await;
        }
    }

    async fn flush(&mut self) -> Result<(), ConsoleError> {
        while !self.console.is_flushed() {
            self.console.notify()?;
            self.events.wait().await;
        }
        Ok(())
    }
}

impl<H: Hypercall + Copy, W> fmt::Debug for AsyncConsole<'_, H, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncConsole")
            .field("console", &self.console)
            .field("events", &*self.events)
            .finish()
    }
}
