//! Implements smoltcp's device traits for the interface.

use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use super::{FRAME_MAX, NetDevice};
use crate::hypercall::Hypercall;

/// A received frame.
#[derive(Debug)]
pub struct RxToken {
    pub(super) frame: [u8; FRAME_MAX],
    pub(super) length: usize,
}

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.frame[..self.length])
    }
}

/// Permission to send a frame.
#[derive(Debug)]
pub struct TxToken<'d, 'a, 't, H: Hypercall + Copy, A>(pub(super) &'d mut NetDevice<'a, 't, H, A>);

impl<H: Hypercall + Copy, A> phy::TxToken for TxToken<'_, '_, '_, H, A> {
    /// If no page is free when the frame is complete, drops the frame.
    ///
    /// # Panics
    ///
    /// If `len` is more than the device's
    /// [maximum](DeviceCapabilities::max_transmission_unit).
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = [0; FRAME_MAX];
        let frame = &mut frame[..len];
        let result = f(frame);
        if self.0.send(frame).is_err() {
            self.0.lost += 1;
        }
        result
    }
}

/// A broken device neither receives nor sends: [`NetDevice::can_send`](NetDevice::can_send) returns
/// the error.
impl<'a, 't, H: Hypercall + Copy, A> Device for NetDevice<'a, 't, H, A> {
    type RxToken<'d>
        = RxToken
    where
        Self: 'd;
    type TxToken<'d>
        = TxToken<'d, 'a, 't, H, A>
    where
        Self: 'd;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_, 'a, 't, H, A>)> {
        let mut frame = [0; FRAME_MAX];
        let length = NetDevice::receive(self, &mut frame).ok()??;
        Some((RxToken { frame, length }, TxToken(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_, 'a, 't, H, A>> {
        self.can_send().is_ok_and(|can| can).then_some(TxToken(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_MAX;
        capabilities
    }
}
