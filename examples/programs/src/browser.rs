//! A browser of xenstore: reads commands and prints nodes.

use xen_hal::console::Console;
use xen_hal::hypercall::Hypercall;
use xen_hal::ring::Wait;
use xen_hal::xenstore::{Store, StoreError, StoreEvent, Tree};
use xen_pac::base::Domid;

use crate::Error;
use crate::echo::read_line;

const HELP: &str = "ls PATH | cat PATH | set PATH VALUE | rm PATH | perms PATH | watch PATH | quit
A path is absolute, or relative to the domain's directory; . is that directory.";

/// Carries out the commands in `script`, which are separated by semicolons, and then those that are
/// typed, until one is `quit`.
///
/// # Errors
///
/// The console's. Refusals of xenstore are printed.
pub fn browse<H: Hypercall + Copy, W: Wait, V: Wait>(
    console: &mut Console<'_, H, W>,
    store: &mut Store<'_, H, V>,
    script: &str,
) -> Result<(), Error> {
    let mut commands = script.split(';').map(str::trim).filter(|command| !command.is_empty());
    let mut line = [0; 512];
    loop {
        let command = match commands.next() {
            Some(command) => {
                writeln!(console, "> {command}")?;
                command
            }
            None => {
                write!(console, "> ")?;
                let length = read_line(console, &mut line)?;
                core::str::from_utf8(&line[..length]).unwrap_or_default()
            }
        };
        let mut words = command.splitn(3, ' ');
        let (verb, path) = (words.next().unwrap_or_default(), words.next().unwrap_or("."));
        if verb == "quit" {
            return Ok(console.flush()?);
        }
        match carry_out(console, store, verb, path, words.next().unwrap_or_default()) {
            Ok(()) => {}
            Err(Error::Store(error)) => writeln!(console, "{error}")?,
            Err(error) => return Err(error),
        }
        print_events(console, store)?;
    }
}

fn carry_out<H: Hypercall + Copy, W: Wait, V: Wait>(
    console: &mut Console<'_, H, W>,
    store: &mut Store<'_, H, V>,
    verb: &str,
    path: &str,
    value: &str,
) -> Result<(), Error> {
    let (mut home, mut buffer) = ([0; 64], [0; 4096]);
    let path = if path == "." { own_directory(store, &mut home)? } else { path };
    match verb {
        "ls" => {
            for name in store.directory(path, &mut buffer)? {
                writeln!(console, "{name}")?;
            }
        }
        "cat" => {
            let value = store.read(path, &mut buffer)?;
            console.write_all(value)?;
            writeln!(console)?;
        }
        "set" => store.write(path, value)?,
        "rm" => store.rm(path)?,
        "perms" => {
            for permission in store.permissions(path, &mut buffer)? {
                writeln!(console, "{}", permission?)?;
            }
        }
        "watch" => store.watch(path, "browser")?,
        _ => writeln!(console, "{HELP}")?,
    }
    Ok(())
}

/// Returns the path of the domain's own directory. Xenstore names it for a number, which is in
/// there.
fn own_directory<'b, H: Hypercall + Copy, V: Wait>(
    store: &mut Store<'_, H, V>,
    buffer: &'b mut [u8],
) -> Result<&'b str, StoreError> {
    let number: u16 = store.read_number("domid")?;
    store.domain_path(Domid(number), buffer)
}

fn print_events<H: Hypercall + Copy, W: Wait, V: Wait>(
    console: &mut Console<'_, H, W>,
    store: &mut Store<'_, H, V>,
) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    // Bounded: others can change what is watched without end. The rest is printed after the next
    // command.
    for _ in 0..32 {
        let Some(event) = store.event(&mut buffer)? else { break };
        match event {
            StoreEvent::Watch { path, .. } => writeln!(console, "changed: {path}")?,
            StoreEvent::Lost => writeln!(console, "anything watched may have changed")?,
            StoreEvent::Reset => writeln!(console, "nothing is watched any longer: watch again")?,
        }
    }
    Ok(())
}
