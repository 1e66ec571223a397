//! Block devices: the frontend of `vbd` devices (upstream: `xen/include/public/io/blkif.h`).
//!
//! ```
//! use xen_hal::blk::{BlockDevice, BlockError, SECTOR_SIZE};
//! use xen_hal::grant::GrantTable;
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::ring::{DevicePage, Wait};
//! use xen_hal::xenstore::Store;
//!
//! /// Increments a number in the first sector of the disk `xvda`. One of the `pages` holds the
//! /// ring, the others hold data.
//! fn count<'t, H: Hypercall + Copy, A: Copy, W: Wait>(
//!     xen: H,
//!     store: &mut Store<'_, H, W>,
//!     table: GrantTable<'t, H, A>,
//!     pages: &mut [DevicePage<'t>],
//! ) -> Result<(), BlockError> {
//!     let mut disk = BlockDevice::connect(xen, store, "device/vbd/51712", table, pages)?;
//!     let mut sector = [0; SECTOR_SIZE];
//!     disk.read(0, &mut sector)?;
//!     sector[0] += 1;
//!     disk.write(0, &sector)?;
//!     disk.flush()?;
//!     disk.close(store)
//! }
//! # let disk = |dom0: &xen_sim::backend::Dom0, guest| {
//! #     dom0.attach(guest, xen_sim::backend::Disk::new(8));
//! # };
//! # xen_sim::storm_with_dom0(5, disk, |guest| -> Result<(), xen_hal::Error> {
//! #     let (xen, mut storage) = (guest.xen(), [0; Store::STORAGE]);
//! #     // SAFETY: the ring has one owner, as long as the machine runs.
//! #     let mut store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
//! #     let refs: &xen_hal::grant::GrantRefAllocator<1> = Box::leak(Box::default());
//! #     let (space, place) = (guest.space(), guest.page(1).cast());
//! #     // SAFETY: the page is the table's alone, and nothing of it is used after the run.
//! #     let table = unsafe { GrantTable::map(xen, space, place, refs, 1) }?;
//! #     let mut pages: Vec<DevicePage<'_>> = (2..10)
//! #         .map(|index| {
//! #             let page = guest.page(index).cast();
//! #             // SAFETY: the page is the value's alone.
//! #             unsafe { xen_hal::grant::Page::from_raw(&guest.space(), page) }.unwrap().into()
//! #         })
//! #         .collect();
//! #     Ok(count(xen, &mut store, table, &mut pages)?)
//! # });
//! ```
//!
//! - [`BlockDevice::read`], [`write`](BlockDevice::write) and [`flush`](BlockDevice::flush) wait
//!   with the device's [`Wait`], and fail when it gives up.
//! - For several requests in flight, use [`BlockDevice::submit_read`] and the other `submit`
//!   methods, and [`BlockDevice::answer`].
//! - [`embedded_storage::Storage`] reads and writes bytes at any offset below 4 GiB.
//! - [`BlockDevice::suspend`] keeps the requests in flight across a suspend of the domain.
//!
//! Data is copied through the driver's own pages, each granted for one request, so the backend
//! never sees the caller's memory. The backend is not trusted: a response must be the first to a
//! request in flight, repeat its operation, and have a valid status. Otherwise, the device is
//! [broken](BlockError::Broken). Responses may arrive in any order.
//!
//! The methods of [`BlockDevice`] are blocking, as are the traits of `embedded-storage`, a project
//! of the Rust embedded community. The trait of `block-device-driver` has only asynchronous
//! methods. With the feature `async`, an `AsyncBlockDevice` has the same operations as futures; the
//! feature `block-device-driver` adds that trait to it.
//!
//! # After an error
//!
//! - A request that [failed](BlockError::Failed) or [timed out](BlockError::TimedOut) can be
//!   repeated. A write that did not succeed can have changed any part of its range.
//! - A broken device still delivers the responses from before, and nothing else.
//!   [`close`](BlockDevice::close) it, or drop it, and connect it again with the same pages: the
//!   backend and the frontend start with an empty ring.
//! - A backend that does not close either lets [`BlockDevice::connect`] fail with
//!   [`StoreError::TimedOut`]. Another attempt is always possible. The pages that the backend still
//!   uses stay [deferred](DevicePage), and no other page is affected.

use core::num::TryFromIntError;

use xen_pac::blkif::{BlkifRequest, BlkifResponse, vdisk_info};
use xen_pac::xenstore::XenbusState;

use crate::event::Port;
use crate::grant::{GrantError, GrantTable};
use crate::hypercall::{Errno, Hypercall};
use crate::ring::{DevicePage, Protocol, Wait, YieldWait};
use crate::xenbus::{Frontend, Step, XenbusError};
use crate::xenstore::{Store, StoreError, Tree};

#[cfg(feature = "async")]
mod asynch;
mod queue;
mod resume;
mod storage;

#[cfg(feature = "async")]
pub use asynch::AsyncBlockDevice;
pub use queue::RequestId;
pub use resume::{ResumeBlockError, SuspendedBlockDevice};

use queue::{ENTRIES, Operation, Queue};

/// The unit of all sector numbers, whatever the size of the device's sectors.
pub const SECTOR_SIZE: usize = 512;

/// The name of this architecture's layout of requests. A backend of a different architecture needs
/// it.
const PROTOCOL: &str = if cfg!(target_arch = "x86_64") {
    "x86_64-abi"
} else if cfg!(target_arch = "x86") {
    "x86_32-abi"
} else {
    "arm-abi"
};

/// The ring's entries.
enum Blkif {}

impl Protocol for Blkif {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
}

/// A block device operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The device cannot be connected or closed.
    #[error(transparent)]
    Xenbus(#[from] XenbusError),
    /// A page cannot be granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Xen refused an operation on the event channel.
    #[error("the block device's event channel: {0}")]
    Event(Errno),
    /// The driver needs at least two free pages.
    #[error("expected at least two free pages for the block device")]
    NoPages,
    /// The range ends beyond the device's last sector.
    #[error("sectors are beyond the end of the block device")]
    OutOfRange,
    /// The range does not consist of whole sectors of the device, or the range of a request is
    /// empty.
    #[error("expected a range of whole sectors of the block device")]
    Misaligned,
    /// The device cannot be written.
    #[error("the block device cannot be written")]
    ReadOnly,
    /// The maximum number of requests is in flight, or no page is free: answered requests and the
    /// backend hold them.
    #[error("the block device has no room for another request")]
    Busy,
    /// The request has ended, or belongs to a different device.
    #[error("the request to the block device is not in flight")]
    NotInFlight,
    /// The backend did not answer in time. The requests are cancelled.
    #[error("the block device did not answer in time")]
    TimedOut,
    /// The backend failed to carry out the request.
    #[error("the block device failed to carry out the request")]
    Failed,
    /// The backend does not have the operation.
    #[error("the block device does not have the operation")]
    Unsupported,
    /// The backend sent an invalid response. Close the device, or drop it, and connect it again.
    #[error("the block device's backend broke the protocol")]
    Broken,
    /// The pages or the device are not those that were suspended.
    #[error("expected the pages and the block device that were suspended")]
    NotSuspended,
}

impl From<StoreError> for BlockError {
    fn from(error: StoreError) -> Self {
        XenbusError::from(error).into()
    }
}

impl From<TryFromIntError> for BlockError {
    fn from(_: TryFromIntError) -> Self {
        Self::OutOfRange
    }
}

/// The properties of a block device, from its backend's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The device's size in units of [`SECTOR_SIZE`].
    pub sectors: u64,
    /// The size of the device's sectors in bytes. Ranges must be multiples of it.
    pub sector_size: usize,
    /// True if the device cannot be written.
    pub read_only: bool,
    /// True if the backend can commit writes to stable storage.
    pub flush: bool,
}

impl BlockInfo {
    fn read(frontend: &Frontend<'_>, tree: &mut impl Tree) -> Result<Self, BlockError> {
        let sectors = frontend.backend_number(tree, "sectors")?;
        let sector_size = match frontend.backend_number(tree, "sector-size") {
            Err(XenbusError::Missing(_)) => SECTOR_SIZE,
            size => size?,
        };
        // A sector fits into a page.
        if ![512, 1024, 2048, 4096].contains(&sector_size) {
            return Err(XenbusError::Malformed("sector-size").into());
        }
        let info: u32 = match frontend.backend_number(tree, "info") {
            Err(XenbusError::Missing(_)) => 0,
            info => info?,
        };
        let flush = frontend.backend_feature(tree, "feature-flush-cache")?;
        let read_only = vdisk_info::READONLY.is_set(info);
        Ok(Self { sectors, sector_size, read_only, flush })
    }

    /// Checks a range of bytes that starts at a sector.
    fn check(&self, sector: u64, bytes: usize) -> Result<(), BlockError> {
        let unit = (self.sector_size / SECTOR_SIZE) as u64;
        if sector % unit != 0 || bytes % self.sector_size != 0 {
            return Err(BlockError::Misaligned);
        }
        let end = sector.checked_add((bytes / SECTOR_SIZE) as u64);
        match end {
            Some(end) if end <= self.sectors => Ok(()),
            _ => Err(BlockError::OutOfRange),
        }
    }
}

/// A connected block device.
///
/// Dropping it withdraws the pages at once, even if the backend uses them, and leaves the device
/// connected in xenstore. To close the device first, call [`close`](Self::close).
#[derive(Debug)]
pub struct BlockDevice<'a, 't, H: Hypercall + Copy, A, W = YieldWait<H>> {
    frontend: Frontend<'a>,
    queue: Queue<'a, 't, H, A>,
    info: BlockInfo,
    wait: W,
}

impl<'a, 't, H: Hypercall + Copy, A> BlockDevice<'a, 't, H, A> {
    /// Connects the device whose directory is `device`, such as `device/vbd/51712`. The first free
    /// page holds the ring, and each other one holds data. Two pages are enough; with 33, each of
    /// the ring's 32 requests can have a page.
    ///
    /// A device that is connected already, by an earlier kernel or by this one, is taken from it:
    /// requests of the earlier connection then time out.
    ///
    /// # Errors
    ///
    /// [`BlockError::NoPages`], [`BlockError::Grant`], [`BlockError::Event`];
    /// [`BlockError::Xenbus`], with the missing or malformed key, or the reason why the backend
    /// does not connect. All pages are withdrawn.
    pub fn connect<V: Wait>(
        xen: H,
        store: &mut Store<'_, H, V>,
        device: &'a str,
        table: GrantTable<'t, H, A>,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<Self, BlockError> {
        let mut frontend = Frontend::open(store, device)?;
        let connect = |frontend: &mut Frontend<'a>| -> Result<_, BlockError> {
            let number = device_number(store, frontend)?;
            // An earlier backend has then unmapped the pages.
            frontend.prepare(store)?;
            let queue = Queue::new(xen, table, frontend.backend_domain(), number, pages)?;
            let info = queue.handshake(store, frontend)?;
            Ok((queue, info))
        };
        let connected = connect(&mut frontend);
        let (queue, info) = connected.inspect_err(|_| frontend.clone().abandon(store))?;
        Ok(Self { frontend, queue, info, wait: YieldWait::new(xen) })
    }

    /// Replaces the way in which the device waits for the backend.
    #[must_use]
    pub fn with_wait<W: Wait>(self, wait: W) -> BlockDevice<'a, 't, H, A, W> {
        let Self { frontend, queue, info, .. } = self;
        BlockDevice { frontend, queue, info, wait }
    }
}

/// Returns the number of a device.
fn device_number(store: &mut impl Tree, frontend: &Frontend<'_>) -> Result<u32, BlockError> {
    Ok(frontend.number(store, "virtual-device")?)
}

impl<H: Hypercall + Copy, A> Queue<'_, '_, H, A> {
    /// Connects the queue to the backend, which waits for its keys. Returns the device's
    /// properties.
    fn handshake<V: Wait>(
        &self,
        store: &mut Store<'_, H, V>,
        frontend: &mut Frontend<'_>,
    ) -> Result<BlockInfo, BlockError> {
        let (ring, port) = (self.ring_reference(), self.port().0);
        let keys =
            [("ring-ref", &ring as _), ("event-channel", &port as _), ("protocol", &PROTOCOL as _)];
        frontend.publish(store, &keys, XenbusState::INITIALISED)?;
        if frontend.next_step(store)? != Step::Connect {
            return Err(XenbusError::BackendGone.into());
        }
        let info = BlockInfo::read(frontend, store)?;
        frontend.switch(store, XenbusState::CONNECTED)?;
        Ok(info)
    }
}

impl<'a, H: Hypercall + Copy, A, W: Wait> BlockDevice<'a, '_, H, A, W> {
    /// Returns the device's properties.
    #[must_use]
    pub const fn info(&self) -> &BlockInfo {
        &self.info
    }

    /// Returns the frontend. Call its [`step`](Frontend::step) after each xenstore event whose
    /// token is the device's directory: it shows whether the backend closes.
    #[must_use]
    pub const fn frontend(&self) -> &Frontend<'a> {
        &self.frontend
    }

    /// Returns the device's port. The backend signals it when it has answered a request.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.queue.port()
    }

    /// Fills `data` from the device, starting at `sector`. If the data does not fit into one
    /// request, keeps several in flight together. If `data` is empty, sends nothing.
    ///
    /// # Errors
    ///
    /// [`BlockError::OutOfRange`], [`BlockError::Misaligned`]; [`BlockError::Failed`],
    /// [`BlockError::Unsupported`]; [`BlockError::TimedOut`], [`BlockError::Broken`],
    /// [`BlockError::Grant`], [`BlockError::Event`]; [`BlockError::Busy`] if no page becomes free
    /// although no request is in flight. Part of `data` may have been filled.
    pub fn read(&mut self, sector: u64, data: &mut [u8]) -> Result<(), BlockError> {
        self.info.check(sector, data.len())?;
        self.transfer(Transfer::Read(data), sector)
    }

    /// Writes `data` to the device, starting at `sector`. If the data does not fit into one
    /// request, keeps several in flight together. The backend may still hold the data in a cache:
    /// see [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`BlockError::ReadOnly`], and as for [`read`](Self::read). Part of the data may have been
    /// written, or may be written later.
    pub fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), BlockError> {
        self.check_write(sector, data.len())?;
        self.transfer(Transfer::Write(data), sector)
    }

    fn check_write(&self, sector: u64, bytes: usize) -> Result<(), BlockError> {
        if self.info.read_only {
            return Err(BlockError::ReadOnly);
        }
        self.info.check(sector, bytes)
    }

    /// Commits completed writes to stable storage. If [`BlockInfo::flush`] is false, the backend
    /// cannot do that, and this does nothing.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn flush(&mut self) -> Result<(), BlockError> {
        if self.info.flush { self.transfer(Transfer::Flush, 0) } else { Ok(()) }
    }

    /// Sends a request to read `bytes`, starting at `sector`, and does not wait. Returns the
    /// request, and the number of bytes that it reads: fewer than requested if there is no room for
    /// all.
    ///
    /// # Errors
    ///
    /// [`BlockError::Busy`]; [`BlockError::Misaligned`] also if `bytes` is zero; otherwise as for
    /// [`read`](Self::read).
    pub fn submit_read(
        &mut self,
        sector: u64,
        bytes: usize,
    ) -> Result<(RequestId, usize), BlockError> {
        self.info.check(sector, bytes)?;
        self.submit(Operation::Read(bytes), sector)
    }

    /// Sends a request to write `data`, starting at `sector`, and does not wait. Returns the
    /// request, and the number of bytes that it writes: fewer than given if there is no room for
    /// all.
    ///
    /// # Errors
    ///
    /// [`BlockError::Busy`]; [`BlockError::Misaligned`] also if `data` is empty; otherwise as for
    /// [`write`](Self::write).
    pub fn submit_write(
        &mut self,
        sector: u64,
        data: &[u8],
    ) -> Result<(RequestId, usize), BlockError> {
        self.check_write(sector, data.len())?;
        self.submit(Operation::Write(data), sector)
    }

    /// Sends a request that transfers data. The backend fails one without segments.
    fn submit(
        &mut self,
        operation: Operation<'_>,
        sector: u64,
    ) -> Result<(RequestId, usize), BlockError> {
        if operation.bytes() == 0 {
            return Err(BlockError::Misaligned);
        }
        let sent = self.queue.enqueue(operation, sector)?;
        self.queue.notify().map(|()| sent)
    }

    /// Sends a request to commit writes, and does not wait.
    ///
    /// # Errors
    ///
    /// [`BlockError::Busy`]; [`BlockError::Unsupported`] if the backend does not announce the
    /// operation; otherwise as for [`read`](Self::read).
    pub fn submit_flush(&mut self) -> Result<RequestId, BlockError> {
        if !self.info.flush {
            return Err(BlockError::Unsupported);
        }
        let (id, _) = self.queue.enqueue(Operation::Flush, 0)?;
        self.queue.notify().map(|()| id)
    }

    /// If the backend has answered a request, ends it, and copies the data of a read to `data`: the
    /// number of bytes that the request reads, or `data.len()` if that is less. Otherwise returns
    /// `None`. Does not wait.
    ///
    /// # Errors
    ///
    /// [`BlockError::NotInFlight`]. [`BlockError::Failed`], [`BlockError::Unsupported`] and
    /// [`BlockError::Grant`] end the request. After [`BlockError::Broken`], connect the device
    /// again.
    pub fn answer(&mut self, id: RequestId, data: &mut [u8]) -> Result<Option<()>, BlockError> {
        self.queue.answer(id, data)
    }

    /// Cancels a request. The backend may still carry it out.
    pub fn cancel(&mut self, id: RequestId) {
        self.queue.cancel(id);
    }

    /// Transfers data, and waits for the backend.
    fn transfer(&mut self, data: Transfer<'_>, sector: u64) -> Result<(), BlockError> {
        let (port, mut attempt) = (self.queue.port(), 0);
        let mut job = Job::new(&mut self.queue, data, sector);
        loop {
            match job.advance()? {
                Advance::Done => return Ok(()),
                Advance::Answered => attempt = 0,
                Advance::Waits => {
                    if self.wait.wait(port, attempt).is_break() {
                        let idle = job.queue.is_idle();
                        return Err(if idle { BlockError::Busy } else { BlockError::TimedOut });
                    }
                    attempt = attempt.saturating_add(1);
                }
            }
        }
    }

    /// Closes the device, and withdraws all pages.
    ///
    /// # Errors
    ///
    /// [`BlockError::Xenbus`] if the backend does not close in time, or xenstore fails. The pages
    /// are withdrawn in any case.
    pub fn close<V: Wait>(mut self, store: &mut Store<'_, H, V>) -> Result<(), BlockError> {
        Ok(self.frontend.close(store)?)
    }
}

/// A transfer, with as many requests at once as there is room for. Dropping it cancels those in
/// flight.
struct Job<'j, 'd, 'a, 't, H: Hypercall + Copy, A> {
    queue: &'j mut Queue<'a, 't, H, A>,
    data: Transfer<'d>,
    sector: u64,
    /// The number of bytes for which there are requests.
    begun: usize,
    flights: Flights,
}

/// The state of a transfer.
enum Advance {
    /// A request was answered. There may be more to do at once.
    Answered,
    /// The backend must act first.
    Waits,
    Done,
}

impl<'j, 'd, 'a, 't, H: Hypercall + Copy, A> Job<'j, 'd, 'a, 't, H, A> {
    fn new(queue: &'j mut Queue<'a, 't, H, A>, data: Transfer<'d>, sector: u64) -> Self {
        let flights = Flights { all: [None; ENTRIES], first: 0, next: 0 };
        Self { queue, data, sector, begun: 0, flights }
    }

    /// Sends the requests for which there is room, and takes at most one answer.
    fn advance(&mut self) -> Result<Advance, BlockError> {
        let total = self.data.len();
        while self.begun < total && !self.flights.is_full() {
            let from = self.sector + (self.begun / SECTOR_SIZE) as u64;
            match self.queue.enqueue(self.data.operation(self.begun), from) {
                Ok((id, length)) => {
                    self.flights.push(Flight { id, start: self.begun, length });
                    // A flush has no bytes.
                    self.begun += length.max(1);
                }
                Err(BlockError::Busy) => break,
                // The answers free references.
                Err(BlockError::Grant(GrantError::Full)) if self.flights.oldest().is_some() => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.queue.notify()?;
        let Some(Flight { id, start, length }) = self.flights.oldest() else {
            return Ok(if self.begun == total { Advance::Done } else { Advance::Waits });
        };
        let answer = self.queue.answer(id, self.data.destination(start, length));
        if !matches!(answer, Ok(None)) {
            self.flights.pop();
        }
        // There is at most one answer for each request.
        Ok(if answer?.is_some() { Advance::Answered } else { Advance::Waits })
    }
}

impl<H: Hypercall + Copy, A> Drop for Job<'_, '_, '_, '_, H, A> {
    fn drop(&mut self) {
        while let Some(flight) = self.flights.pop() {
            self.queue.cancel(flight.id);
        }
    }
}

/// The data of a transfer.
enum Transfer<'d> {
    Read(&'d mut [u8]),
    Write(&'d [u8]),
    Flush,
}

impl Transfer<'_> {
    /// Returns the number of bytes, and 1 for a flush.
    fn len(&self) -> usize {
        match self {
            Self::Read(data) => data.len(),
            Self::Write(data) => data.len(),
            Self::Flush => 1,
        }
    }

    /// Returns the operation for the data that starts at byte `begun`.
    fn operation(&self, begun: usize) -> Operation<'_> {
        match self {
            Self::Read(data) => Operation::Read(data.len() - begun),
            Self::Write(data) => Operation::Write(&data[begun..]),
            Self::Flush => Operation::Flush,
        }
    }

    /// Returns the destination of a request's data.
    fn destination(&mut self, start: usize, length: usize) -> &mut [u8] {
        match self {
            Self::Read(data) => &mut data[start..start + length],
            Self::Write(_) | Self::Flush => &mut [],
        }
    }
}

/// A request of a transfer, and the range of bytes that it moves.
#[derive(Clone, Copy)]
struct Flight {
    id: RequestId,
    start: usize,
    length: usize,
}

/// The requests of a transfer, oldest first.
struct Flights {
    all: [Option<Flight>; ENTRIES],
    first: usize,
    next: usize,
}

impl Flights {
    fn is_full(&self) -> bool {
        self.next - self.first == ENTRIES
    }

    fn push(&mut self, flight: Flight) {
        self.all[self.next % ENTRIES] = Some(flight);
        self.next += 1;
    }

    fn oldest(&self) -> Option<Flight> {
        self.all[self.first % ENTRIES]
    }

    fn pop(&mut self) -> Option<Flight> {
        let flight = self.all[self.first % ENTRIES].take();
        self.first += usize::from(flight.is_some());
        flight
    }
}
