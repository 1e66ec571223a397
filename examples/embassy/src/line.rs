//! Formatted text in a buffer.

use core::fmt;

/// A line of up to 160 bytes; what does not fit is cut.
pub(crate) struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Line {
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Self {
        let mut line = Self { bytes: [0; 160], length: 0 };
        // A line that is cut is shown as far as it fits.
        let _ = fmt::Write::write_fmt(&mut line, text);
        line
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.bytes[self.length..];
        let count = free.len().min(text.len());
        free[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        if count == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
