//! Shows the typed HVM parameters: their values, the ones that a guest may set and read back, Xen's
//! refusals, and the removed ones, which the HAL refuses without a hypercall.

use xen_hal::Xen;
use xen_hal::event::Port;
use xen_hal::hvm::{FipWidth, GuestAddress, Hvm, ParameterError, parameter};
use xen_hal::hypercall::Hypercall;
use xen_hal::platform::Frame;
use xen_pac::base::Domid;
use xen_pac::hvm::{AcpiIoportsLocation, HvmParam};

use super::common;
use crate::transcript::Address;
use crate::{Failure, Machine, Transcript, line};

/// The machine's page whose address is given to the tools.
const GENERATION: usize = 3;
/// The parameters that current releases have removed.
const RETIRED: [u32; 10] = [4, 13, 20, 21, 22, 23, 24, 25, 26, 30];

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let hvm = Xen::new(machine.xen()).hvm();
    read(t, &hvm);
    ports(t, &hvm);
    widths(t, &hvm);
    generation(machine, t, &hvm)?;
    refused(t, &hvm);
    for number in RETIRED.map(HvmParam) {
        let read = hvm.get_raw(number);
        // SAFETY: no memory is given away by 0, and Xen is not even asked.
        let set = unsafe { hvm.set_raw(number, 0) };
        line!(t, number, "read:", read, "set:", set);
    }
    let other = Hvm::of(machine.xen(), Domid(77));
    let read = other.get(parameter::STORE_EVTCHN);
    let written = other.set(parameter::STORE_EVTCHN, None);
    line!(t, "of domain 77: read", read, "set", written);
    line!(t, "translations flushed:", hvm.flush_tlbs());
    Ok(())
}

/// What there is, which for a control domain is little.
fn read<H: Hypercall>(t: &Transcript<'_>, hvm: &Hvm<H>) {
    let frame = |frame: Option<Frame>| frame.map(|frame| Address(frame.0));
    let (page, port) = (hvm.get(parameter::STORE_PFN).map(frame), hvm.get(parameter::STORE_EVTCHN));
    line!(t, "xenstore: page", page, "port", port);
    let page = hvm.get(parameter::CONSOLE_PFN).map(frame);
    let port = hvm.get(parameter::CONSOLE_EVTCHN);
    line!(t, "console: page", page, "port", port);
    let task_state = hvm.get(parameter::VM86_TSS).map(|GuestAddress(address)| Address(address));
    line!(t, "task state at", task_state);
    let sized = hvm.get(parameter::VM86_TSS_SIZED);
    let (address, bytes) = (sized.map(|area| Address(area.address)), sized.map(|area| area.size));
    line!(t, "with its size at", address, "bytes", bytes);
    let timer = hvm.get(parameter::ACPI_IOPORTS_LOCATION).map(|location| location.0);
    line!(t, "power management timer:", timer);
    line!(t, "alternative views:", hvm.get(parameter::ALTP2M).map(|mode| mode.0));
}

/// The ports of rings that this domain does not have.
fn ports<H: Hypercall>(t: &Transcript<'_>, hvm: &Hvm<H>) {
    for (what, parameter) in
        [("xenstore's", parameter::STORE_EVTCHN), ("the console's", parameter::CONSOLE_EVTCHN)]
    {
        for port in [Some(Port(7)), None] {
            let (written, read) = (hvm.set(parameter, port), hvm.get(parameter));
            line!(t, what, "port set to", port, written, "read:", read);
        }
    }
}

fn widths<H: Hypercall>(t: &Transcript<'_>, hvm: &Hvm<H>) {
    for (what, width) in [
        ("4 bytes:", FipWidth::Four),
        ("8 bytes:", FipWidth::Eight),
        ("what fits:", FipWidth::Automatic),
    ] {
        let set = hvm.set(parameter::X87_FIP_WIDTH, width);
        let kept = hvm.get(parameter::X87_FIP_WIDTH) == Ok(width);
        line!(t, "instruction pointer of", what, set, "read back:", kept);
    }
}

/// The address for the generation ID. No tools write it in this scenario.
fn generation<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    hvm: &Hvm<M::Xen>,
) -> Result<(), Failure> {
    let frame = common::frame(machine, GENERATION)?;
    let address = GuestAddress(frame.address().unwrap_or_default());
    // SAFETY: the page is the scenario's, and nothing is kept in it.
    let set = unsafe { hvm.set_memory(parameter::VM_GENERATION_ID_ADDR, address) };
    let kept = hvm.get(parameter::VM_GENERATION_ID_ADDR) == Ok(address);
    line!(t, "generation at a page:", set, "read back:", kept);
    Ok(())
}

fn refused<H: Hypercall>(t: &Transcript<'_>, hvm: &Hvm<H>) {
    let set: Result<(), ParameterError> = hvm.set(parameter::STORE_PFN, None);
    line!(t, "xenstore's page set:", set);
    let written = hvm.set(parameter::ACPI_IOPORTS_LOCATION, AcpiIoportsLocation(0));
    line!(t, "power management timer set:", written);
    line!(t, "timer mode read:", hvm.get(parameter::TIMER_MODE).map(|mode| mode.0));
    let (read, written) = (hvm.get(parameter::ACPI_S_STATE), hvm.set(parameter::ACPI_S_STATE, 0));
    line!(t, "sleep state read:", read, "set:", written);
}
