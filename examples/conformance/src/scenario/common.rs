//! Helpers of several scenarios: requests that the HAL's types do not allow, the pages for a grant,
//! and registered areas.

use xen_hal::Xen;
use xen_hal::clock::PvClock;
use xen_hal::event::Port;
use xen_hal::grant::{
    GrantRefAllocator, GrantTable, Grants, MapError, MapRequest, MapTarget, Mapping, Page,
};
use xen_hal::hypercall::{Commands, Errno, Hypercall, check};
#[cfg(not(target_arch = "x86"))]
use xen_hal::memory::WidthLatch;
use xen_hal::memory::{Extent, MemoryError};
use xen_hal::platform::{AddressSpace, Frame, VcpuId};
use xen_hal::vcpu::Area;
use xen_pac::access::Data;
use xen_pac::base::Domid;
use xen_pac::hvm::{HvmParam, XenHvmParam, command as hvm_command};
use xen_pac::hypercall::HypercallNr;
#[cfg(not(target_arch = "x86"))]
use xen_pac::shared_info::VcpuInfo;

use crate::failure::Required;
use crate::{Failure, Machine};

/// The vCPU that a scenario starts on.
pub(super) const FIRST: VcpuId = VcpuId(0);
/// The vCPU that a scenario may start.
pub(super) const SECOND: VcpuId = VcpuId(1);

/// The most vCPUs that Xen gives an HVM guest.
const MOST_VCPUS: u32 = 128;

/// An address at which no guest has memory: in a guest that runs on Xen it is not even mapped.
pub(super) const NOWHERE: usize = (usize::MAX / 2) & !0xfff;

/// A number that is a command of no hypercall.
pub(super) const NO_SUCH_OPERATION: usize = 99;

/// Returns the number after the domain's last vCPU. Xen looks for the vCPU before it refuses the
/// port, so that nothing changes.
pub(super) fn beyond_last(xen: impl Hypercall + Copy) -> Result<VcpuId, Failure> {
    let events = Xen::new(xen).events();
    let is_missing = |id: &VcpuId| events.bind_vcpu(Port(0), *id) == Err(Errno::ENOENT);
    (0..=MOST_VCPUS).map(VcpuId).find(is_missing).required("a domain has a last vCPU")
}

/// Makes a hypercall by numbers.
///
/// # Safety
///
/// The caller must permit the effects of the hypercall with these arguments.
pub(super) unsafe fn raw(
    xen: &impl Hypercall,
    hypercall: HypercallNr,
    arguments: [usize; 3],
) -> Result<usize, Errno> {
    let [first, second, third] = arguments;
    // SAFETY: the caller's promise.
    check(unsafe { xen.call3(hypercall.0, first, second, third) })
}

/// Writes the first byte of one of the machine's pages, which must be memory.
pub(super) fn poke<M: Machine>(machine: &M, page: usize, byte: u8) {
    // SAFETY: the page is the scenario's alone, and is there.
    unsafe { machine.page(page).write_volatile(byte) };
}

/// Reads the first byte of one of the machine's pages, which must be memory.
pub(super) fn peek<M: Machine>(machine: &M, page: usize) -> u8 {
    // SAFETY: the page is the scenario's alone, and is there.
    unsafe { machine.page(page).read_volatile() }
}

/// Returns the frame of one of the machine's pages.
pub(super) fn frame<M: Machine>(machine: &M, page: usize) -> Result<Frame, Failure> {
    machine.space().frame_of(machine.page(page)).required("each page has a frame")
}

/// Returns the paravirtual clock of the calling vCPU.
pub(super) fn clock<M: Machine>(machine: &M) -> Result<PvClock<'static, M::Counter>, Failure> {
    let block = machine.world().block(machine.current())?.time();
    let clock =
        PvClock::new(Xen::new(machine.xen()).version().features()?, block, machine.counter());
    clock.required("the clock is fit for HVM guests")
}

/// Reads an HVM parameter.
pub(super) fn get_param<M: Machine>(machine: &M, domain: Domid, index: u32) -> Result<u64, Errno> {
    let mut parameter = XenHvmParam::new(domain, HvmParam(index), 0);
    machine.xen().call(hvm_command::GetParam, &mut parameter)?;
    Ok(parameter.value)
}

/// Writes an HVM parameter, which must give Xen no memory.
pub(super) fn set_param<M: Machine>(
    machine: &M,
    domain: Domid,
    index: u32,
    value: u64,
) -> Result<(), Errno> {
    let mut parameter = XenHvmParam::new(domain, HvmParam(index), value);
    // SAFETY: none of the values that are tried gives memory to Xen, and an upcall finds the
    // machine ready.
    unsafe { machine.xen().call_unchecked(hvm_command::SetParam, &mut parameter) }
}

/// Returns whether an HVM parameter of the domain holds something: it may be an address.
pub(super) fn parameter<M: Machine>(machine: &M, index: u32) -> Result<&'static str, Errno> {
    let value = get_param(machine, Domid::SELF, index)?;
    Ok(if value == 0 { "zero" } else { "something" })
}

/// What Xen answers to a command whose argument is at an address without memory.
///
/// # Safety
///
/// The command takes an argument, without which Xen does nothing.
pub(super) unsafe fn from_nowhere(
    xen: &impl Hypercall,
    hypercall: HypercallNr,
    number: u32,
) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    unsafe { raw(xen, hypercall, [number as usize, NOWHERE, 0]) }
}

/// What Xen answers to an operation that does not exist.
pub(super) fn unknown(xen: &impl Hypercall, hypercall: HypercallNr) -> Result<usize, Errno> {
    // SAFETY: Xen does nothing for an operation that it does not know.
    unsafe { raw(xen, hypercall, [NO_SUCH_OPERATION, 0, 0]) }
}

/// The machine's pages: for the grant table, for the page that is lent, and where it is mapped.
pub(super) const TABLE: usize = 3;
const LENT: usize = 4;
const TARGET: usize = 5;

/// The machine's page for the references of the table.
const REFS: usize = 15;

/// A machine's grant table.
pub(super) type Table<M> = GrantTable<'static, <M as Machine>::Xen, <M as Machine>::Space>;

/// Returns the storage of a table, of which nothing is known yet. What was made from the last one
/// is not used any more.
pub(super) fn refs<M: Machine, const N: usize>(machine: &M) -> &'static GrantRefAllocator<N> {
    const { assert!(size_of::<GrantRefAllocator<N>>() <= 4096, "it fits in a page") };
    let place = machine.page(REFS).cast();
    // SAFETY: the page is the scenario's, large enough and aligned, and what was in it is unused.
    unsafe { place.write(GrantRefAllocator::new()) };
    // SAFETY: the value is there from now on, as long as it is used.
    unsafe { place.as_ref() }
}

const NO_FRAME: Failure = Failure::Broken("each page has a frame");

/// Maps the domain's table, once in a scenario.
pub(super) fn table<M: Machine>(machine: &M) -> Result<Table<M>, Failure> {
    let (place, refs) = (machine.page(TABLE).cast(), refs::<M, 1>(machine));
    // SAFETY: the page is the scenario's, and nothing else maps the table.
    let table = unsafe { GrantTable::map(machine.xen(), machine.space(), place, refs, 1) };
    table.required("the grant table can be mapped")
}

/// Returns the page that is lent, once in a scenario.
pub(super) fn page<M: Machine>(machine: &M) -> Result<Page, Failure> {
    // SAFETY: the page is the scenario's, and used by the value alone from now on.
    unsafe { Page::from_raw(&machine.space(), machine.page(LENT).cast()) }.map_err(|_| NO_FRAME)
}

/// Returns the place to map it at, which is emptied; once in a scenario.
pub(super) fn target<M: Machine>(machine: &M) -> Result<MapTarget<'static>, Failure> {
    let frame = machine.space().frame_of(machine.page(TARGET)).ok_or(NO_FRAME)?;
    // SAFETY: nothing is kept in the page.
    unsafe { Xen::new(machine.xen()).memory().decrease_reservation([frame], Extent::PAGE) }
        .required("a page can be given back")?;
    // SAFETY: the frame is empty, and used through the target alone.
    unsafe { MapTarget::new(&machine.space(), machine.page(TARGET).cast()) }.map_err(|_| NO_FRAME)
}

/// Returns an area in one of the machine's pages; once for each page.
pub(super) fn area<M: Machine, T: Data>(machine: &M, page: usize) -> &'static Area<T> {
    const { assert!(size_of::<Area<T>>() <= 4096, "the area fits in a page") };
    let place = machine.page(page).cast::<Area<T>>();
    // SAFETY: the page is the scenario's, large enough and aligned, and nothing else is in it.
    unsafe { place.write(Area::new()) };
    // SAFETY: the area is there from now on, for ever.
    unsafe { place.as_ref() }
}

/// Maps a page of the domain itself.
pub(super) fn map<M: Machine>(
    grants: &Grants<M::Xen>,
    request: MapRequest<'static>,
) -> Result<Mapping<'static, M::Xen>, MapError<'static>> {
    // SAFETY: the page that is lent is not used while it is mapped elsewhere.
    unsafe { grants.map(request) }
}

/// Xen's error.
pub(super) fn errno(error: MemoryError) -> Option<Errno> {
    error.errno()
}

/// Registers the block of a vCPU in one of the machine's pages, as Arm has one in the shared page
/// for vCPU 0 only.
#[cfg(not(target_arch = "x86"))]
pub(super) fn register<M: Machine>(
    machine: &M,
    vcpu: VcpuId,
    page: usize,
) -> Result<VcpuInfo<'static>, Failure> {
    let (vcpu, latch) = (Xen::new(machine.xen()).vcpu(vcpu), arm_latch(machine));
    let block = vcpu.register_vcpu_info(&machine.space(), latch, area(machine, page));
    block.required("a block can be registered")
}

/// Returns the proof that Xen knows the width of an Arm guest.
#[cfg(not(target_arch = "x86"))]
pub(super) fn arm_latch<M: Machine>(machine: &M) -> WidthLatch<M::Xen> {
    // SAFETY: on Arm there is one width.
    unsafe { WidthLatch::assume(machine.xen()) }
}
