//! Event channels, and the page that the domain shares with Xen.

use core::ffi::{c_int, c_void};
use core::mem;

use xen_hal::Xen;
use xen_hal::event::{Binding, Channel, Dispatcher, Drain, Events, Kind, Port, TwoLevel};
use xen_hal::hypercall::{Errno, Installed, installed};
#[cfg(target_arch = "aarch64")]
use xen_hal::memory::WidthLatch;
use xen_hal::pac::base::{Domid, Virq};
use xen_hal::platform::VcpuId;

use super::port::PortSpace;
use super::storage::{answer, create_at, done, errno, get, page, some, stores};

/// The number of vCPUs that a `struct xen_events` has room for. On aarch64, only vCPU 0 gets
/// events: the page that is shared with Xen has room for no other.
pub const XEN_EVENTS_VCPUS: u32 = 4;

/// The size of a `struct xen_events` in bytes.
pub const XEN_EVENTS_SIZE: usize = 2496;

/// The domain's event channels. It must be static, and zero before the first call. All vCPUs and
/// interrupt handlers can use it at the same time.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct XenEvents {
    opaque: [u64; XEN_EVENTS_SIZE / 8],
}

/// What a `struct xen_events` holds.
type Dispatch = Dispatcher<{ XEN_EVENTS_VCPUS as usize }>;

stores!(XenEvents, Dispatch, b"xen_evts");

/// Maps the page that the domain shares with Xen at `page`, and masks all ports. On x86, also makes
/// Xen deliver upcalls at the interrupt `vector`, on each vCPU that has an event; they need no end
/// of interrupt. On aarch64 the upcall is a PPI that the device tree names, and `vector` is unused.
///
/// Call it once, with interrupts off, before other vCPUs run.
///
/// Errors: `-EBUSY` if it was called before with `events`; `-EINVAL` if a pointer is null, `page`
/// is not at the start of a page, or `vector` is below 32; Xen's error.
///
/// # Safety
///
/// `events` must be static. `page` must be a page of the program's memory that nothing else uses,
/// and stay mapped. The domain must not be suspended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_init(
    events: *mut XenEvents,
    page: *mut c_void,
    vector: u8,
) -> c_int {
    let create = |place: *mut Dispatch| {
        let page = self::page(page)?;
        let latch = latch(vector)?;
        // SAFETY: nothing else uses the page, which stays mapped.
        let shared = unsafe { latch.map_shared_info(&PortSpace, page) }.map_err(errno)?;
        let dispatcher = Dispatch::new();
        dispatcher.attach(shared);
        // SAFETY: the place is that of the dispatcher.
        unsafe { place.write(dispatcher) };
        Ok(())
    };
    // SAFETY: the caller's obligation, and the dispatcher is written.
    done(unsafe { create_at(events, create) })
}

/// Sets the vector of upcalls.
#[cfg(not(target_arch = "aarch64"))]
fn latch(vector: u8) -> Result<xen_hal::memory::WidthLatch<Installed>, Errno> {
    let via = xen_hal::pac::hvm::CallbackVia::vector(vector).map_err(errno)?;
    Xen::new(installed()).hvm().set_callback_via(via).map_err(errno)
}

/// Returns the proof that Xen needs no vector.
#[cfg(target_arch = "aarch64")]
fn latch(_: u8) -> Result<WidthLatch<Installed>, Errno> {
    WidthLatch::new(installed())
}

/// Binds a virtual interrupt to a new port and listens to it on `vcpu`. Stores the port in `*port`
/// before its first event can arrive.
///
/// Errors: `-EINVAL` if a pointer is null, `events` is not initialised, `vcpu` is not below
/// `XEN_EVENTS_VCPUS`, or there is no such interrupt; otherwise `-ENOENT` if the domain has no such
/// vCPU; `-EEXIST` if the interrupt is bound already; `-ENOSPC` if no port is free.
///
/// # Safety
///
/// `events` must be one of these structs, and `*port` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_bind_virq(
    events: *mut XenEvents,
    virq: u32,
    vcpu: u32,
    port: *mut u32,
) -> c_int {
    // SAFETY: the caller's obligation.
    unsafe { open(events, vcpu, port, |xen| xen.bind_virq(Virq(virq), VcpuId(vcpu))) }
}

/// Creates a port by which the domain's vCPUs interrupt `vcpu`, and listens to it there. Stores the
/// port in `*port`.
///
/// Errors: as for `xen_events_bind_virq`.
///
/// # Safety
///
/// As for `xen_events_bind_virq`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_bind_ipi(
    events: *mut XenEvents,
    vcpu: u32,
    port: *mut u32,
) -> c_int {
    // SAFETY: the caller's obligation.
    unsafe { open(events, vcpu, port, |xen| xen.bind_ipi(VcpuId(vcpu))) }
}

/// Reserves a port for `domain` to bind to, and listens to it on `vcpu`. Stores the port in
/// `*port`; pass its number to that domain.
///
/// Errors: as for `xen_events_bind_virq`; `-EPERM` or `-ESRCH` if a security policy forbids it.
///
/// # Safety
///
/// As for `xen_events_bind_virq`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_alloc_unbound(
    events: *mut XenEvents,
    domain: u16,
    vcpu: u32,
    port: *mut u32,
) -> c_int {
    // SAFETY: the caller's obligation.
    unsafe { open(events, vcpu, port, |xen| xen.alloc_unbound(Domid(domain))) }
}

/// Binds a new port to the port `remote` that `domain` has reserved for this domain, and listens to
/// it on `vcpu`. Stores the new port in `*port`. Its first event arrives at once.
///
/// Errors: as for `xen_events_bind_virq`; `-ESRCH` if there is no such domain; `-EINVAL` if the
/// remote port is not reserved for this domain; `-EPERM` if a security policy forbids it.
///
/// # Safety
///
/// As for `xen_events_bind_virq`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_bind_interdomain(
    events: *mut XenEvents,
    domain: u16,
    remote: u32,
    vcpu: u32,
    port: *mut u32,
) -> c_int {
    let bind = |xen: Events<_>| xen.bind_interdomain(Domid(domain), Port(remote));
    // SAFETY: the caller's obligation.
    unsafe { open(events, vcpu, port, bind) }
}

/// Opens a channel and listens to it.
///
/// # Safety
///
/// As for [`xen_events_bind_virq`].
unsafe fn open(
    events: *mut XenEvents,
    vcpu: u32,
    port: *mut u32,
    bind: impl FnOnce(Events<Installed>) -> Result<Channel<Installed>, Errno>,
) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { get(events) }.and_then(|events| {
        let (port, vcpu) = (some(port)?, vcpu_id(vcpu)?);
        let channel = bind(Xen::new(installed()).events())?;
        // SAFETY: the caller's obligation. A handler that compares the number must find it.
        unsafe { port.write(channel.port().0) };
        // An error drops the channel, which closes it.
        let listener = events.listen(channel, vcpu).map_err(|error| errno(error.error))?;
        mem::forget(listener);
        Ok(())
    }))
}

/// Listens on `vcpu` to a port that this program did not create, such as that of the console.
///
/// Errors: `-EINVAL` if `events` is null or not initialised, `vcpu` is not below
/// `XEN_EVENTS_VCPUS`, or the port is free or beyond the domain's; `-ENOENT` if the domain has no
/// such vCPU.
///
/// # Safety
///
/// `events` must be one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_listen(events: *mut XenEvents, port: u32, vcpu: u32) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { get(events) }.and_then(|events| {
        let (xen, vcpu) = (Xen::new(installed()).events(), vcpu_id(vcpu)?);
        let (kind, bound) = match xen.status(Port(port)) {
            Ok(status) => (kind(status.binding)?, status.vcpu),
            // Up to Xen 4.18, for a port whose other end is Xen's. Such a port starts on vCPU 0.
            Err(Errno::EACCES) => (Kind::Interdomain, VcpuId(0)),
            Err(errno) => return Err(errno),
        };
        // The channel is not this program's to close.
        match events.listen(xen.adopt(Port(port), kind, bound), vcpu) {
            Ok(listener) => mem::forget(listener),
            Err(error) => {
                mem::forget(error.channel);
                return Err(errno(error.error));
            }
        }
        Ok(())
    }))
}

/// Returns the number of a vCPU; `EINVAL` if there is no room for it.
fn vcpu_id(vcpu: u32) -> Result<VcpuId, Errno> {
    if vcpu < XEN_EVENTS_VCPUS { Ok(VcpuId(vcpu)) } else { Err(Errno::EINVAL) }
}

fn kind(binding: Binding) -> Result<Kind, Errno> {
    match binding {
        Binding::Unbound { .. } => Ok(Kind::Unbound),
        Binding::Interdomain { .. } => Ok(Kind::Interdomain),
        Binding::Pirq(_) => Ok(Kind::Pirq),
        Binding::Virq(_) => Ok(Kind::Virq),
        Binding::Ipi => Ok(Kind::Ipi),
        _ => Err(Errno::EINVAL),
    }
}

/// Masks a port and closes it. Xen can give its number to the next channel.
///
/// Errors: `-EINVAL` if `events` is null or not initialised, or the port is free.
///
/// # Safety
///
/// `events` must be one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_close(events: *mut XenEvents, port: u32) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { get(events) }.and_then(|events| {
        events.mask(Port(port));
        Xen::new(installed()).events().close(Port(port))
    }))
}

/// Signals the other end of a port: for an IPI, the port itself.
///
/// Errors: `-EINVAL` if the port is free, or bound to a virtual interrupt.
#[unsafe(no_mangle)]
pub extern "C" fn xen_events_send(port: u32) -> c_int {
    done(Xen::new(installed()).events().send(Port(port)))
}

/// Masks a port: its events become pending and raise no upcall. Returns 1 if it was masked before.
///
/// Errors: `-EINVAL` if `events` is null or not initialised, or no domain can have the port.
///
/// # Safety
///
/// `events` must be one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_mask(events: *mut XenEvents, port: u32) -> c_int {
    // SAFETY: the caller's obligation.
    answer(unsafe { get(events) }.and_then(|events| {
        if port >= TwoLevel::PORTS {
            return Err(Errno::EINVAL);
        }
        Ok(events.mask(Port(port)).into())
    }))
}

/// Unmasks a port. A pending event raises its upcall now. `vcpu` is the calling vCPU. If a handler
/// can mask the port at the same time, call this with interrupts off.
///
/// Errors: `-EINVAL` if `events` is null or not initialised, `vcpu` is not below
/// `XEN_EVENTS_VCPUS`, or the domain cannot have the port.
///
/// # Safety
///
/// `events` must be one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_unmask(events: *mut XenEvents, port: u32, vcpu: u32) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { get(events) }.and_then(|events| {
        let (xen, vcpu) = (Xen::new(installed()).events(), vcpu_id(vcpu)?);
        events.unmask(xen, Port(port), vcpu).map_err(errno)
    }))
}

/// Calls `handler` with `context` and each port of `vcpu`, the calling vCPU, that has an event.
/// Call it in the interrupt handler of upcalls, with interrupts off. The handler can call all
/// functions of this library.
///
/// Returns 0 if no event is left. Makes at most four passes over the ports; if events kept
/// arriving, returns 1, and the next call handles the rest. On x86, Xen then raises the interrupt
/// again. On aarch64, call the function again before the vCPU sleeps.
///
/// Errors: `-EINVAL` if `events` or `handler` is null, `events` is not initialised, or `vcpu` is
/// not below `XEN_EVENTS_VCPUS`.
///
/// # Safety
///
/// `events` must be one of these structs. The handler must return, and must accept `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_events_dispatch(
    events: *mut XenEvents,
    vcpu: u32,
    handler: Option<unsafe extern "C" fn(context: *mut c_void, port: u32)>,
    context: *mut c_void,
) -> c_int {
    // SAFETY: the caller's obligation.
    answer(unsafe { get(events) }.and_then(|events| {
        let (handler, vcpu) = (handler.ok_or(Errno::EINVAL)?, vcpu_id(vcpu)?);
        // SAFETY: the caller's obligation.
        let call = |port: Port| unsafe { handler(context, port.0) };
        Ok((events.dispatch(vcpu, call) == Drain::Unfinished).into())
    }))
}

/// Returns the block that a vCPU shares with Xen.
///
/// # Safety
///
/// `events` must be one of these structs.
#[cfg(not(target_arch = "aarch64"))]
pub(super) unsafe fn vcpu_info(
    events: *const XenEvents,
    vcpu: u32,
) -> Result<xen_hal::pac::shared_info::VcpuInfo<'static>, Errno> {
    // SAFETY: the caller's obligation.
    unsafe { get(events) }?.vcpu_info(VcpuId(vcpu)).ok_or(Errno::EINVAL)
}
