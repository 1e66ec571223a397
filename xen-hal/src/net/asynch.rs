//! Network interfaces for `embassy-net`.

use core::fmt;
use core::task::Context;

use atomic_waker::AtomicWaker;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use smoltcp::phy;

use super::{FRAME_MAX, NetDevice, NetError, RxToken, TxToken};
use crate::atomic::{AtomicBool, Ordering};
use crate::event::{Dispatcher, EventError, Wakers};
use crate::hypercall::Hypercall;
use crate::platform::VcpuId;
use crate::ring::PortListener;

/// Reports that an interface's backend closes, or connects again. A task that watches the backend's
/// state sets it.
#[derive(Debug, Default)]
pub struct Link {
    down: AtomicBool,
    waker: AtomicWaker,
}

impl Link {
    /// Creates a link that is up.
    #[must_use]
    pub const fn new() -> Self {
        Self { down: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Changes the state, and wakes the network stack.
    pub fn set_up(&self, up: bool) {
        self.down.store(!up, Ordering::Release);
        self.waker.wake();
    }

    fn is_up(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        !self.down.load(Ordering::Acquire)
    }
}

/// A [`NetDevice`] that wakes the task of a network stack: a driver for `embassy-net`.
///
/// ```
/// use embassy_net_driver::{Driver, LinkState};
/// use xen_hal::event::{Dispatcher, EventError, Wakers};
/// use xen_hal::hypercall::Installed;
/// use xen_hal::net::{AsyncNetDevice, NetDevice};
/// use xen_hal::platform::VcpuId;
///
/// static EVENTS: Dispatcher = Dispatcher::new();
/// static WAKERS: Wakers<64> = Wakers::new();
///
/// /// The result is the first argument of `embassy_net::new`.
/// fn driver<'a, 't, A>(
///     device: NetDevice<'a, 't, Installed, A>,
/// ) -> Result<impl Driver + use<'a, 't, A>, EventError> {
///     AsyncNetDevice::new(device, &WAKERS, &EVENTS, VcpuId(0))
/// }
/// ```
///
/// The link is down while a [`Link`] is set so, and for ever if the backend broke the protocol:
/// connect a new device then. To get this one back from the stack, pass `&mut` of it to
/// `embassy_net::new`, and drop the stack's runner.
pub struct AsyncNetDevice<'a, 't, H: Hypercall + Copy, A> {
    // Dropped first: it masks the port before the device closes it.
    events: PortListener<'a, H>,
    device: NetDevice<'a, 't, H, A>,
    link: Option<&'a Link>,
}

impl<'a, 't, H: Hypercall + Copy, A> AsyncNetDevice<'a, 't, H, A> {
    /// Listens to the events of the interface's port on `vcpu`.
    ///
    /// # Errors
    ///
    /// As for [`Wakers::listen`]. The device is dropped.
    pub fn new<const PORTS: usize, const VCPUS: usize>(
        device: NetDevice<'a, 't, H, A>,
        wakers: &'a Wakers<PORTS>,
        dispatcher: &'a Dispatcher<VCPUS>,
        vcpu: VcpuId,
    ) -> Result<Self, EventError> {
        let (events, port) = (device.channel.events(), device.port());
        let events = PortListener::new(events, port, wakers, dispatcher, vcpu)?;
        Ok(Self { events, device, link: None })
    }

    /// Lets `link` report the state of the backend.
    #[must_use]
    pub fn with_link(self, link: &'a Link) -> Self {
        Self { link: Some(link), ..self }
    }

    /// Stops listening, and returns the device.
    #[must_use]
    pub fn into_device(self) -> NetDevice<'a, 't, H, A> {
        let Self { events, device, .. } = self;
        drop(events);
        device
    }

    /// Registers the task for the next event, then looks. If the device breaks, wakes the task,
    /// which then finds that the link is down.
    fn look<T>(
        &mut self,
        context: &Context<'_>,
        look: impl FnOnce(&mut NetDevice<'a, 't, H, A>) -> Result<T, NetError>,
    ) -> Option<T> {
        let was_broken = self.device.broken;
        let found = self.events.poll(context, || look(&mut self.device));
        if self.device.broken && !was_broken {
            context.waker().wake_by_ref();
        }
        found.ok()
    }
}

impl<'a, 't, H: Hypercall + Copy, A> Driver for AsyncNetDevice<'a, 't, H, A> {
    type RxToken<'d>
        = RxToken
    where
        Self: 'd;
    type TxToken<'d>
        = TxToken<'d, 'a, 't, H, A>
    where
        Self: 'd;

    fn receive(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<(RxToken, TxToken<'_, 'a, 't, H, A>)> {
        let mut frame = [0; FRAME_MAX];
        let length = self.look(context, |device| device.receive(&mut frame))??;
        Some((RxToken { frame, length }, TxToken(&mut self.device)))
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<TxToken<'_, 'a, 't, H, A>> {
        let can = self.look(context, NetDevice::can_send)?;
        can.then_some(TxToken(&mut self.device))
    }

    fn link_state(&mut self, context: &mut Context<'_>) -> LinkState {
        let up = self.link.is_none_or(|link| link.is_up(context));
        if up && !self.device.broken { LinkState::Up } else { LinkState::Down }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_MAX;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.device.mac())
    }
}

impl embassy_net_driver::RxToken for RxToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.frame[..self.length])
    }
}

impl<H: Hypercall + Copy, A> embassy_net_driver::TxToken for TxToken<'_, '_, '_, H, A> {
    /// If no page is free when the frame is complete, drops the frame.
    ///
    /// # Panics
    ///
    /// If `length` is more than the maximum in the capabilities.
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        phy::TxToken::consume(self, length, f)
    }
}

impl<H: Hypercall + Copy, A> fmt::Debug for AsyncNetDevice<'_, '_, H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncNetDevice").field("device", &self.device).finish_non_exhaustive()
    }
}
