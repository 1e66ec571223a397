//! Implements the traits of `embedded-io`.

use embedded_io::{Error, ErrorKind, ErrorType, Read, ReadReady, Write};

use super::{Console, ConsoleError};
use crate::hypercall::{Errno, Hypercall};
use crate::ring::Wait;

impl Error for ConsoleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(Errno::EPERM) => ErrorKind::PermissionDenied,
            Self::Stalled | Self::TimedOut => ErrorKind::TimedOut,
            Self::NotMapped(_) => ErrorKind::AddrNotAvailable,
            Self::Refused(_) | Self::Parameter(_) => ErrorKind::Other,
        }
    }
}

impl<H: Hypercall + Copy, W: Wait> ErrorType for Console<'_, H, W> {
    type Error = ConsoleError;
}

impl<H: Hypercall + Copy, W: Wait> Read for Console<'_, H, W> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        Self::read(self, bytes)
    }
}

impl<H: Hypercall + Copy, W: Wait> ReadReady for Console<'_, H, W> {
    fn read_ready(&mut self) -> Result<bool, ConsoleError> {
        Self::read_ready(self)
    }
}

impl<H: Hypercall + Copy, W: Wait> Write for Console<'_, H, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
        // The trait requires at least one byte, so this waits for room for the first.
        let count = self.try_write(bytes)?;
        if count > 0 || bytes.is_empty() {
            return Ok(count);
        }
        self.write_all(&bytes[..1])?;
        Ok(1 + self.try_write(&bytes[1..])?)
    }

    fn flush(&mut self) -> Result<(), ConsoleError> {
        Self::flush(self)
    }
}
