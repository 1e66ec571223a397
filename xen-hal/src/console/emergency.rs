//! Xen's own console (hypercall `console_io`).

use core::fmt;

use xen_pac::console::command;

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::PAGE_SIZE;

/// The number of bytes per hypercall. Xen returns no count, so after a failure only whole pieces
/// are known to be written.
const PIECE: usize = PAGE_SIZE;

/// The most bytes that Xen lets a domain read at once; it refuses more with `E2BIG`.
const READ_MAX: usize = i32::MAX as usize;

/// Xen's own console, for domains that may use it: the control domain and, on Arm, a domain that
/// Xen started at boot. A debug build of Xen lets other domains write too.
///
/// It has no state and shares no memory, so it suits a panic handler.
///
/// HVM guests on x86 also have the I/O port `XEN_HVM_DEBUGCONS_IOPORT` of [`xen_pac::console`],
/// which needs no hypercall.
#[derive(Clone, Copy, Debug)]
pub struct EmergencyConsole<H> {
    xen: H,
}

impl<H: Hypercall> EmergencyConsole<H> {
    /// Creates a handle that makes its hypercalls through `xen`.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Writes bytes. For a domain that is not the control domain, Xen shows only whole lines, each
    /// after the domain's number, and limits their rate. Upstream: `CONSOLEIO_write`.
    ///
    /// # Errors
    ///
    /// `EPERM` in a domain that may not use it. If a later hypercall fails, returns fewer bytes
    /// than given; some of the remaining bytes may have been written.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        for piece in bytes.chunks(PIECE) {
            match self.xen.call(command::Write, piece) {
                Ok(()) => written += piece.len(),
                Err(errno) if written == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(written)
    }

    /// Writes all bytes.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write). Some bytes may have been written.
    pub fn write_all(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write(bytes)?..];
        }
        Ok(())
    }

    /// Checks whether the domain may use the console, by writing no bytes.
    ///
    /// # Errors
    ///
    /// `EPERM` in a domain that may not.
    pub fn probe(&self) -> Result<(), Errno> {
        self.xen.call(command::Write, &[][..])
    }

    /// Reads typed bytes and returns their number. Does not wait. Upstream: `CONSOLEIO_read`.
    ///
    /// # Errors
    ///
    /// `EPERM` in a domain that may not.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let length = bytes.len().min(READ_MAX);
        let bytes = &mut bytes[..length];
        // SAFETY: Xen writes at most as many bytes as the borrowed slice has.
        let count = unsafe { self.xen.call_unchecked(command::Read, &raw mut *bytes) }?;
        Ok(count.min(length))
    }

    /// Writes formatted text, as `write!` does.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn write_fmt(&self, text: fmt::Arguments<'_>) -> Result<(), Errno> {
        super::write_fmt(text, |piece| self.write_all(piece.as_bytes()))
    }
}

impl<H: Hypercall> fmt::Write for EmergencyConsole<H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, errno};
    use core::fmt::Write;
    use std::vec;

    #[test]
    fn text_is_written_in_pieces() {
        let text: vec::Vec<u8> = (0..PIECE + 10).map(|at| at as u8).collect();
        let xen = Script::new()
            .buffer(command::Write, |bytes| {
                assert_eq!(bytes, &text[..PIECE]);
                0
            })
            .buffer(command::Write, |bytes| {
                assert_eq!(bytes, &text[PIECE..]);
                0
            });
        EmergencyConsole::new(&xen).write_all(&text).unwrap();
    }

    #[test]
    fn a_failure_shows_how_far_it_came() {
        let xen = Script::new()
            .buffer(command::Write, |_| 0)
            .buffer(command::Write, |_| errno(Errno::EFAULT))
            .buffer(command::Write, |_| errno(Errno::EFAULT));
        let (console, text) = (EmergencyConsole::new(&xen), vec![b'a'; 3 * PIECE]);
        assert_eq!(console.write(&text), Ok(PIECE));
        assert_eq!(console.write(&text[PIECE..]), Err(Errno::EFAULT));
        assert_eq!(EmergencyConsole::new(Script::new()).write(b""), Ok(0));
    }

    #[test]
    fn a_refusal_names_its_cause() {
        let refuse = |_: &mut [u8]| errno(Errno::EPERM);
        let xen = Script::new().buffer(command::Write, refuse).buffer(command::Write, refuse);
        let mut console = EmergencyConsole::new(&xen);
        assert_eq!(write!(console, "hello"), Err(Errno::EPERM));
        console.write_str("hello").unwrap_err();
    }

    #[test]
    fn reading_returns_how_much_there_was() {
        let xen = Script::new()
            .buffer(command::Read, |bytes| {
                bytes[..2].copy_from_slice(b"ok");
                2
            })
            .buffer(command::Read, |_| 0)
            .buffer(command::Read, |_| 100)
            .buffer(command::Read, |_| errno(Errno::EPERM));
        let console = EmergencyConsole::new(&xen);
        let mut bytes = [0; 8];
        assert_eq!(console.read(&mut bytes), Ok(2));
        assert_eq!(&bytes, b"ok\0\0\0\0\0\0");
        assert_eq!(console.read(&mut bytes), Ok(0));
        assert_eq!(console.read(&mut bytes), Ok(8));
        assert_eq!(console.read(&mut bytes), Err(Errno::EPERM));
    }
}
