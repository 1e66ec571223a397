//! An echo: each line that is typed is printed again.

use xen_hal::console::Console;
use xen_hal::hypercall::Hypercall;
use xen_hal::ring::Wait;

use crate::Error;

/// The longest line; what is longer is cut into several.
const LINE_MAX: usize = 128;

/// Prints each line again, until one is `quit`.
///
/// # Errors
///
/// The console's.
pub fn echo<H: Hypercall + Copy, W: Wait>(console: &mut Console<'_, H, W>) -> Result<(), Error> {
    writeln!(console, "type lines; `quit` ends")?;
    let mut line = [0; LINE_MAX];
    loop {
        let length = read_line(console, &mut line)?;
        let text = core::str::from_utf8(&line[..length]).unwrap_or("(that is not text)");
        if text == "quit" {
            writeln!(console, "bye")?;
            return Ok(console.flush()?);
        }
        writeln!(console, "you typed: {text}")?;
    }
}

/// Reads a line without its end. Returns its length.
pub(crate) fn read_line<H: Hypercall + Copy, W: Wait>(
    console: &mut Console<'_, H, W>,
    line: &mut [u8],
) -> Result<usize, Error> {
    let mut length = 0;
    while length < line.len() {
        // Terminals send a carriage return for the Enter key.
        let mut key = [0];
        console.read(&mut key)?;
        match key[0] {
            b'\r' | b'\n' => break,
            // Backspace and delete.
            8 | 127 => length = length.saturating_sub(1),
            key => {
                line[length] = key;
                length += 1;
            }
        }
    }
    Ok(length)
}
