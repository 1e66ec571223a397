//! Keeps the requests of a block device across a suspend of the domain.

use core::cmp::Reverse;
use core::fmt;

use xen_pac::base::Domid;
use xen_pac::blkif::BlkifRequestSegment;

use super::queue::{ENTRIES, Progress, Queue, Request, SEGMENTS, complete, segment_of};
use super::{Blkif, BlockDevice, BlockError, BlockInfo, device_number};
use crate::event::{Channel, Events};
use crate::grant::GrantTable;
use crate::hypercall::Hypercall;
use crate::ring::{DevicePage, DeviceRing, Suspension, Wait, YieldWait};
use crate::xenbus::Frontend;
use crate::xenstore::{Store, Tree};

/// A block device of a domain that is suspended.
///
/// It borrows neither the grant table nor the pages, so it outlives
/// [`Registered::suspend`](crate::suspend::Registered::suspend). Dropping it closes the channel, so
/// no answer can be taken any more. The backend may still carry out the requests, and their pages
/// stay granted until it has unmapped them.
pub struct SuspendedBlockDevice<H: Hypercall + Copy, W = YieldWait<H>> {
    /// `None` only within `resume`.
    channel: Option<Channel<H>>,
    ring: Suspension,
    /// True once the channel is not that of before the suspend.
    restored: bool,
    frontend: Frontend<'static>,
    handle: u32,
    requests: [Request; ENTRIES],
    serial: u32,
    broken: bool,
    info: BlockInfo,
    wait: W,
}

/// A suspended block device was not connected again. The requests are kept.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResumeBlockError<H: Hypercall + Copy, W = YieldWait<H>> {
    /// The device, which can be resumed again.
    pub suspended: SuspendedBlockDevice<H, W>,
    /// The reason.
    pub error: BlockError,
}

impl<'a, H: Hypercall + Copy, A, W: Wait> BlockDevice<'a, '_, H, A, W> {
    /// Ends the use of the device before the domain is suspended, and keeps its requests. The pages
    /// stay granted, because the suspend can be cancelled.
    ///
    /// Then [detach](DevicePage::detach) the pages, suspend the domain, and call
    /// [`SuspendedBlockDevice::resume`].
    ///
    /// ```
    /// use xen_hal::blk::{BlockDevice, BlockError, SECTOR_SIZE};
    /// use xen_hal::grant::GrantTable;
    /// use xen_hal::hypercall::Hypercall;
    /// use xen_hal::platform::AddressSpace;
    /// use xen_hal::ring::{DevicePage, Wait};
    /// use xen_hal::xenstore::Store;
    ///
    /// const XVDA: &str = "device/vbd/51712";
    ///
    /// /// Writes a sector. `suspend` suspends the domain while the request is in flight.
    /// fn write<'t, H: Hypercall + Copy, A: AddressSpace + Copy, W: Wait>(
    ///     xen: H,
    ///     store: &mut Store<'_, H, W>,
    ///     table: GrantTable<'_, H, A>,
    ///     pages: [DevicePage<'static>; 2],
    ///     suspend: impl FnOnce(&mut Store<'_, H, W>) -> GrantTable<'t, H, A>,
    /// ) -> Result<(), BlockError> {
    ///     let mut lent = pages;
    ///     let mut disk = BlockDevice::connect(xen, store, XVDA, table, &mut lent)?;
    ///     let (request, _) = disk.submit_write(0, &[0xa5; SECTOR_SIZE])?;
    ///     let suspended = disk.suspend();
    ///     let mut pages = lent.map(DevicePage::detach);
    ///     let table = suspend(store);
    ///     let mut disk = suspended
    ///         .resume(xen, store, XVDA, table, &mut pages)
    ///         .map_err(|error| error.error)?;
    ///     while disk.answer(request, &mut [])?.is_none() {
    ///         disk.flush()?;
    ///     }
    ///     disk.close(store)
    /// }
    /// # let disk = |dom0: &xen_sim::backend::Dom0, guest| {
    /// #     dom0.attach(guest, xen_sim::backend::Disk::new(8));
    /// # };
    /// # xen_sim::storm_with_dom0(5, disk, |guest| -> Result<(), xen_hal::Error> {
    /// #     let (xen, mut storage) = (guest.xen(), [0; Store::STORAGE]);
    /// #     // SAFETY: the ring has one owner, as long as the machine runs.
    /// #     let store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) };
    /// #     let refs: &xen_hal::grant::GrantRefAllocator<1> = Box::leak(Box::default());
    /// #     let (space, place) = (guest.space(), guest.page(1).cast());
    /// #     // SAFETY: the page is the table's alone, and nothing of it is used after the run.
    /// #     let table = unsafe { GrantTable::map(xen, space, place, refs, 1) }?;
    /// #     let pages = [2, 3].map(|index| {
    /// #         let page = guest.page(index).cast();
    /// #         // SAFETY: the page is the value's alone.
    /// #         unsafe { xen_hal::grant::Page::from_raw(&guest.space(), page) }.unwrap().into()
    /// #     });
    /// #     // The suspend is cancelled.
    /// #     Ok(write(xen, &mut store?, table, pages, |_| table)?)
    /// # });
    /// ```
    #[must_use = "dropping it cancels all requests"]
    pub fn suspend(self) -> SuspendedBlockDevice<H, W> {
        let Self { frontend, queue, info, wait } = self;
        let Queue { channel, handle, ring, requests, serial, broken, .. } = queue;
        let (ring, frontend) = (ring.suspend(), frontend.at(""));
        SuspendedBlockDevice {
            channel: Some(channel),
            ring,
            restored: false,
            frontend,
            handle,
            requests,
            serial,
            broken,
            info,
            wait,
        }
    }
}

impl<H: Hypercall + Copy, W: Wait> SuspendedBlockDevice<H, W> {
    /// Continues to use the device `device`, with all pages that it had, in the same order. Further
    /// pages are not used.
    ///
    /// If the suspend was cancelled, the backend still carries out the requests. If the domain was
    /// restored, connects the device again, and sends each request again to which the backend had
    /// not responded, in the same order. The requests keep their [`RequestId`](super::RequestId) in
    /// both cases.
    ///
    /// After a restore, first reopen xenstore and register the grant table again.
    ///
    /// # Errors
    ///
    /// [`BlockError::NotSuspended`] if the device or a page is another one, or if a page in use was
    /// taken meanwhile; otherwise as for [`BlockDevice::connect`].
    #[allow(clippy::result_large_err, reason = "the error returns the requests")]
    pub fn resume<'a, 't, A, V: Wait>(
        mut self,
        xen: H,
        store: &mut Store<'_, H, V>,
        device: &'a str,
        table: GrantTable<'t, H, A>,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<BlockDevice<'a, 't, H, A, W>, ResumeBlockError<H, W>> {
        self.restored |= self.channel.as_ref().is_none_or(|channel| !channel.is_current());
        let resumed = match self.restored {
            true => self.reconnect(xen, store, device, table, pages),
            false => self.reuse(store, device, table, pages),
        };
        match resumed {
            Ok((frontend, queue)) => {
                let Self { info, wait, .. } = self;
                Ok(BlockDevice { frontend, queue, info, wait })
            }
            Err(error) => Err(ResumeBlockError { suspended: self, error }),
        }
    }

    /// Continues with the backend that the device had.
    fn reuse<'a, 't, A>(
        &mut self,
        store: &mut impl Tree,
        device: &'a str,
        table: GrantTable<'t, H, A>,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<(Frontend<'a>, Queue<'a, 't, H, A>), BlockError> {
        let frontend = self.frontend.clone().at(device);
        if device_number(store, &frontend)? != self.handle {
            return Err(BlockError::NotSuspended);
        }
        let ring = self.ring(&table, None, pages)?;
        let channel = self.channel.take().ok_or(BlockError::NotSuspended)?;
        let queue = self.queue(table, frontend.backend_domain(), channel, ring);
        Ok((frontend, queue))
    }

    /// Connects to the backend of the restored domain.
    fn reconnect<'a, 't, A, V: Wait>(
        &mut self,
        xen: H,
        store: &mut Store<'_, H, V>,
        device: &'a str,
        table: GrantTable<'t, H, A>,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<(Frontend<'a>, Queue<'a, 't, H, A>), BlockError> {
        let mut frontend = Frontend::open(store, device)?;
        let result = self.reconnect_by(&mut frontend, xen, store, table, pages);
        let queue = result.inspect_err(|_| frontend.clone().abandon(store))?;
        Ok((frontend, queue))
    }

    fn reconnect_by<'a, 't, A, V: Wait>(
        &mut self,
        frontend: &mut Frontend<'a>,
        xen: H,
        store: &mut Store<'_, H, V>,
        table: GrantTable<'t, H, A>,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<Queue<'a, 't, H, A>, BlockError> {
        if device_number(store, frontend)? != self.handle {
            return Err(BlockError::NotSuspended);
        }
        frontend.prepare(store)?;
        let peer = frontend.backend_domain();
        let channel = Events::new(xen).alloc_unbound(peer).map_err(BlockError::Event)?;
        self.take_responses(&table, pages);
        let ring = self.ring(&table, Some(peer), pages)?;
        let mut queue = self.queue(table, peer, channel, ring);
        let connected = queue.repeat().and_then(|()| queue.handshake(store, frontend));
        match connected.and_then(|info| queue.notify().map(|()| info)) {
            Ok(info) => {
                self.info = info;
                Ok(queue)
            }
            Err(error) => {
                let Queue { channel, ring, requests, .. } = queue;
                (self.channel, self.ring, self.requests) =
                    (Some(channel), ring.suspend(), requests);
                Err(error)
            }
        }
    }

    /// Takes the responses of the former backend, whose requests are not repeated, and ends the
    /// requests that were cancelled. Does nothing if the pages are not those of the ring.
    fn take_responses<'t, A>(
        &mut self,
        table: &GrantTable<'t, H, A>,
        pages: &mut [DevicePage<'t>],
    ) {
        let Self { requests, broken, ring, .. } = self;
        let taken = DeviceRing::<Blkif>::take_responses(table, ring, pages, |ring| {
            // After an invalid response, the other requests are repeated.
            while !*broken {
                let Some(response) = ring.pop() else { break };
                *broken = complete(requests, &response).is_none();
            }
        });
        if !taken {
            return;
        }
        *broken = false;
        for request in requests.iter_mut() {
            if request.progress == Progress::Cancelled {
                request.progress = Progress::Free;
            }
        }
    }

    /// Returns the ring, with the pages of the requests granted.
    fn ring<'a, 't, A>(
        &mut self,
        table: &GrantTable<'t, H, A>,
        restored: Option<Domid>,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<DeviceRing<'a, 't, Blkif>, BlockError> {
        let (requests, suspension) = (&self.requests, &mut self.ring);
        let used = |index| requests.iter().find_map(|request| request.page_use(index));
        DeviceRing::resume(table, suspension, restored, pages, used)?
            .ok_or(BlockError::NotSuspended)
    }

    fn queue<'a, 't, A>(
        &self,
        table: GrantTable<'t, H, A>,
        peer: Domid,
        channel: Channel<H>,
        ring: DeviceRing<'a, 't, Blkif>,
    ) -> Queue<'a, 't, H, A> {
        let Self { handle, requests, serial, broken, .. } = *self;
        Queue { table, channel, peer, handle, ring, requests, serial, broken }
    }
}

impl<H: Hypercall + Copy, A> Queue<'_, '_, H, A> {
    /// Puts the requests without a response into the new ring.
    fn repeat(&mut self) -> Result<(), BlockError> {
        let mut order: [usize; ENTRIES] = core::array::from_fn(|index| index);
        let age = |index: &usize| self.serial.wrapping_sub(self.requests[*index].serial);
        order.sort_unstable_by_key(|index| Reverse(age(index)));
        for index in order {
            let request = self.requests[index];
            if request.progress == Progress::InFlight {
                let segments = self.segments(&request).ok_or(BlockError::NotSuspended)?;
                self.push(index, &request, segments)?;
            }
        }
        Ok(())
    }

    /// Returns the segments of a request whose pages are granted.
    fn segments(&mut self, request: &Request) -> Option<[BlkifRequestSegment; SEGMENTS]> {
        let mut segments = [BlkifRequestSegment::ZEROED; SEGMENTS];
        for (segment, (index, length)) in segments.iter_mut().zip(request.parts()) {
            *segment = segment_of(self.ring.pages()[index].reference()?, length);
        }
        Some(segments)
    }
}

impl<H: Hypercall + Copy, W> fmt::Debug for SuspendedBlockDevice<H, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuspendedBlockDevice")
            .field("channel", &self.channel)
            .field("restored", &self.restored)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl<H: Hypercall + Copy, W> fmt::Display for ResumeBlockError<H, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot resume the block device: {}", self.error)
    }
}

impl<H: Hypercall + Copy + fmt::Debug, W: fmt::Debug> core::error::Error
    for ResumeBlockError<H, W>
{
}
