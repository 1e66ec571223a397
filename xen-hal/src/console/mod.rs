//! Writes text to the domain's console, and reads keys (upstream:
//! `xen/include/public/io/console.h`).
//!
//! A domain has a ring that it shares with a backend in the control domain (HVM parameters
//! `CONSOLE_PFN` and `CONSOLE_EVTCHN`), or it may use Xen's own console. [`Console::open`] selects
//! the one that exists:
//!
//! ```
//! use core::ptr::NonNull;
//! use xen_hal::console::{Console, ConsoleError};
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::platform::Frame;
//! use xen_hal::sched::Sched;
//! use xen_pac::console_ring::raw::XenconsInterface;
//! use xen_pac::sched::ShutdownReason;
//!
//! /// `map` returns the address at which the guest maps a frame.
//! fn greet<H: Hypercall + Copy>(
//!     xen: H,
//!     map: impl FnOnce(Frame) -> Option<NonNull<XenconsInterface>>,
//! ) -> Result<(), ConsoleError> {
//!     // SAFETY: the frame stays mapped, and only this console uses it.
//!     let mut console = unsafe { Console::open(xen, map) }?;
//!     writeln!(console, "hello from {}", "a guest")?; // the error is a `ConsoleError`
//!
//!     let mut keys = [0; 16];
//!     let count = console.try_read(&mut keys)?; // 0 if nothing was typed
//!     write!(console, "{count} keys")?;
//!
//!     // The ring ends with the domain, so wait until the backend has read it.
//!     console.flush()
//! }
//! # xen_sim::storm_with_dom0(10, |_, _| (), |guest| greet(guest.xen(), |at| guest.frame(at)));
//! ```
//!
//! [`port`](Console::port) has an event when a key was typed, or when the backend has read.
//! `write!` turns `"\n"` into `"\r\n"` on the ring, as terminals on the other side expect; the byte
//! methods do not.
//!
//! The backend is not trusted: it can send arbitrary bytes, and it can stop reading. Then
//! [`Console`] waits once, as long as its [`Wait`] permits. After that, it fails at once until the
//! backend reads again.
//!
//! Features: `embedded-io` implements the traits of that crate, `embedded-io-async` adds an
//! `AsyncConsole`, `log` adds a `ConsoleLog`.

use core::fmt;
use core::ptr::NonNull;

use xen_pac::console_ring::{XenconsInterface, raw};

use crate::event::Port;
use crate::hvm::{Hvm, ParameterError, parameter};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::Frame;
use crate::ring::{Wait, YieldWait};

#[cfg(feature = "embedded-io-async")]
mod asynch;
mod emergency;
#[cfg(feature = "embedded-io")]
mod io;
#[cfg(feature = "log")]
mod log;
mod ring;
#[cfg(test)]
mod tests;

#[cfg(feature = "embedded-io-async")]
pub use asynch::AsyncConsole;
pub use emergency::EmergencyConsole;
#[cfg(feature = "log")]
pub use log::ConsoleLog;

use ring::RingConsole;

/// A console operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// Xen refused. `EPERM`: the domain has no console ring, and may not use Xen's own console.
    #[error("{}: {}", .0, refusal(*.0))]
    Refused(Errno),
    /// The parameters of the ring cannot be read.
    #[error("the console ring cannot be found: {0}")]
    Parameter(#[from] ParameterError),
    /// The guest has no mapping of the ring's frame.
    #[error("the console ring's frame {:#x} is not mapped", .0.0)]
    NotMapped(Frame),
    /// The backend does not read.
    #[error("the console's backend does not read")]
    Stalled,
    /// No key was typed during the wait.
    #[error("no key was typed in time")]
    TimedOut,
}

fn refusal(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "the domain has no console ring and may not use Xen's own console",
        _ => "Xen refused access to the console",
    }
}

/// The domain's console: its ring or, if it has none, Xen's own console.
pub struct Console<'a, H, W = YieldWait<H>> {
    xen: H,
    transport: Transport<'a>,
    wait: W,
    /// A key that [`read_ready`](Self::read_ready) took from Xen's console.
    peeked: Option<u8>,
}

#[derive(Debug)]
enum Transport<'a> {
    Ring(RingConsole<'a>),
    Xen,
}

impl<'a, H: Hypercall + Copy> Console<'a, H> {
    /// Opens the domain's console. If it has a ring, calls `map` with the ring's frame; `map`
    /// returns the address at which the guest maps it.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Refused`] with `EPERM` if the domain has no console;
    /// [`ConsoleError::NotMapped`] if `map` returns `None`; [`ConsoleError::Parameter`].
    ///
    /// # Safety
    ///
    /// For all of `'a`, the frame must be mapped at the address that `map` returns, with the
    /// caching of ordinary memory, and nothing else in the guest may access it.
    pub unsafe fn open(
        xen: H,
        map: impl FnOnce(Frame) -> Option<NonNull<raw::XenconsInterface>>,
    ) -> Result<Self, ConsoleError> {
        // SAFETY: the caller's obligations are the same.
        let transport = unsafe { Transport::find(xen, map) }?;
        Ok(Self { xen, transport, wait: YieldWait::new(xen), peeked: None })
    }

    /// Creates a console over a ring that the guest has found itself, for example in a device tree.
    pub fn over_ring(xen: H, ring: XenconsInterface<'a>, port: Port) -> Self {
        let transport = Transport::Ring(RingConsole::new(ring, port));
        Self { xen, transport, wait: YieldWait::new(xen), peeked: None }
    }

    /// Creates a console over Xen's own console. Does not check that the domain may use it.
    pub const fn over_xen(xen: H) -> Self {
        Self { xen, transport: Transport::Xen, wait: YieldWait::new(xen), peeked: None }
    }

    /// Replaces the way in which the console waits for the backend.
    #[must_use]
    pub fn with_wait<W: Wait>(self, wait: W) -> Console<'a, H, W> {
        let Self { xen, transport, peeked, .. } = self;
        Console { xen, transport, wait, peeked }
    }
}

impl<'a> Transport<'a> {
    /// # Safety
    ///
    /// As for [`Console::open`].
    unsafe fn find<H: Hypercall + Copy>(
        xen: H,
        map: impl FnOnce(Frame) -> Option<NonNull<raw::XenconsInterface>>,
    ) -> Result<Self, ConsoleError> {
        let hvm = Hvm::new(xen);
        let place = hvm.get(parameter::CONSOLE_PFN)?.zip(hvm.get(parameter::CONSOLE_EVTCHN)?);
        let Some((frame, port)) = place else {
            EmergencyConsole::new(xen).probe().map_err(ConsoleError::Refused)?;
            return Ok(Self::Xen);
        };
        let page = map(frame).ok_or(ConsoleError::NotMapped(frame))?;
        // SAFETY: the caller guarantees that the ring is mapped there for `'a`, and that only this
        // console uses it.
        let page = unsafe { XenconsInterface::from_ptr(page) };
        Ok(Self::Ring(RingConsole::new(page, port)))
    }
}

impl<'a, H: Hypercall + Copy, W: Wait> Console<'a, H, W> {
    /// Opens the console again after a restore, in which the toolstack has emptied the ring and may
    /// have bound a different port.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open). The console is unchanged then.
    ///
    /// # Safety
    ///
    /// As for [`open`](Self::open).
    pub unsafe fn reopen(
        &mut self,
        map: impl FnOnce(Frame) -> Option<NonNull<raw::XenconsInterface>>,
    ) -> Result<(), ConsoleError> {
        // SAFETY: the caller's obligations are the same.
        self.transport = unsafe { Transport::find(self.xen, map) }?;
        Ok(())
    }

    /// Returns the ring's port, which has an event when a key was typed or when the backend has
    /// read; `None` for Xen's own console. In the control domain,
    /// [`Virq::CONSOLE`](xen_pac::base::Virq::CONSOLE) announces keys of Xen's console.
    #[must_use]
    pub const fn port(&self) -> Option<Port> {
        match &self.transport {
            Transport::Ring(ring) => Some(ring.port()),
            Transport::Xen => None,
        }
    }

    /// Writes as many bytes as fit, and returns their number; 0 if the ring is full. Does not wait.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Refused`].
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
        match &mut self.transport {
            Transport::Ring(ring) => {
                let count = ring.put(bytes);
                if count > 0 {
                    ring.notify(self.xen)?;
                }
                Ok(count)
            }
            Transport::Xen => {
                EmergencyConsole::new(self.xen).write(bytes).map_err(ConsoleError::Refused)
            }
        }
    }

    /// Writes all bytes, and waits for the backend to make room.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Refused`]; [`ConsoleError::Stalled`] if the backend does not read. Some
    /// bytes may have been written.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), ConsoleError> {
        self.put_all(bytes)?;
        self.notify()
    }

    /// Writes formatted text for `write!` and `writeln!`. Unlike [`fmt::Write`], returns the cause
    /// of an error.
    ///
    /// # Errors
    ///
    /// As for [`write_all`](Self::write_all).
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> Result<(), ConsoleError> {
        write_fmt(text, |piece| self.put_text(piece))?;
        self.notify()
    }

    /// Reads typed bytes and returns their number. Does not wait.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Refused`].
    pub fn try_read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        match &mut self.transport {
            Transport::Ring(ring) => ring.take(self.xen, bytes),
            Transport::Xen => {
                let Some((first, rest)) = bytes.split_first_mut() else { return Ok(0) };
                match self.peeked.take() {
                    // The next call returns further bytes, or the error.
                    Some(peeked) => {
                        *first = peeked;
                        Ok(1 + EmergencyConsole::new(self.xen).read(rest).unwrap_or(0))
                    }
                    None => self.read_from_xen(bytes),
                }
            }
        }
    }

    /// Reads at least one byte. Waits for the first.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Refused`]; [`ConsoleError::TimedOut`] if no key is typed.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        let mut attempt = 0;
        loop {
            let count = self.try_read(bytes)?;
            if count > 0 || bytes.is_empty() {
                return Ok(count);
            }
            if self.wait.wait(self.port().unwrap_or(Port(0)), attempt).is_break() {
                return Err(ConsoleError::TimedOut);
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// Returns whether [`try_read`](Self::try_read) would return a byte.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Refused`].
    pub fn read_ready(&mut self) -> Result<bool, ConsoleError> {
        match &self.transport {
            Transport::Ring(ring) => Ok(ring.has_input()),
            Transport::Xen if self.peeked.is_some() => Ok(true),
            Transport::Xen => {
                let mut byte = [0];
                let count = self.read_from_xen(&mut byte)?;
                self.peeked = (count > 0).then_some(byte[0]);
                Ok(count > 0)
            }
        }
    }

    /// True if the backend has read everything.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        match &self.transport {
            Transport::Ring(ring) => ring.is_drained(),
            Transport::Xen => true,
        }
    }

    /// Waits until the backend has read everything. Call it before a shutdown.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Stalled`] if the backend does not read; [`ConsoleError::Refused`].
    pub fn flush(&mut self) -> Result<(), ConsoleError> {
        let Transport::Ring(ring) = &mut self.transport else { return Ok(()) };
        let mut attempt = 0;
        while !ring.is_drained() {
            if attempt == 0 {
                ring.notify(self.xen)?;
            }
            ring.wait(&mut self.wait, attempt)?;
            attempt = attempt.saturating_add(1);
        }
        Ok(())
    }

    /// Writes text, with `"\r\n"` for `"\n"` on the ring.
    fn put_text(&mut self, text: &str) -> Result<(), ConsoleError> {
        if matches!(self.transport, Transport::Xen) {
            return self.put_all(text.as_bytes());
        }
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    self.put_all(line.as_bytes())?;
                    self.put_all(b"\r\n")?;
                }
                None => self.put_all(line.as_bytes())?,
            }
        }
        Ok(())
    }

    /// Writes all bytes. The backend is notified only when the ring is full.
    fn put_all(&mut self, mut bytes: &[u8]) -> Result<(), ConsoleError> {
        let ring = match &mut self.transport {
            Transport::Ring(ring) => ring,
            Transport::Xen => {
                let console = EmergencyConsole::new(self.xen);
                return console.write_all(bytes).map_err(ConsoleError::Refused);
            }
        };
        // While the backend reads, waiting continues: the number of bytes bounds the loop.
        let mut attempt = 0;
        while !bytes.is_empty() {
            let count = ring.put(bytes);
            bytes = &bytes[count..];
            if count > 0 {
                attempt = 0;
                continue;
            }
            if attempt == 0 {
                ring.notify(self.xen)?;
            }
            ring.wait(&mut self.wait, attempt)?;
            attempt = attempt.saturating_add(1);
        }
        Ok(())
    }

    fn read_from_xen(&self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        EmergencyConsole::new(self.xen).read(bytes).map_err(ConsoleError::Refused)
    }

    fn notify(&self) -> Result<(), ConsoleError> {
        match &self.transport {
            Transport::Ring(ring) => ring.notify(self.xen),
            Transport::Xen => Ok(()),
        }
    }
}

impl<H: Hypercall + Copy, W: Wait> fmt::Write for Console<'_, H, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put_text(text).and_then(|()| self.notify()).map_err(|_| fmt::Error)
    }
}

impl<H, W> fmt::Debug for Console<'_, H, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// Writes formatted text with `write`, and returns the error of `write`.
fn write_fmt<E: Copy>(
    text: fmt::Arguments<'_>,
    write: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    struct Adapter<F, E> {
        write: F,
        result: Result<(), E>,
    }

    impl<E: Copy, F: FnMut(&str) -> Result<(), E>> fmt::Write for Adapter<F, E> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            // A value can continue after an error, which is kept.
            self.result = self.result.and_then(|()| (self.write)(text));
            self.result.map_err(|_| fmt::Error)
        }
    }

    let mut adapter = Adapter { write, result: Ok(()) };
    // If a value's formatting fails, the text ends without a console error.
    let _ = fmt::Write::write_fmt(&mut adapter, text);
    adapter.result
}
