//! Events as futures.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use super::{Channel, Dispatcher, EventError, ListenError, Listener, Port};
use crate::atomic::{AtomicBool, Ordering};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::VcpuId;

/// Connects a [`Dispatcher`]'s handler with the tasks that wait for events, for ports below
/// `PORTS`. It works with any executor.
///
/// ```
/// use xen_hal::event::{AsyncListener, Dispatcher, Drain, Wakers};
/// use xen_hal::hypercall::{Errno, Hypercall};
/// use xen_hal::platform::VcpuId;
///
/// static EVENTS: Dispatcher = Dispatcher::new();
/// static WAKERS: Wakers<64> = Wakers::new();
///
/// /// Runs on each upcall.
/// fn upcall() {
///     let _: Drain = EVENTS.dispatch(VcpuId(0), |port| WAKERS.wake(port));
/// }
///
/// async fn answer<H: Hypercall + Copy>(mut peer: AsyncListener<'_, H>) -> Result<(), Errno> {
///     for _ in 0..5 {
///         peer.wait().await;
///         // What the peer wrote before it sent the event is visible here.
///         peer.send()?;
///     }
///     Ok(())
/// }
/// # use core::future::Future;
/// # use core::task::{Context, Waker};
/// # use xen_hal::platform::Interrupts;
/// # xen_sim::storm(xen_sim::Profile::DOM0, 20, |guest| -> Result<(), xen_hal::Error> {
/// #     let (xen, vcpu0) = (xen_hal::Xen::new(guest.xen()), VcpuId(0));
/// #     let via = xen_pac::hvm::CallbackVia::vector(0xf3)?;
/// #     let latch = xen.hvm().set_callback_via(via)?;
/// #     // SAFETY: nothing else uses the page, and the guest outlives its use.
/// #     let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
/// #     guest.on_interrupt(0xf3, upcall);
/// #     EVENTS.attach(shared);
/// #     let bell = xen.events().bind_ipi(vcpu0)?;
/// #     let bell = WAKERS.listen(&EVENTS, bell, vcpu0).map_err(|error| error.error)?;
/// #     guest.enable_interrupts();
/// #     bell.send()?;
/// #     let mut task = core::pin::pin!(answer(bell));
/// #     let mut context = Context::from_waker(Waker::noop());
/// #     guest.interrupts().wait_until(|| task.as_mut().poll(&mut context).is_ready());
/// #     Ok(())
/// # });
/// ```
pub struct Wakers<const PORTS: usize> {
    slots: [Slot; PORTS],
}

/// The state of one port, for the task that waits for it.
struct Slot {
    waker: AtomicWaker,
    /// An event came since the last wait ended.
    came: AtomicBool,
}

impl Slot {
    const fn new() -> Self {
        Self { waker: AtomicWaker::new(), came: AtomicBool::new(false) }
    }

    fn wake(&self) {
        self.came.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        // Registers the waker before the check, so that an event after the check finds it.
        self.register(context);
        if self.take() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn register(&self, context: &Context<'_>) {
        xen_pac::access::before();
        self.waker.register(context.waker());
    }

    /// True if an event came.
    fn take(&self) -> bool {
        xen_pac::access::before();
        self.came.swap(false, Ordering::Acquire)
    }
}

impl<const PORTS: usize> Wakers<PORTS> {
    /// Creates a table in which no task waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: [const { Slot::new() }; PORTS] }
    }

    /// Records a port's event and wakes the task that waits for it. Call it in the dispatcher's
    /// handler. Does nothing for a port without an [`AsyncListener`].
    #[inline]
    pub fn wake(&self, port: Port) {
        if let Some(slot) = self.slots.get(port.0 as usize) {
            slot.wake();
        }
    }

    /// Listens to a channel on `vcpu`, as [`Dispatcher::listen`] does. The dispatcher's handler
    /// must call [`wake`](Self::wake).
    ///
    /// # Errors
    ///
    /// As for [`Dispatcher::listen`], and [`EventError::NoWaker`] for a port that is not below
    /// `PORTS`.
    pub fn listen<'d, H: Hypercall + Copy, const VCPUS: usize>(
        &'d self,
        events: &'d Dispatcher<VCPUS>,
        channel: Channel<H>,
        vcpu: VcpuId,
    ) -> Result<AsyncListener<'d, H>, ListenError<H>> {
        let port = channel.port();
        let Some(slot) = self.slots.get(port.0 as usize) else {
            return Err(ListenError { channel, error: EventError::NoWaker(port) });
        };
        // An earlier channel with this number may have set it.
        slot.came.store(false, Ordering::Relaxed);
        Ok(AsyncListener { listener: events.listen(channel, vcpu)?, slot })
    }
}

impl<const PORTS: usize> Default for Wakers<PORTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const PORTS: usize> fmt::Debug for Wakers<PORTS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakers").finish_non_exhaustive()
    }
}

/// A channel whose events a task waits for. Dropping it closes the channel.
///
/// After a restore the channel is closed, and no event comes: listen to a new one.
pub struct AsyncListener<'d, H: Hypercall + Copy> {
    listener: Listener<'d, H>,
    slot: &'d Slot,
}

impl<'d, H: Hypercall + Copy> AsyncListener<'d, H> {
    /// Waits for an event. Events that came since the last wait ended count as one, and end the
    /// wait at once.
    ///
    /// The future can be dropped at any time: an event that it did not return ends the next wait.
    /// A wait can end without an event, if an earlier channel had the same number.
    pub async fn wait(&mut self) {
        poll_fn(|context| self.poll_wait(context)).await;
    }

    /// Does the same as [`wait`](Self::wait), for hand-written futures.
    pub fn poll_wait(&mut self, context: &Context<'_>) -> Poll<()> {
        self.slot.poll(context)
    }

    /// Returns the channel's port.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.listener.port()
    }

    /// Signals the other end: for an IPI, this end.
    ///
    /// # Errors
    ///
    /// As for [`Channel::send`].
    pub fn send(&self) -> Result<(), Errno> {
        self.listener.send()
    }

    /// Returns the listener, which can be masked and migrated.
    #[must_use]
    pub const fn listener(&self) -> &Listener<'d, H> {
        &self.listener
    }

    /// Stops listening. Returns the channel, masked.
    #[must_use = "a channel that is dropped is closed"]
    pub fn into_channel(self) -> Channel<H> {
        self.listener.into_channel()
    }
}

impl<H: Hypercall + Copy> fmt::Debug for AsyncListener<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncListener").field(&self.listener).finish()
    }
}
