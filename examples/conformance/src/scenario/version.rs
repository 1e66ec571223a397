//! Shows which Xen this is, what it offers, and what it answers to questions that it does not
//! understand.
//!
//! The control domain is told everything. The texts name the build, so they are as stable as the
//! hypervisor's package is.

use xen_hal::Xen;
use xen_hal::hypercall::Commands;
use xen_pac::hypercall::HypercallNr;
use xen_pac::version::{XenFeatureInfo, command};

use super::common::{self, NOWHERE};
use crate::transcript::Address;
use crate::{Failure, Machine, Transcript, line};

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
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

fn refusals(xen: &impl xen_hal::hypercall::Hypercall, t: &Transcript<'_>) {
    line!(t, "an unknown question:", common::unknown(xen, HypercallNr::XEN_VERSION));
    for (name, number) in [
        ("extraversion", <command::Extraversion as xen_pac::command::Command>::NUMBER),
        ("features", <command::GetFeatures as xen_pac::command::Command>::NUMBER),
    ] {
        // SAFETY: there is no memory that Xen could write to.
        let answer =
            unsafe { common::raw(xen, HypercallNr::XEN_VERSION, [number as usize, NOWHERE, 0]) };
        line!(t, name, "into nowhere:", answer);
    }
    let page_size = <command::Pagesize as xen_pac::command::Command>::NUMBER;
    // SAFETY: the question takes no argument, so Xen touches none.
    let answer =
        unsafe { common::raw(xen, HypercallNr::XEN_VERSION, [page_size as usize, NOWHERE, 0]) };
    line!(t, "page size with an argument:", answer);
}
