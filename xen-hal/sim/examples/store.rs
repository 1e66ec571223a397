//! A guest that browses the xenstore of a simulated control domain: `help` shows the commands. The
//! arguments are the first commands, separated by semicolons.

#[path = "support/dom0.rs"]
mod dom0;

use std::process::ExitCode;

use xen_hal::xenstore::Store;

fn main() -> ExitCode {
    let script = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    dom0::run([], "quit\n", move |guest, console| {
        let mut storage = [0; Store::STORAGE];
        // SAFETY: the ring has one owner, as long as the machine runs.
        let mut store =
            unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), &mut storage) }?;
        programs::browse(console, &mut store, &script)
    })
}
