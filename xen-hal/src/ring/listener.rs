//! Listens to the port of a driver.

use core::mem::ManuallyDrop;
use core::task::Context;

use crate::event::{AsyncListener, Dispatcher, EventError, Events, Kind, Port, Wakers};
use crate::hypercall::Hypercall;
use crate::platform::VcpuId;

/// Wakes a task when a driver's port has an event. The port stays open when this is dropped: the
/// driver or the domain owns the channel.
pub(crate) struct PortListener<'a, H: Hypercall + Copy>(ManuallyDrop<AsyncListener<'a, H>>);

impl<'a, H: Hypercall + Copy> PortListener<'a, H> {
    pub(crate) fn new<const PORTS: usize, const VCPUS: usize>(
        events: Events<H>,
        port: Port,
        wakers: &'a Wakers<PORTS>,
        dispatcher: &'a Dispatcher<VCPUS>,
        vcpu: VcpuId,
    ) -> Result<Self, EventError> {
        let channel = events.adopt(port, Kind::Interdomain, VcpuId(0));
        match wakers.listen(dispatcher, channel, vcpu) {
            Ok(listener) => Ok(Self(ManuallyDrop::new(listener))),
            Err(refused) => {
                let _ = refused.channel.into_port();
                Err(refused.error)
            }
        }
    }

    /// Registers the task for the next event, then calls `check`, which may find what an earlier
    /// event announced. So a peer that sends without end causes one call for each wakeup.
    pub(crate) fn poll<T>(&mut self, context: &Context<'_>, check: impl FnOnce() -> T) -> T {
        // The earlier event needs no further look, because `check` comes after it.
        let _ = self.0.poll_wait(context);
        check()
    }
}

impl<H: Hypercall + Copy> Drop for PortListener<'_, H> {
    fn drop(&mut self) {
        // SAFETY: the value is not used after this.
        let listener = unsafe { ManuallyDrop::take(&mut self.0) };
        let _ = listener.into_channel().into_port();
    }
}
