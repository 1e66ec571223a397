//! Shows which Xen this is, what it offers, and its own console.

use xen_hal::Xen;
use xen_hal::hypercall::{Commands, Hypercall};
use xen_pac::command::Command;
use xen_pac::console;
use xen_pac::hypercall::HypercallNr;
use xen_pac::version::{XenFeatureInfo, command};

use super::common::{self, NOWHERE};
use crate::transcript::Address;
use crate::{Failure, Machine, Transcript, line};

/// The version, the features, and the answers to unknown questions. The texts name the build, so
/// they are as stable as the hypervisor's package.
pub(super) fn version<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = machine.xen();
    let version = Xen::new(xen).version();
    line!(t, "release:", version.release());
    line!(t, "extraversion:", version.extraversion());
    line!(t, "capabilities:", version.capabilities());
    line!(t, "page size:", version.page_size());
    line!(t, "virtual start:", version.virtual_start().map(Address));
    let handle = version.guest_handle()?;
    line!(t, "the domain's handle is zero:", handle == [0; 16]);
    let known = !version.compile_info()?.compiler.as_bytes().is_empty();
    line!(t, "the compiler's name is known:", known);
    line!(t, "the command line is known:", !version.command_line()?.as_bytes().is_empty());
    line!(t, "the changeset is known:", !version.changeset()?.as_bytes().is_empty());
    for feature in version.features()?.iter() {
        line!(t, "feature", feature);
    }
    let answer = xen.call(command::GetFeatures, &mut XenFeatureInfo::new(1)).map(drop);
    line!(t, "features of a word that is not there:", answer);
    refusals(&xen, t);
    Ok(())
}

fn refusals(xen: &impl Hypercall, t: &Transcript<'_>) {
    line!(t, "an unknown question:", common::unknown(xen, HypercallNr::XEN_VERSION));
    for (what, number) in [
        ("extraversion into nowhere:", command::Extraversion::NUMBER),
        ("features into nowhere:", command::GetFeatures::NUMBER),
        ("page size with an argument:", command::Pagesize::NUMBER),
    ] {
        // SAFETY: there is no memory that Xen could write to, and the last takes no argument.
        let answer = unsafe { common::from_nowhere(xen, HypercallNr::XEN_VERSION, number) };
        line!(t, what, answer);
    }
}

/// Xen's own console, which the control domain may write to and read from.
pub(super) fn console<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (xen, console) = (machine.xen(), Xen::new(machine.xen()).emergency_console());
    line!(t, "written:", console.write_all(b"a line by hypercall\n"));
    let mut bytes = [0; 16];
    line!(t, "read, with nothing typed:", console.read(&mut bytes));
    line!(t, "an unknown command:", common::unknown(&xen, HypercallNr::CONSOLE_IO));
    for (what, number, length) in [
        ("write from nowhere:", console::command::Write::NUMBER, 8),
        ("write of nothing from nowhere:", console::command::Write::NUMBER, 0),
        ("read of more than 2^31 - 1 bytes:", console::command::Read::NUMBER, 1 << 31),
    ] {
        // SAFETY: there is no memory that Xen could read or write.
        line!(t, what, unsafe {
            common::raw(&xen, HypercallNr::CONSOLE_IO, [number as usize, length, NOWHERE])
        });
    }
    Ok(())
}
