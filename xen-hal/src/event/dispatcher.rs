//! Dispatches the domain's events, each on its own vCPU.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::ControlFlow;
use core::ptr::{self, NonNull};

use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};

use super::{AllPorts, Channel, Drain, Events, Port, PortSet, ScanCursor, TwoLevel};
use crate::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::VcpuId;

/// Dispatches the events of a domain with `VCPUS` vCPUs. Holds the shared page and, for each vCPU,
/// its `vcpu_info`, its ports and its scan position.
///
/// Place it in a `static`, where it is all zeros, and [attach](Self::attach) it once the shared
/// page is mapped. Before that, and after [`detach`](Self::detach), it finds no events.
///
/// ```
/// # xen_sim::storm(xen_sim::Profile::DOM0, 50, kernel);
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use xen_hal::Xen;
/// use xen_hal::event::{Dispatcher, Drain};
/// use xen_hal::platform::VcpuId;
/// # use xen_hal::platform::Interrupts;
/// # use xen_pac::hvm::CallbackVia;
///
/// static EVENTS: Dispatcher = Dispatcher::new();
/// static RINGS: AtomicU32 = AtomicU32::new(0);
///
/// /// The interrupt handler of a global callback vector on x86: Xen raises it again for events
/// /// that are left. For Arm and a per-vCPU vector, see "Storms" below.
/// fn upcall() {
///     let _: Drain = EVENTS.dispatch(VcpuId(0), |_port| {
///         RINGS.fetch_add(1, Ordering::Relaxed);
///     });
/// }
///
/// # fn kernel(guest: xen_sim::Guest) -> Result<(), Box<dyn std::error::Error>> {
/// #     let (xen, vcpu0, interrupts) = (Xen::new(guest.xen()), VcpuId(0), guest.interrupts());
/// #     RINGS.store(0, Ordering::Relaxed);
/// #     let latch = xen.hvm().set_callback_via(CallbackVia::vector(0xf3)?)?;
/// #     // SAFETY: nothing else uses the page, and the guest outlives its use.
/// #     let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
/// #     guest.on_interrupt(0xf3, upcall);
/// // `shared` is the mapped shared page. Interrupts are still off.
/// EVENTS.attach(shared);
/// let bell = EVENTS.listen(xen.events().bind_ipi(vcpu0)?, vcpu0)?;
/// # guest.enable_interrupts();
/// bell.send()?;
/// interrupts.wait_until(|| RINGS.load(Ordering::Relaxed) == 1);
/// #     Ok(())
/// # }
/// ```
///
/// # Storms and late acknowledgement
///
/// A peer can send faster than the guest handles. [`dispatch`](Self::dispatch) is bounded, and an
/// interrupt handler must return after a bounded number of calls: a loop until
/// [`Drain::Finished`] may not end (XSA-332). With a global callback vector on x86, Xen raises the
/// interrupt again for events that are left. On Arm, and with a per-vCPU vector, it does not: on
/// [`Drain::Unfinished`] the kernel must dispatch again before the vCPU sleeps.
///
/// A storm can still take most of the vCPU's time. To bound that as well, acknowledge late: the
/// handler masks the port and wakes a task, and the task unmasks the port after the work. Each port
/// then costs one upcall per round of its task.
///
/// ```
/// use core::sync::atomic::{AtomicBool, Ordering};
/// use xen_hal::event::{Dispatcher, Drain, EventError, Listener};
/// use xen_hal::hypercall::Hypercall;
/// use xen_hal::platform::{Interrupts, VcpuId};
///
/// static EVENTS: Dispatcher = Dispatcher::new();
/// /// With more than one listener, each port needs its own flag.
/// static WORK: AtomicBool = AtomicBool::new(false);
///
/// fn upcall() {
///     let _: Drain = EVENTS.dispatch(VcpuId(0), |port| {
///         EVENTS.mask(port);
///         WORK.store(true, Ordering::Release);
///     });
/// }
///
/// /// Does the `work` of a number of rounds.
/// fn task<H: Hypercall + Copy>(
///     peer: &Listener<'_, H>,
///     interrupts: &impl Interrupts,
///     rounds: u32,
///     mut work: impl FnMut(),
/// ) -> Result<(), EventError> {
///     for _ in 0..rounds {
///         interrupts.wait_until(|| WORK.swap(false, Ordering::Acquire));
///         work();
///         // The handler masks the port, so it must not run meanwhile.
///         interrupts.without(|| peer.unmask(VcpuId(0)))?;
///     }
///     Ok(())
/// }
/// # xen_sim::storm(xen_sim::Profile::DOM0, 20, |guest| -> Result<(), xen_hal::Error> {
/// #     let (xen, vcpu0) = (xen_hal::Xen::new(guest.xen()), VcpuId(0));
/// #     let via = xen_pac::hvm::CallbackVia::vector(0xf3)?;
/// #     let latch = xen.hvm().set_callback_via(via)?;
/// #     // SAFETY: nothing else uses the page, and the guest outlives its use.
/// #     let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
/// #     WORK.store(false, Ordering::Relaxed);
/// #     guest.on_interrupt(0xf3, upcall);
/// #     EVENTS.attach(shared);
/// #     let bell = EVENTS.listen(xen.events().bind_ipi(vcpu0)?, vcpu0).map_err(EventError::from)?;
/// #     guest.enable_interrupts();
/// #     bell.send()?;
/// #     // A storm: each round of work sends several events.
/// #     Ok(task(&bell, &guest.interrupts(), 20, || (0..5).for_each(|_| bell.send().unwrap()))?)
/// # });
/// ```
pub struct Dispatcher<const VCPUS: usize = 1> {
    core: Core<[VcpuEvents; VCPUS]>,
}

/// A [`Dispatcher`] with any number of vCPUs, for [`Setup`](crate::suspend::Setup).
pub trait AnyDispatcher: sealed::Erased + fmt::Debug + Sync {}

impl<const VCPUS: usize> AnyDispatcher for Dispatcher<VCPUS> {}

pub(crate) mod sealed {
    use super::{Core, Dispatcher, VcpuEvents};

    pub trait Erased {
        fn core(&self) -> &Core<[VcpuEvents]>;
    }

    impl<const VCPUS: usize> Erased for Dispatcher<VCPUS> {
        fn core(&self) -> &Core<[VcpuEvents]> {
            &self.core
        }
    }
}

/// The part whose code does not depend on the number of vCPUs, so it is compiled once.
pub struct Core<V: ?Sized> {
    shared: AtomicPtr<raw::SharedInfo>,
    vcpus: V,
}

/// The state of one vCPU. Aligned so that vCPUs do not share a cache line.
#[repr(align(64))]
pub struct VcpuEvents {
    info: AtomicPtr<raw::VcpuInfo>,
    cursor: ScanCursor,
    /// Odd while the vCPU dispatches.
    activity: AtomicU32,
    own: PortSet,
}

/// An event operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The dispatcher is not attached to a shared page.
    #[error("the event dispatcher is not attached to a shared page")]
    NotAttached,
    /// The dispatcher has no such vCPU, or the vCPU has no `vcpu_info`.
    #[error("the event dispatcher has no vcpu_info of vCPU {0}")]
    NoSuchVcpu(VcpuId),
    /// The bitmaps have no such port.
    #[error("expected a port below {max}, found {0}", max = TwoLevel::PORTS)]
    NoSuchPort(Port),
    /// The channel is from before a restore, which closed it.
    #[error("port {0} was closed by a restore")]
    Stale(Port),
    /// No vCPU listens to the port.
    #[error("no vCPU listens to port {0}")]
    NotListening(Port),
    /// The table of wakers has no slot for the port.
    #[cfg(feature = "async")]
    #[error("the table of wakers has no slot for port {0}")]
    NoWaker(Port),
    /// Xen refused.
    #[error("Xen refused an event channel operation: {0}")]
    Hypercall(#[from] Errno),
}

/// Listening failed. Holds the channel.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct ListenError<H: Hypercall + Copy> {
    /// The channel.
    pub channel: Channel<H>,
    /// The reason.
    pub error: EventError,
}

impl<H: Hypercall + Copy> fmt::Debug for ListenError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenError")
            .field("channel", &self.channel)
            .field("error", &self.error)
            .finish()
    }
}

impl<H: Hypercall + Copy> From<ListenError<H>> for EventError {
    fn from(error: ListenError<H>) -> Self {
        error.error
    }
}

impl<const VCPUS: usize> Dispatcher<VCPUS> {
    /// Creates a dispatcher that is not attached.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(VCPUS != 0, "a domain has a vCPU") };
        let vcpus = [const {
            VcpuEvents {
                info: AtomicPtr::new(ptr::null_mut()),
                cursor: ScanCursor::new(),
                activity: AtomicU32::new(0),
                own: PortSet::new(),
            }
        }; VCPUS];
        Self { core: Core { shared: AtomicPtr::new(ptr::null_mut()), vcpus } }
    }

    /// Uses the event bitmaps of `shared`. Masks all ports, and removes all ports from the vCPUs'
    /// sets.
    ///
    /// Each vCPU whose `vcpu_info` is in the shared page uses that one. For a vCPU that has none
    /// there, or has registered another, call [`attach_vcpu`](Self::attach_vcpu).
    ///
    /// Call it with interrupts off, before other vCPUs run. A guest that can be suspended names the
    /// dispatcher in its [`Setup`](crate::suspend::Setup), which attaches it now and after each
    /// restore.
    pub fn attach(&self, shared: SharedInfo<'static>) {
        let core: &Core<[VcpuEvents]> = &self.core;
        core.attach(shared);
    }

    /// Uses a vCPU's registered `vcpu_info`, as returned by
    /// [`register_vcpu_info`](crate::vcpu::Vcpu::register_vcpu_info).
    ///
    /// Registration marks an upcall as pending. On Arm, a vCPU that is down loses this upcall, and
    /// would get no other. So this clears the mark if the vCPU has no listener, for which there
    /// could be an event. Until it returns, no other vCPU may listen for `vcpu`. A guest without a
    /// dispatcher must look for events once on such a vCPU, before it enables interrupts.
    ///
    /// # Errors
    ///
    /// [`EventError::NoSuchVcpu`] unless `vcpu` is below `VCPUS`.
    pub fn attach_vcpu(&self, vcpu: VcpuId, info: VcpuInfo<'static>) -> Result<(), EventError> {
        let core: &Core<[VcpuEvents]> = &self.core;
        core.attach_vcpu(vcpu, info)
    }

    /// Stops finding events until the next [`attach`](Self::attach). No vCPU may be dispatching.
    pub fn detach(&self) {
        let core: &Core<[VcpuEvents]> = &self.core;
        core.detach();
    }

    /// Handles the events of `vcpu`, the calling vCPU. Call it on each upcall. A call without an
    /// upcall is harmless. See [`TwoLevel::dispatch`] for the order and the bound.
    #[inline]
    pub fn dispatch(&self, vcpu: VcpuId, handler: impl FnMut(Port)) -> Drain {
        self.on(vcpu, |bitmaps, info, events| {
            if VCPUS == 1 {
                // This vCPU listens to every port that is not masked.
                bitmaps.dispatch(info, AllPorts, handler)
            } else {
                bitmaps.dispatch(info, &events.own, handler)
            }
        })
    }

    /// Does the same as [`dispatch`](Self::dispatch), with a handler that can stop by breaking: see
    /// [`TwoLevel::try_dispatch`].
    #[inline]
    pub fn try_dispatch(
        &self,
        vcpu: VcpuId,
        handler: impl FnMut(Port) -> ControlFlow<()>,
    ) -> Drain {
        self.on(vcpu, |bitmaps, info, events| {
            if VCPUS == 1 {
                bitmaps.try_dispatch(info, AllPorts, &events.cursor, handler)
            } else {
                bitmaps.try_dispatch(info, &events.own, &events.cursor, handler)
            }
        })
    }

    #[inline(always)]
    fn on(
        &self,
        vcpu: VcpuId,
        dispatch: impl FnOnce(TwoLevel<'static>, VcpuInfo<'static>, &VcpuEvents) -> Drain,
    ) -> Drain {
        let Some(events) = self.core.vcpus.get(vcpu.0 as usize) else { return Drain::Finished };
        let (Some(info), Some(bitmaps)) = (events.info(), self.core.bitmaps()) else {
            return Drain::Finished;
        };
        if VCPUS == 1 {
            return dispatch(bitmaps, info, events);
        }
        let activity = events.activity.load(Ordering::Relaxed);
        if activity % 2 != 0 {
            // A handler of this vCPU dispatches: the outer dispatch is still active.
            return dispatch(bitmaps, info, events);
        }
        events.activity.store(activity.wrapping_add(1), Ordering::Relaxed);
        // Pairs with the fence in `wait_until_idle`: either this dispatch sees the mask, or the
        // waiting vCPU sees the activity.
        fence(Ordering::SeqCst);
        let drain = dispatch(bitmaps, info, events);
        events.activity.store(activity.wrapping_add(2), Ordering::Release);
        drain
    }

    /// Listens to a channel on `vcpu`: moves it there if necessary, and unmasks it. When the
    /// listener is dropped, the channel is closed.
    ///
    /// # Errors
    ///
    /// [`ListenError`] holds the channel, which is masked.
    pub fn listen<H: Hypercall + Copy>(
        &self,
        mut channel: Channel<H>,
        vcpu: VcpuId,
    ) -> Result<Listener<'_, H>, ListenError<H>> {
        let core: &Core<[VcpuEvents]> = &self.core;
        match core.start(&mut channel, vcpu) {
            Ok(()) => Ok(Listener { core, channel }),
            Err(error) => Err(ListenError { channel, error }),
        }
    }

    /// Masks a port: its events become pending and raise no upcall. Returns whether it was masked
    /// before. A handler on another vCPU can still be running: see
    /// [`wait_until_idle`](Self::wait_until_idle).
    #[inline]
    pub fn mask(&self, port: Port) -> bool {
        self.core.bitmaps().is_some_and(|bitmaps| bitmaps.mask(port))
    }

    /// Unmasks a port. If an event is pending, its upcall is raised now. `here` is the calling
    /// vCPU: for a port that it handles, this makes a hypercall only if an event is pending.
    ///
    /// If a handler on the port's vCPU can mask the port at the same time, call this with
    /// interrupts off.
    ///
    /// # Errors
    ///
    /// [`EventError::NotAttached`], and `EINVAL` for a port that the domain cannot have.
    #[inline]
    pub fn unmask<H: Hypercall + Copy>(
        &self,
        events: Events<H>,
        port: Port,
        here: VcpuId,
    ) -> Result<(), EventError> {
        let core: &Core<[VcpuEvents]> = &self.core;
        core.unmask(events, port, here)
    }

    /// Moves a port that has a listener to another vCPU: see [`Listener::migrate`].
    ///
    /// # Errors
    ///
    /// As for [`Listener::migrate`].
    pub fn migrate<H: Hypercall + Copy>(
        &self,
        events: Events<H>,
        port: Port,
        to: VcpuId,
        pause: impl FnMut(),
    ) -> Result<(), EventError> {
        let core: &Core<[VcpuEvents]> = &self.core;
        core.migrate(events, port, to, pause)
    }

    /// Clears a port's pending event. Returns whether there was one. Use it for ports without a
    /// listener: they stay masked, and the guest waits for them with
    /// [`Sched::poll`](crate::sched::Sched::poll).
    #[inline]
    pub fn clear(&self, port: Port) -> bool {
        self.core.bitmaps().is_some_and(|bitmaps| bitmaps.clear(port))
    }

    /// Returns the `vcpu_info` that a vCPU uses; `None` if it has none.
    #[must_use]
    pub fn vcpu_info(&self, vcpu: VcpuId) -> Option<VcpuInfo<'static>> {
        self.core.vcpus.get(vcpu.0 as usize)?.info()
    }

    /// Waits until the handlers that `vcpu` is running have returned. Calls `pause` in each
    /// iteration. To be sure that a port's handler is not running, mask the port first. A
    /// `Dispatcher<1>` does not record running handlers: there this returns at once.
    ///
    /// Must not be called by a handler on `vcpu`: it would wait for itself.
    pub fn wait_until_idle(&self, vcpu: VcpuId, pause: impl FnMut()) {
        if let Some(events) = self.core.vcpus.get(vcpu.0 as usize) {
            events.wait_until_idle(pause);
        }
    }
}

impl<const VCPUS: usize> Default for Dispatcher<VCPUS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const VCPUS: usize> fmt::Debug for Dispatcher<VCPUS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.core.vcpus.iter().map(|vcpu| &vcpu.own)).finish()
    }
}

impl<V: ?Sized> Core<V> {
    #[inline(always)]
    fn bitmaps(&self) -> Option<TwoLevel<'static>> {
        let shared = NonNull::new(self.shared.load(Ordering::Acquire))?;
        // SAFETY: it came from a handle that is valid for ever, or until `pause` or `detach`, which
        // are called while nothing uses the dispatcher. No caller of this keeps the result.
        Some(TwoLevel::new(unsafe { SharedInfo::from_ptr(shared) }))
    }
}

impl Core<[VcpuEvents]> {
    pub(crate) fn attach(&self, shared: SharedInfo<'static>) {
        TwoLevel::new(shared).mask_all();
        for (index, vcpu) in self.vcpus.iter().enumerate() {
            vcpu.own.clear();
            let info =
                shared.vcpu_info(index).map_or(ptr::null_mut(), |info| info.as_ptr().as_ptr());
            vcpu.info.store(info, Ordering::Release);
        }
        self.shared.store(shared.as_ptr().as_ptr(), Ordering::Release);
    }

    pub(crate) fn attach_vcpu(
        &self,
        vcpu: VcpuId,
        info: VcpuInfo<'static>,
    ) -> Result<(), EventError> {
        let events = self.vcpus.get(vcpu.0 as usize).ok_or(EventError::NoSuchVcpu(vcpu))?;
        if events.own.is_empty() {
            // Before the block is published: Xen marks it for the first listener.
            info.evtchn_pending_sel().swap(0, Ordering::Relaxed);
            info.evtchn_upcall_pending().swap(0, Ordering::Relaxed);
        }
        events.info.store(info.as_ptr().as_ptr(), Ordering::Release);
        Ok(())
    }

    pub(crate) fn detach(&self) {
        self.shared.store(ptr::null_mut(), Ordering::Release);
        for vcpu in &self.vcpus {
            vcpu.info.store(ptr::null_mut(), Ordering::Release);
        }
    }

    /// Stops finding events until [`resume`](Self::resume), which takes the result.
    pub(crate) fn pause(&self) -> *mut raw::SharedInfo {
        // No other vCPU runs.
        self.shared.swap(ptr::null_mut(), Ordering::Relaxed)
    }

    /// Finds events again, with the same listeners. `paused` is the result of
    /// [`pause`](Self::pause).
    pub(crate) fn resume(&self, paused: *mut raw::SharedInfo) {
        self.shared.store(paused, Ordering::Release);
    }

    fn vcpu(&self, vcpu: VcpuId) -> Result<&VcpuEvents, EventError> {
        let events = self.vcpus.get(vcpu.0 as usize).filter(|events| events.info().is_some());
        events.ok_or(EventError::NoSuchVcpu(vcpu))
    }

    fn start<H: Hypercall + Copy>(
        &self,
        channel: &mut Channel<H>,
        vcpu: VcpuId,
    ) -> Result<(), EventError> {
        let port = channel.port();
        let bitmaps = self.bitmaps().ok_or(EventError::NotAttached)?;
        let events = self.vcpu(vcpu)?;
        if port.0 >= TwoLevel::PORTS {
            return Err(EventError::NoSuchPort(port));
        }
        if !channel.is_current() {
            return Err(EventError::Stale(port));
        }
        bitmaps.mask(port);
        if channel.vcpu() != vcpu {
            channel.bind_vcpu(vcpu)?;
        }
        // An earlier channel with this port may have been closed without its listener.
        self.remove(port);
        events.own.insert(port);
        // Xen raises an event that arrived before this.
        channel.events().unmask(port).inspect_err(|_| self.remove(port))?;
        Ok(())
    }

    #[inline]
    fn unmask<H: Hypercall + Copy>(
        &self,
        events: Events<H>,
        port: Port,
        here: VcpuId,
    ) -> Result<(), EventError> {
        let bitmaps = self.bitmaps().ok_or(EventError::NotAttached)?;
        let own = self.vcpus.get(here.0 as usize).is_some_and(|vcpu| vcpu.own.contains(port));
        Ok(bitmaps.unmask_if_local(events, port, own || self.vcpus.len() == 1)?)
    }

    fn migrate<H: Hypercall + Copy>(
        &self,
        events: Events<H>,
        port: Port,
        to: VcpuId,
        mut pause: impl FnMut(),
    ) -> Result<(), EventError> {
        let bitmaps = self.bitmaps().ok_or(EventError::NotAttached)?;
        let new = self.vcpu(to)?;
        let (_, old) = self.owner(port).ok_or(EventError::NotListening(port))?;
        let mut masked = bitmaps.mask(port);
        loop {
            old.wait_until_idle(&mut pause);
            if bitmaps.mask(port) {
                break;
            }
            // The handler unmasked the port before it returned, and can run again.
            masked = false;
        }
        let moved = events.bind_vcpu(port, to);
        if moved.is_ok() {
            old.own.remove(port);
            new.own.insert(port);
        }
        let unmasked = if masked { Ok(()) } else { events.unmask(port) };
        Ok(moved.and(unmasked)?)
    }

    /// Returns the vCPU that handles a port.
    fn owner(&self, port: Port) -> Option<(VcpuId, &VcpuEvents)> {
        let ids = (0..).map(VcpuId);
        ids.zip(&self.vcpus).find(|(_, vcpu)| vcpu.own.contains(port))
    }

    /// Removes a port from all vCPUs' sets.
    fn remove(&self, port: Port) {
        for vcpu in &self.vcpus {
            vcpu.own.remove(port);
        }
    }
}

impl VcpuEvents {
    #[inline(always)]
    fn info(&self) -> Option<VcpuInfo<'static>> {
        let info = NonNull::new(self.info.load(Ordering::Acquire))?;
        // SAFETY: as in `Core::bitmaps`; it is cleared when the shared page is.
        Some(unsafe { VcpuInfo::from_ptr(info) })
    }

    fn wait_until_idle(&self, mut pause: impl FnMut()) {
        // Pairs with the fence in `Dispatcher::on`.
        fence(Ordering::SeqCst);
        let activity = self.activity.load(Ordering::Acquire);
        while activity % 2 != 0 && self.activity.load(Ordering::Acquire) == activity {
            pause();
        }
    }
}

/// A channel whose events a [`Dispatcher`] handles on one vCPU. Dropping it closes the channel.
///
/// Dropping first masks the port and removes it from all vCPUs' sets. A later channel with the same
/// port starts in a clean state.
///
/// After a restore, dropping a listener from before does nothing. Its [`mask`](Self::mask),
/// [`unmask`](Self::unmask) and [`send`](Self::send) do not check this: like [`Channel::send`],
/// they act on the channel that has the number now.
pub struct Listener<'d, H: Hypercall + Copy> {
    core: &'d Core<[VcpuEvents]>,
    channel: Channel<H>,
}

impl<'d, H: Hypercall + Copy> Listener<'d, H> {
    /// Returns the channel's port, the argument of the handler.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.channel.port()
    }

    /// Returns the vCPU that handles the channel's events.
    #[must_use]
    pub fn vcpu(&self) -> VcpuId {
        self.core.owner(self.port()).map_or(self.channel.vcpu(), |(vcpu, _)| vcpu)
    }

    /// Returns the channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel<H> {
        &self.channel
    }

    /// Signals the other end: for an IPI, this end.
    ///
    /// # Errors
    ///
    /// As for [`Channel::send`].
    #[inline]
    pub fn send(&self) -> Result<(), Errno> {
        self.channel.send()
    }

    /// Masks the channel: its events become pending and raise no upcall. Returns whether it was
    /// masked before. A handler on another vCPU can still be running: see
    /// [`Dispatcher::wait_until_idle`].
    #[inline]
    pub fn mask(&self) -> bool {
        self.core.bitmaps().is_some_and(|bitmaps| bitmaps.mask(self.port()))
    }

    /// Unmasks the channel: see [`Dispatcher::unmask`].
    ///
    /// # Errors
    ///
    /// [`EventError::NotAttached`]. No known Xen refuses.
    #[inline]
    pub fn unmask(&self, here: VcpuId) -> Result<(), EventError> {
        self.core.unmask(self.channel.events(), self.port(), here)
    }

    /// Moves the channel to vCPU `to`. Masks the channel, waits until the old vCPU's running
    /// handlers have returned (calling `pause` in each iteration), and rebinds it. The handler
    /// never runs on both vCPUs. Events that are pending or arrive meanwhile are raised on the new
    /// vCPU. A channel that was masked stays masked. If the handler unmasks the port each time,
    /// this waits again each time.
    ///
    /// Must not be called by a handler on the old vCPU: it would wait for itself. Two moves of a
    /// channel must not overlap.
    ///
    /// # Errors
    ///
    /// [`EventError::NotAttached`], [`EventError::NoSuchVcpu`], [`EventError::NotListening`],
    /// [`EventError::Stale`], and those of [`Events::bind_vcpu`]: the channel stays on its vCPU. No
    /// known Xen refuses the unmasking; if one does, the channel has moved and is masked.
    pub fn migrate(&self, to: VcpuId, pause: impl FnMut()) -> Result<(), EventError> {
        if !self.channel.is_current() {
            return Err(EventError::Stale(self.port()));
        }
        self.core.migrate(self.channel.events(), self.port(), to, pause)
    }

    /// Stops listening. Returns the channel, masked.
    #[must_use = "a channel that is dropped is closed"]
    pub fn into_channel(self) -> Channel<H> {
        let listener = ManuallyDrop::new(self);
        let vcpu = listener.vcpu();
        listener.stop();
        // The previous owner must not be dropped: it would close the channel.
        listener.channel.duplicate_on(vcpu)
    }

    fn stop(&self) {
        // After a restore, a different channel can have the same port.
        if self.channel.is_current() {
            self.mask();
            self.core.remove(self.port());
        }
    }
}

impl<H: Hypercall + Copy> Drop for Listener<'_, H> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<H: Hypercall + Copy> fmt::Debug for Listener<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("channel", &self.channel)
            .field("vcpu", &self.vcpu())
            .finish()
    }
}
