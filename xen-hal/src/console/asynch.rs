//! The console for asynchronous tasks.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use embedded_io_async::{ErrorType, Read, ReadReady, Write};
use xen_pac::base::Virq;

use super::{Console, ConsoleError};
use crate::event::{AsyncListener, Dispatcher, EventError, Events, Wakers};
use crate::hypercall::Hypercall;
use crate::platform::VcpuId;
use crate::ring::{PortListener, Wait, YieldWait};

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
    events: Listener<'a, H>,
}

/// Wakes a task that waits for the console.
enum Listener<'a, H: Hypercall + Copy> {
    Ring(PortListener<'a, H>),
    /// Listens to [`Virq::CONSOLE`].
    Xen(AsyncListener<'a, H>),
}

impl<H: Hypercall + Copy> Listener<'_, H> {
    /// Registers the task for the next event, then calls `check`: see [`PortListener::poll`].
    fn poll<T>(&mut self, context: &Context<'_>, check: impl FnOnce() -> T) -> T {
        match self {
            Self::Ring(listener) => listener.poll(context, check),
            Self::Xen(listener) => {
                // The earlier event needs no further look, because `check` comes after it.
                let _ = listener.poll_wait(context);
                check()
            }
        }
    }
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
        let events = match console.port() {
            Some(port) => {
                Listener::Ring(PortListener::new(events, port, wakers, dispatcher, vcpu)?)
            }
            None => {
                // A global interrupt is bound on vCPU 0. `listen` moves it.
                let channel = events.bind_virq(Virq::CONSOLE, VcpuId(0))?;
                let listener = wakers.listen(dispatcher, channel, vcpu);
                Listener::Xen(listener.map_err(|refused| refused.error)?)
            }
        };
        Ok(Self { console, events })
    }

    /// Stops listening, and returns the console, for example to reopen it after a restore.
    #[must_use]
    pub fn into_console(self) -> Console<'a, H, W> {
        let Self { console, events } = self;
        drop(events);
        console
    }

    /// Returns the console.
    pub const fn console(&mut self) -> &mut Console<'a, H, W> {
        &mut self.console
    }
}

impl<'a, H: Hypercall + Copy, W: Wait> AsyncConsole<'a, H, W> {
    /// Waits until `step` moves a byte, unless it need not, and returns the number of bytes.
    async fn until(
        &mut self,
        need: bool,
        mut step: impl FnMut(&mut Console<'a, H, W>) -> Result<usize, ConsoleError>,
    ) -> Result<usize, ConsoleError> {
        let Self { console, events } = self;
        poll_fn(|context| {
            events.poll(context, || match step(console) {
                Ok(0) if need => Poll::Pending,
                result => Poll::Ready(result),
            })
        })
        .await
    }
}

impl<H: Hypercall + Copy, W: Wait> ErrorType for AsyncConsole<'_, H, W> {
    type Error = ConsoleError;
}

impl<H: Hypercall + Copy, W: Wait> Read for AsyncConsole<'_, H, W> {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        self.until(!bytes.is_empty(), |console| console.try_read(bytes)).await
    }
}

impl<H: Hypercall + Copy, W: Wait> ReadReady for AsyncConsole<'_, H, W> {
    fn read_ready(&mut self) -> Result<bool, ConsoleError> {
        self.console.read_ready()
    }
}

impl<H: Hypercall + Copy, W: Wait> Write for AsyncConsole<'_, H, W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
        self.until(!bytes.is_empty(), |console| console.try_write(bytes)).await
    }

    async fn flush(&mut self) -> Result<(), ConsoleError> {
        let step = |console: &mut Console<'_, H, W>| {
            if console.is_flushed() {
                return Ok(1);
            }
            console.notify().map(|()| 0)
        };
        self.until(true, step).await.map(drop)
    }
}

impl<H: Hypercall + Copy, W> fmt::Debug for AsyncConsole<'_, H, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncConsole").field("console", &self.console).finish_non_exhaustive()
    }
}
