//! A shell on the console.

use core::fmt;
use core::pin::pin;
use core::sync::atomic::Ordering;

use embassy_futures::select::{Either, select};
use embassy_time::Instant;
use embedded_io_async::{Read, Write};
use xen_hal::Xen;
use xen_hal::hypercall::{Installed, installed};
use xen_hal::xenstore::{AsyncStore, AsyncTree};

use crate::line::Line;
use crate::{STATUS, end};

const HELP: &str = "help | version | features | clock | events | store [PATH] | shutdown";

/// The domain's xenstore, if it has one.
type Store<'s> = Option<&'s AsyncStore<'static, Installed>>;

/// Reads commands and carries them out, until one is `shutdown`. Moves xenstore's messages
/// meanwhile.
///
/// # Errors
///
/// The console's.
pub async fn shell<C: Read + Write>(console: &mut C, store: Store<'_>) -> Result<(), C::Error> {
    let mut commands = pin!(commands(console, store));
    if let Some(store) = store
        && let Either::Second(result) = select(store.run(), &mut commands).await
    {
        return result;
    }
    // Without the connection, the command `store` fails.
    commands.await
}

async fn commands<C: Read + Write>(console: &mut C, store: Store<'_>) -> Result<(), C::Error> {
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
        match command.split_once(' ').unwrap_or((command, "")) {
            ("store", path) => show_node(console, store, path.trim()).await?,
            _ => carry_out(console, command).await?,
        }
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

/// Prints the value of a node and the names of its children. Without a path, the node is the
/// domain's directory.
async fn show_node<C: Write>(
    console: &mut C,
    store: Store<'_>,
    path: &str,
) -> Result<(), C::Error> {
    let Some(store) = store else {
        return say(console, format_args!("the domain has no xenstore")).await;
    };
    let (mut home, mut buffer) = ([0; 64], [0; 1024]);
    let path = if path.is_empty() {
        let number = store.read_number("domid").await.map(xen_hal::pac::base::Domid);
        let home = match number {
            Ok(number) => store.domain_path(number, &mut home).await,
            Err(error) => Err(error),
        };
        match home {
            Ok(home) => home,
            Err(error) => return say(console, format_args!("{error}")).await,
        }
    } else {
        path
    };
    match store.read_str(path, &mut buffer).await {
        Ok(value) => say(console, format_args!("{path} = \"{value}\"")).await?,
        Err(error) => return say(console, format_args!("{path}: {error}")).await,
    }
    match store.directory(path, &mut buffer).await {
        Ok(names) => {
            for name in names {
                say(console, format_args!("{path}/{name}")).await?;
            }
            Ok(())
        }
        Err(error) => say(console, format_args!("{path}: {error}")).await,
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
