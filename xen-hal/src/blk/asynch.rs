//! Block devices for asynchronous tasks.

use core::fmt;
use core::future::poll_fn;
use core::task::Poll;

use super::{Advance, BlockDevice, BlockError, BlockInfo, Job, Transfer};
use crate::event::{Dispatcher, EventError, Wakers};
use crate::hypercall::Hypercall;
use crate::platform::VcpuId;
use crate::ring::{PortListener, Wait, YieldWait};
use crate::xenbus::Frontend;

/// A [`BlockDevice`] whose operations wait as futures.
///
/// ```
/// use xen_hal::blk::{AsyncBlockDevice, BlockError, SECTOR_SIZE};
/// use xen_hal::hypercall::Installed;
///
/// /// Increments a number in the first sector.
/// async fn count<A>(disk: &mut AsyncBlockDevice<'_, '_, Installed, A>) -> Result<(), BlockError> {
///     let mut sector = [0; SECTOR_SIZE];
///     disk.read(0, &mut sector).await?;
///     sector[0] += 1;
///     disk.write(0, &sector).await?;
///     disk.flush().await
/// }
/// ```
///
/// # Cancellation
///
/// The futures can be dropped at any time. The backend may still carry out the requests, whose data
/// is in the driver's own pages: a page is granted until its request is answered, and is not used
/// for another one before. So after a write that was dropped, any part of its range can have the
/// old or the new content, until a later [`flush`](Self::flush) has completed.
///
/// No operation has a timeout of its own: `with_timeout` of `embassy-time` gives it one.
pub struct AsyncBlockDevice<'a, 't, H: Hypercall + Copy, A, W = YieldWait<H>> {
    // Dropped first: it masks the port before the device closes it.
    events: PortListener<'a, H>,
    device: BlockDevice<'a, 't, H, A, W>,
}

impl<'a, 't, H: Hypercall + Copy, A, W: Wait> AsyncBlockDevice<'a, 't, H, A, W> {
    /// Listens to the events of the device's port on `vcpu`.
    ///
    /// # Errors
    ///
    /// As for [`Wakers::listen`]. The device is dropped.
    pub fn new<const PORTS: usize, const VCPUS: usize>(
        device: BlockDevice<'a, 't, H, A, W>,
        wakers: &'a Wakers<PORTS>,
        dispatcher: &'a Dispatcher<VCPUS>,
        vcpu: VcpuId,
    ) -> Result<Self, EventError> {
        let events =
            PortListener::new(device.queue.events(), device.port(), wakers, dispatcher, vcpu)?;
        Ok(Self { events, device })
    }

    /// Stops listening, and returns the device.
    #[must_use]
    pub fn into_device(self) -> BlockDevice<'a, 't, H, A, W> {
        let Self { events, device } = self;
        drop(events);
        device
    }

    /// Returns the device's properties.
    #[must_use]
    pub const fn info(&self) -> &BlockInfo {
        self.device.info()
    }

    /// Returns the frontend.
    #[must_use]
    pub const fn frontend(&self) -> &Frontend<'a> {
        self.device.frontend()
    }

    /// Fills `data` from the device, starting at `sector`.
    ///
    /// # Errors
    ///
    /// As for [`BlockDevice::read`], except [`BlockError::TimedOut`].
    pub async fn read(&mut self, sector: u64, data: &mut [u8]) -> Result<(), BlockError> {
        self.device.info.check(sector, data.len())?;
        self.transfer(Transfer::Read(data), sector).await
    }

    /// Writes `data` to the device, starting at `sector`.
    ///
    /// # Errors
    ///
    /// As for [`BlockDevice::write`], with the exceptions of [`read`](Self::read).
    pub async fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), BlockError> {
        self.device.check_write(sector, data.len())?;
        self.transfer(Transfer::Write(data), sector).await
    }

    /// Commits completed writes to stable storage: see [`BlockDevice::flush`].
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub async fn flush(&mut self) -> Result<(), BlockError> {
        if !self.device.info.flush {
            return Ok(());
        }
        self.transfer(Transfer::Flush, 0).await
    }

    async fn transfer(&mut self, data: Transfer<'_>, sector: u64) -> Result<(), BlockError> {
        let Self { events, device } = self;
        let mut job = Job::new(&mut device.queue, data, sector);
        poll_fn(|context| {
            events.poll(context, || {
                loop {
                    return match job.advance() {
                        // At most once for each request of the transfer.
                        Ok(Advance::Answered) => continue,
                        Ok(Advance::Waits) if job.queue.is_idle() => {
                            Poll::Ready(Err(BlockError::Busy))
                        }
                        Ok(Advance::Waits) => Poll::Pending,
                        Ok(Advance::Done) => Poll::Ready(Ok(())),
                        Err(error) => Poll::Ready(Err(error)),
                    };
                }
            })
        })
        .await
    }
}

#[cfg(feature = "block-device-driver")]
mod driver {
    use aligned::{A1, Aligned};
    use block_device_driver::{BlockDevice as Driver, blocks_to_slice, blocks_to_slice_mut};

    use super::{AsyncBlockDevice, BlockError};
    use crate::blk::SECTOR_SIZE;
    use crate::hypercall::Hypercall;
    use crate::ring::Wait;

    /// Converts a block's number to a sector's.
    fn sector<const SIZE: usize>(block: u32) -> Result<u64, BlockError> {
        if SIZE % SECTOR_SIZE != 0 {
            return Err(BlockError::Misaligned);
        }
        u64::from(block).checked_mul((SIZE / SECTOR_SIZE) as u64).ok_or(BlockError::OutOfRange)
    }

    /// `SIZE` should be a multiple of the size of the device's sectors. A transfer whose range does
    /// not consist of whole sectors fails with [`BlockError::Misaligned`].
    impl<H: Hypercall + Copy, A, W: Wait, const SIZE: usize> Driver<SIZE>
        for AsyncBlockDevice<'_, '_, H, A, W>
    {
        type Error = BlockError;
        type Align = A1;

        async fn read(
            &mut self,
            block: u32,
            data: &mut [Aligned<A1, [u8; SIZE]>],
        ) -> Result<(), BlockError> {
            Self::read(self, sector::<SIZE>(block)?, blocks_to_slice_mut(data)).await
        }

        async fn write(
            &mut self,
            block: u32,
            data: &[Aligned<A1, [u8; SIZE]>],
        ) -> Result<(), BlockError> {
            Self::write(self, sector::<SIZE>(block)?, blocks_to_slice(data)).await
        }

        async fn size(&mut self) -> Result<u64, BlockError> {
            let size = self.info().sectors.checked_mul(SECTOR_SIZE as u64);
            size.ok_or(BlockError::OutOfRange)
        }
    }
}

impl<H: Hypercall + Copy, A, W> fmt::Debug for AsyncBlockDevice<'_, '_, H, A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncBlockDevice").field("info", &self.device.info).finish_non_exhaustive()
    }
}
