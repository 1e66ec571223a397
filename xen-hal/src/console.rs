//! Xen's own console, for the domains that may use it (hypercall `console_io`; upstream:
//! `xen/include/public/xen.h`).
//!
//! These are the control domain and, on Arm, a domain that Xen itself started; a Xen built for
//! debugging lets others write. All others have a console ring, which is another thing, and HVM
//! guests on x86 have the I/O port `XEN_HVM_DEBUGCONS_IOPORT` of [`xen_pac::console`], which needs
//! no hypercall.
//!
//! ```
//! use core::fmt::Write;
//! use xen_hal::console::Console;
//! use xen_hal::hypercall::Hypercall;
//!
//! fn greet(xen: &impl Hypercall, vcpu: u32) -> core::fmt::Result {
//!     writeln!(Console::new(xen), "hello from vCPU {vcpu}")
//! }
//! ```

use core::fmt;

use xen_pac::console::command;

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::PAGE_SIZE;

/// How many bytes are written by one hypercall. Xen answers 0 for success and no count: in pieces,
/// a failure tells how far it came.
const PIECE: usize = PAGE_SIZE;

/// The most that Xen lets be read at once; more is refused with `E2BIG`.
const MOST: usize = i32::MAX as usize;

/// Xen's console.
#[derive(Clone, Copy, Debug)]
pub struct Console<H> {
    xen: H,
}

/// Not everything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError {
    /// How many bytes were written for certain; of those that follow, some may have been.
    pub written: usize,
    /// Xen's reason.
    pub errno: Errno,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Xen's console took {} bytes and no more: {}", self.written, self.errno)
    }
}

impl core::error::Error for WriteError {}

impl From<WriteError> for Errno {
    fn from(error: WriteError) -> Self {
        error.errno
    }
}

impl<H: Hypercall> Console<H> {
    /// The console, through a backend.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Writes bytes. Of a domain that is not the control domain, Xen shows whole lines only, with
    /// the domain's number before each, and within a rate limit. Upstream: `CONSOLEIO_write`.
    ///
    /// # Errors
    ///
    /// `EPERM` in a domain that may not.
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        let mut written = 0;
        for piece in bytes.chunks(PIECE) {
            self.xen.call(command::Write, piece).map_err(|errno| WriteError { written, errno })?;
            written += piece.len();
        }
        Ok(())
    }

    /// Reads what has been typed into `bytes`, and tells how many bytes that is: 0 where nothing
    /// was, since it does not wait. Upstream: `CONSOLEIO_read`.
    ///
    /// # Errors
    ///
    /// `EPERM` in a domain that may not.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let (bytes, _) = bytes.split_at_mut(bytes.len().min(MOST));
        let length = bytes.len();
        // SAFETY: Xen writes at most `length` bytes, and they are borrowed to be written.
        let count = unsafe { self.xen.call_unchecked(command::Read, bytes) }?;
        Ok(count.min(length))
    }
}

impl<H: Hypercall> fmt::Write for Console<H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes()).map_err(|_| fmt::Error)
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
        Console::new(&xen).write(&text).unwrap();
    }

    #[test]
    fn an_error_tells_how_far_it_came() {
        let xen = Script::new()
            .buffer(command::Write, |_| 0)
            .buffer(command::Write, |_| errno(Errno::EFAULT));
        let error = Console::new(&xen).write(&vec![b'a'; 3 * PIECE]).unwrap_err();
        assert_eq!(error, WriteError { written: PIECE, errno: Errno::EFAULT });
        assert_eq!(Console::new(Script::new()).write(b""), Ok(()));
    }

    #[test]
    fn a_refusal_is_a_formatting_error() {
        let xen = Script::new().buffer(command::Write, |_| errno(Errno::EPERM));
        write!(Console::new(&xen), "hello").unwrap_err();
    }

    #[test]
    fn reading_tells_how_much_there_was() {
        let xen = Script::new()
            .buffer(command::Read, |bytes| {
                bytes[..2].copy_from_slice(b"ok");
                2
            })
            .buffer(command::Read, |_| 0)
            .buffer(command::Read, |_| errno(Errno::EPERM));
        let console = Console::new(&xen);
        let mut bytes = [0; 8];
        assert_eq!(console.read(&mut bytes), Ok(2));
        assert_eq!(&bytes, b"ok\0\0\0\0\0\0");
        assert_eq!(console.read(&mut bytes), Ok(0));
        assert_eq!(console.read(&mut bytes), Err(Errno::EPERM));
    }
}
