//! The hot paths of `xen-hal` and nothing else: a shared object in which each is an entry, so that
//! the linker keeps what they reach and drops the rest.
#![no_std]

use core::ops::ControlFlow;

use xen_hal::clock::{Clock, CounterClock, Monotonic, PvClock};
use xen_hal::event::{AllPorts, Dispatcher, Drain, Events, Port, PortSet, ScanCursor, TwoLevel};
use xen_hal::grant::{Access, Grant, GrantTable, Page};
#[cfg(target_arch = "aarch64")]
use xen_hal::hypercall::Hvc as Backend;
#[cfg(target_arch = "x86_64")]
use xen_hal::hypercall::Vmcall as Backend;
#[cfg(target_arch = "x86_64")]
use xen_hal::platform::Tsc as Ticks;
use xen_hal::platform::VcpuId;
#[cfg(target_arch = "aarch64")]
use xen_hal::platform::VirtualCounter as Ticks;
use xen_hal::ring::{FrontRing, Protocol};
use xen_pac::base::Domid;
use xen_pac::blkif::{BlkifRequest, BlkifResponse};
use xen_pac::shared_info::VcpuInfo;

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

type Handler<'h> = &'h mut dyn FnMut(Port);
type StoppingHandler<'h> = &'h mut dyn FnMut(Port) -> ControlFlow<()>;

#[unsafe(no_mangle)]
pub fn hot_now(clock: &PvClock<'_, Ticks>) -> i64 {
    clock.now().as_nanos()
}

#[unsafe(no_mangle)]
pub fn hot_monotonic(clock: &PvClock<'_, Ticks>, line: &Monotonic) -> i64 {
    clock.instant(line).as_nanos()
}

#[unsafe(no_mangle)]
pub fn hot_counter_clock(clock: &CounterClock<Ticks>) -> i64 {
    clock.now().as_nanos()
}

#[unsafe(no_mangle)]
pub fn hot_mask(bitmaps: TwoLevel<'_>, port: Port) -> bool {
    bitmaps.mask(port)
}

#[unsafe(no_mangle)]
pub fn hot_clear(bitmaps: TwoLevel<'_>, port: Port) -> bool {
    bitmaps.clear(port)
}

#[unsafe(no_mangle)]
pub fn hot_unmask(bitmaps: TwoLevel<'_>, port: Port, own: &PortSet) -> bool {
    bitmaps.unmask(Events::new(Backend), port, own).is_ok()
}

#[unsafe(no_mangle)]
pub fn hot_send(port: Port) -> bool {
    Events::new(Backend).send(port).is_ok()
}

#[unsafe(no_mangle)]
pub fn hot_dispatch(
    bitmaps: TwoLevel<'_>,
    vcpu: VcpuInfo<'_>,
    own: &PortSet,
    handler: Handler<'_>,
) -> bool {
    bitmaps.dispatch(vcpu, own, handler) == Drain::Finished
}

#[unsafe(no_mangle)]
pub fn hot_dispatch_all(bitmaps: TwoLevel<'_>, vcpu: VcpuInfo<'_>, handler: Handler<'_>) -> bool {
    bitmaps.dispatch(vcpu, AllPorts, handler) == Drain::Finished
}

#[unsafe(no_mangle)]
pub fn hot_try_dispatch(
    bitmaps: TwoLevel<'_>,
    vcpu: VcpuInfo<'_>,
    own: &PortSet,
    cursor: &ScanCursor,
    handler: StoppingHandler<'_>,
) -> bool {
    bitmaps.try_dispatch(vcpu, own, cursor, handler) == Drain::Finished
}

#[unsafe(no_mangle)]
pub fn hot_dispatcher(dispatcher: &Dispatcher<2>, vcpu: VcpuId, handler: Handler<'_>) -> bool {
    dispatcher.dispatch(vcpu, handler) == Drain::Finished
}

#[unsafe(no_mangle)]
pub fn hot_dispatcher_unmask(dispatcher: &Dispatcher<2>, port: Port, here: VcpuId) -> bool {
    dispatcher.unmask(Events::new(Backend), port, here).is_ok()
}

#[unsafe(no_mangle)]
pub fn hot_relend(grant: Grant<'_>, page: Page, peer: Domid, access: Access) -> Option<Grant<'_>> {
    grant.revoke().ok().map(|(slot, _)| slot.lend(page, peer, access))
}

#[unsafe(no_mangle)]
pub fn hot_lend<'t>(
    table: &GrantTable<'t, (), ()>,
    page: Page,
    peer: Domid,
    access: Access,
) -> Option<Grant<'t>> {
    table.lend(page, peer, access).ok()
}

#[unsafe(no_mangle)]
pub fn hot_revoke(grant: Grant<'_>) -> Option<Page> {
    grant.revoke().ok().map(|(_, page)| page)
}

/// The entries of a disk's ring.
pub enum Blk {}

impl Protocol for Blk {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
}

type Ring<'t> = FrontRing<Grant<'t>, Blk>;

#[unsafe(no_mangle)]
pub fn hot_push(ring: &mut Ring<'_>, request: &BlkifRequest) -> bool {
    ring.push(request).is_ok()
}

#[unsafe(no_mangle)]
pub fn hot_publish(ring: &mut Ring<'_>) -> bool {
    ring.publish()
}

#[unsafe(no_mangle)]
pub fn hot_pop(ring: &mut Ring<'_>) -> Option<BlkifResponse> {
    ring.pop()
}

#[unsafe(no_mangle)]
pub fn hot_rearm(ring: &mut Ring<'_>) -> bool {
    ring.rearm()
}

#[unsafe(no_mangle)]
pub fn hot_copy_in(page: &Page, from: &[u8]) -> bool {
    page.copy_from(0, from).is_ok()
}

#[unsafe(no_mangle)]
pub fn hot_copy_out(page: &Page, into: &mut [u8]) -> bool {
    page.copy_to(0, into).is_ok()
}

/// What none of the above does.
#[cfg(feature = "planted")]
#[unsafe(no_mangle)]
pub fn hot_planted(numbers: &[u32], index: usize) -> u32 {
    numbers[index]
}
