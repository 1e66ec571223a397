//! Shows Xen's own console, which the control domain may write to and read from.

use xen_hal::Xen;
use xen_pac::command::Command;
use xen_pac::console::command;
use xen_pac::hypercall::HypercallNr;

use super::common::{self, NOWHERE};
use crate::{Failure, Machine, Transcript, line};

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (xen, console) = (machine.xen(), Xen::new(machine.xen()).emergency_console());
    line!(t, "written:", console.write_all(b"a line by hypercall\n"));
    let mut bytes = [0; 16];
    line!(t, "read, with nothing typed:", console.read(&mut bytes));
    line!(t, "an unknown command:", common::unknown(&xen, HypercallNr::CONSOLE_IO));
    for (what, number, length) in [
        ("write from nowhere:", command::Write::NUMBER, 8),
        ("write of nothing from nowhere:", command::Write::NUMBER, 0),
        ("read of more than 2^31 - 1 bytes:", command::Read::NUMBER, 1 << 31),
    ] {
        // SAFETY: there is no memory that Xen could read or write.
        line!(t, what, unsafe {
            common::raw(&xen, HypercallNr::CONSOLE_IO, [number as usize, length, NOWHERE])
        });
    }
    Ok(())
}
