//! A shell on the console.

use core::fmt;
use core::sync::atomic::Ordering;

use embassy_time::Instant;
use embedded_io_async::{Read, Write};
use xen_hal::Xen;
use xen_hal::hypercall::installed;

use crate::line::Line;
use crate::{STATUS, end};

const HELP: &str = "help | version | features | clock | events | shutdown";

/// Reads commands and carries them out, until one is `shutdown`.
///
/// # Errors
///
/// The console's.
pub async fn shell<C: Read + Write>(console: &mut C) -> Result<(), C::Error> {
    say(console, format_args!("{HELP}")).await?;
    loop {
        let mut line = [0; 64];
        let length = read_line(console, &mut line).await?;
        let command = core::str::from_utf8(&line[..length]).unwrap_or_default().trim();
        if command == "shutdown" {
            say(console, format_args!("bye")).await?;
            console.flush().await?;
            end();
            return Ok(());
        }
        carry_out(console, command).await?;
        console.write_all(b"> ").await?;
    }
}

async fn carry_out<C: Read + Write>(console: &mut C, command: &str) -> Result<(), C::Error> {
    let version = Xen::new(installed()).version();
    match command {
        "" => Ok(()),
        "version" => match version.release() {
            Ok(release) => say(console, format_args!("Xen {release}")).await,
            Err(error) => say(console, format_args!("{error}")).await,
        },
        "features" => {
            let Ok(features) = version.features() else {
                return say(console, format_args!("Xen does not say")).await;
            };
            for feature in features.iter() {
                say(console, format_args!("{feature}")).await?;
            }
            Ok(())
        }
        "clock" => {
            let (ticks, worst) = (&STATUS.ticks, &STATUS.worst);
            say(console, format_args!("{} ns", Instant::now().as_ticks())).await?;
            let (ticks, worst) = (ticks.load(Ordering::Relaxed), worst.load(Ordering::Relaxed));
            say(console, format_args!("{ticks} ticks, late by at most {worst} ns")).await
        }
        "events" => {
            let (upcalls, numbers) = (&STATUS.upcalls, &STATUS.numbers);
            let (upcalls, numbers) =
                (upcalls.load(Ordering::Relaxed), numbers.load(Ordering::Relaxed));
            say(console, format_args!("{upcalls} upcalls, {numbers} numbers through the ring"))
                .await
        }
        _ => say(console, format_args!("{HELP}")).await,
    }
}

async fn say<C: Write>(console: &mut C, text: fmt::Arguments<'_>) -> Result<(), C::Error> {
    console.write_all(Line::new(format_args!("{text}\r\n")).as_bytes()).await
}

/// Reads a line without its end. Returns its length.
async fn read_line<C: Read>(console: &mut C, line: &mut [u8]) -> Result<usize, C::Error> {
    let mut length = 0;
    while length < line.len() {
        let mut key = [0];
        console.read(&mut key).await?;
        STATUS.used.store(true, Ordering::Relaxed);
        match key[0] {
            // Terminals send a carriage return for the Enter key.
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
