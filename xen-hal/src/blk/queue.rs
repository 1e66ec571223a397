//! Manages the requests in flight, and their granted pages.

use core::fmt;

use xen_pac::base::Domid;
use xen_pac::blkif::{
    BLKIF_MAX_SEGMENTS_PER_REQUEST, BlkifOperation, BlkifRequest, BlkifRequestSegment,
    BlkifResponse, BlkifStatus,
};

use super::{Blkif, BlockError, SECTOR_SIZE};
use crate::event::{Channel, Events, Port};
use crate::grant::{Access, Grant, GrantError, GrantRef, GrantTable};
use crate::hypercall::Hypercall;
use crate::platform::PAGE_SIZE;
use crate::ring::{DevicePage, DeviceRing, FrontRing, PageUse};

/// The maximum number of requests in flight.
pub(super) const ENTRIES: usize = FrontRing::<Grant<'static>, Blkif>::ENTRIES;

pub(super) const SEGMENTS: usize = BLKIF_MAX_SEGMENTS_PER_REQUEST as usize;

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    index: u32,
    /// Counts all requests, so a response to an earlier request does not match this one.
    serial: u32,
}

impl RequestId {
    fn to_wire(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.index)
    }

    fn from_wire(id: u64) -> Self {
        Self { index: id as u32, serial: (id >> 32) as u32 }
    }
}

/// The operation of a request.
#[derive(Clone, Copy)]
pub(super) enum Operation<'d> {
    /// Reads this number of bytes.
    Read(usize),
    Write(&'d [u8]),
    Flush,
}

impl Operation<'_> {
    const fn number(self) -> BlkifOperation {
        match self {
            Self::Read(_) => BlkifOperation::READ,
            Self::Write(_) => BlkifOperation::WRITE,
            Self::Flush => BlkifOperation::FLUSH_DISKCACHE,
        }
    }

    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Read(bytes) => bytes,
            Self::Write(data) => data.len(),
            Self::Flush => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Free.
    Free,
    InFlight,
    /// In flight, and cancelled.
    Cancelled,
    /// Answered.
    Done(BlkifStatus),
}

#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) progress: Progress,
    pub(super) serial: u32,
    operation: BlkifOperation,
    sector: u64,
    bytes: u32,
    /// The indices of the pages. The first `count` elements are used.
    pages: [u16; SEGMENTS],
    count: u8,
}

impl Request {
    /// Returns how the request uses the page; `None` if it does not.
    pub(super) fn page_use(&self, index: usize) -> Option<PageUse> {
        let (_, length) = self.parts().find(|(page, _)| *page == index)?;
        Some(match (self.progress, self.operation) {
            (Progress::Free, _) => return None,
            (Progress::Done(_), _) => PageUse::Received,
            (_, BlkifOperation::WRITE) => PageUse::Lent(Access::ReadOnly, length),
            _ => PageUse::Lent(Access::ReadWrite, 0),
        })
    }

    /// Returns the indices of the request's pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = usize> + '_ {
        self.pages.iter().take(self.count.into()).copied().map(usize::from)
    }

    /// Returns the indices of the request's pages, and the number of bytes in each.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let bytes = self.bytes as usize;
        let starts = (0..bytes).step_by(PAGE_SIZE);
        self.pages().zip(starts.map(move |start| (bytes - start).min(PAGE_SIZE)))
    }
}

const NO_REQUEST: Request = Request {
    progress: Progress::Free,
    serial: 0,
    operation: BlkifOperation::READ,
    sector: 0,
    bytes: 0,
    pages: [0; SEGMENTS],
    count: 0,
};

/// Returns the segment of a page's first `length` bytes, which are whole sectors.
pub(super) const fn segment_of(page: GrantRef, length: usize) -> BlkifRequestSegment {
    BlkifRequestSegment::new(page.0, 0, (length / SECTOR_SIZE).saturating_sub(1) as u8)
}

/// The ring, its channel, and the requests.
pub(super) struct Queue<'a, 't, H: Hypercall + Copy, A> {
    pub(super) table: GrantTable<'t, H, A>,
    pub(super) channel: Channel<H>,
    pub(super) peer: Domid,
    /// The device's number.
    pub(super) handle: u32,
    pub(super) ring: DeviceRing<'a, 't, Blkif>,
    pub(super) requests: [Request; ENTRIES],
    pub(super) serial: u32,
    pub(super) broken: bool,
}

impl<'a, 't, H: Hypercall + Copy, A> Queue<'a, 't, H, A> {
    /// Creates a ring in one of the pages, and a channel.
    pub(super) fn new(
        xen: H,
        table: GrantTable<'t, H, A>,
        peer: Domid,
        handle: u32,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<Self, BlockError> {
        let ring = DeviceRing::new(&table, peer, pages)?.ok_or(BlockError::NoPages)?;
        let channel = Events::new(xen).alloc_unbound(peer).map_err(BlockError::Event)?;
        let (requests, serial, broken) = ([NO_REQUEST; ENTRIES], 0, false);
        Ok(Self { table, channel, peer, handle, ring, requests, serial, broken })
    }

    /// Returns the grant reference of the ring.
    pub(super) fn ring_reference(&self) -> GrantRef {
        self.ring.reference()
    }

    pub(super) const fn port(&self) -> Port {
        self.channel.port()
    }

    /// Puts a request into the ring. The backend sees it after [`notify`](Self::notify). Returns
    /// the number of bytes that it transfers, which the free pages limit.
    pub(super) fn enqueue(
        &mut self,
        operation: Operation<'_>,
        sector: u64,
    ) -> Result<(RequestId, usize), BlockError> {
        self.receive()?;
        let index = self.requests.iter().position(|request| request.progress == Progress::Free);
        let index = index.ok_or(BlockError::Busy)?;
        let mut request =
            Request { progress: Progress::InFlight, operation: operation.number(), ..NO_REQUEST };
        request.sector = sector;
        let mut segments = [BlkifRequestSegment::ZEROED; SEGMENTS];
        let lent = self.lend_pages(operation, &mut request, &mut segments);
        let queued = lent.and_then(|bytes| {
            self.serial = self.serial.wrapping_add(1);
            (request.serial, request.bytes) = (self.serial, bytes as u32);
            self.push(index, &request, segments).map(|id| (id, bytes))
        });
        match queued {
            Ok(_) => self.requests[index] = request,
            Err(_) => self.take_back(&request),
        }
        queued
    }

    /// Puts the request at this index into the ring.
    pub(super) fn push(
        &mut self,
        index: usize,
        request: &Request,
        segments: [BlkifRequestSegment; SEGMENTS],
    ) -> Result<RequestId, BlockError> {
        let id = RequestId { index: index as u32, serial: request.serial };
        let (number, count, sector) = (request.operation, request.count, request.sector);
        // The field can be too small. The backend ignores it, because it identifies the device by
        // its directory.
        let handle = self.handle as u16;
        let entry = BlkifRequest::new(number, count, handle, id.to_wire(), sector, segments);
        self.ring.ring().push(&entry).map(|()| id).map_err(|_| BlockError::Busy)
    }

    /// Grants as many free pages as the operation needs, and records them in the request, even if
    /// this fails. Returns the number of bytes that they hold.
    fn lend_pages(
        &mut self,
        operation: Operation<'_>,
        request: &mut Request,
        segments: &mut [BlkifRequestSegment; SEGMENTS],
    ) -> Result<usize, BlockError> {
        let mut bytes = 0;
        let access = match operation {
            // For a write, the backend only reads the page.
            Operation::Write(_) => Access::ReadOnly,
            _ => Access::ReadWrite,
        };
        while let (Some(segment), true) =
            (segments.get_mut(usize::from(request.count)), bytes < operation.bytes())
        {
            let Some(index) = self.ring.free_page(&self.table) else { break };
            let Ok(short) = u16::try_from(index) else { break };
            let page = &mut self.ring.pages()[index];
            let length = (operation.bytes() - bytes).min(PAGE_SIZE);
            if let (Operation::Write(data), Some(content)) = (operation, page.bytes()) {
                content.copy_from(0, &data[bytes..bytes + length])?;
            }
            let reference = match page.lend(&self.table, self.peer, access) {
                // The request gets as many pages as there are references.
                Err(GrantError::Full) if bytes > 0 => break,
                reference => reference?,
            };
            *segment = segment_of(reference, length);
            request.pages[usize::from(request.count)] = short;
            request.count += 1;
            bytes += length;
        }
        if bytes == 0 && operation.bytes() > 0 { Err(BlockError::Busy) } else { Ok(bytes) }
    }

    /// Publishes the requests, and notifies the backend if necessary.
    pub(super) fn notify(&mut self) -> Result<(), BlockError> {
        if self.ring.ring().publish() {
            self.channel.send().map_err(BlockError::Event)
        } else {
            Ok(())
        }
    }

    /// Takes all responses. There is at most one for each request.
    pub(super) fn receive(&mut self) -> Result<(), BlockError> {
        while !self.broken {
            let ring = self.ring.ring();
            match ring.pop() {
                Some(response) => match complete(&mut self.requests, &response) {
                    Some(ended) if ended.progress == Progress::Free => self.take_back(&ended),
                    completed => self.broken = completed.is_none(),
                },
                None if ring.rearm() => {}
                None => return Ok(()),
            }
        }
        Err(BlockError::Broken)
    }

    fn find(&mut self, id: RequestId) -> Option<&mut Request> {
        find(&mut self.requests, id)
    }

    pub(super) fn answer(
        &mut self,
        id: RequestId,
        data: &mut [u8],
    ) -> Result<Option<()>, BlockError> {
        // Responses from before the protocol error are still delivered.
        let received = self.receive();
        let request = self.find(id).map(|request| *request).ok_or(BlockError::NotInFlight)?;
        let status = match request.progress {
            Progress::InFlight => return received.map(|()| None),
            Progress::Free | Progress::Cancelled => return Err(BlockError::NotInFlight),
            Progress::Done(status) => status,
        };
        let result = match status {
            BlkifStatus::OKAY => self.copy_out(&request, data),
            BlkifStatus::EOPNOTSUPP => Err(BlockError::Unsupported),
            _ => Err(BlockError::Failed),
        };
        self.end(id);
        result.map(Some)
    }

    /// Copies the data once, because the backend may still write to the pages.
    fn copy_out(&mut self, request: &Request, data: &mut [u8]) -> Result<(), BlockError> {
        if request.operation == BlkifOperation::READ {
            for (part, (index, length)) in data.chunks_mut(PAGE_SIZE).zip(request.parts()) {
                let page = self.ring.pages()[index].bytes().ok_or(BlockError::Broken)?;
                let length = length.min(part.len());
                page.copy_to(0, &mut part[..length])?;
            }
        }
        Ok(())
    }

    #[cfg(feature = "async")]
    pub(super) const fn events(&self) -> Events<H> {
        self.channel.events()
    }

    /// True if the backend has answered all requests.
    pub(super) fn is_idle(&self) -> bool {
        let waits = |request: &Request| {
            matches!(request.progress, Progress::InFlight | Progress::Cancelled)
        };
        !self.requests.iter().any(waits)
    }

    pub(super) fn cancel(&mut self, id: RequestId) {
        match self.find(id).map(|request| &mut request.progress) {
            Some(progress @ Progress::InFlight) => *progress = Progress::Cancelled,
            Some(Progress::Done(_)) => self.end(id),
            _ => {}
        }
    }

    /// Ends an answered request.
    fn end(&mut self, id: RequestId) {
        if let Some(request) = self.find(id) {
            let ended = *request;
            request.progress = Progress::Free;
            self.take_back(&ended);
        }
    }

    pub(super) fn take_back(&mut self, request: &Request) {
        for index in request.pages() {
            self.ring.pages()[index].take_back();
        }
    }
}

fn find(requests: &mut [Request], id: RequestId) -> Option<&mut Request> {
    let request = requests.get_mut(usize::try_from(id.index).ok()?)?;
    Some(request).filter(|request| request.serial == id.serial)
}

/// Records a response, and returns the request, which is free if it was cancelled. Returns `None`
/// if the response does not match a request in flight.
pub(super) fn complete(requests: &mut [Request], response: &BlkifResponse) -> Option<Request> {
    let request = find(requests, RequestId::from_wire(response.id))?;
    let named = [BlkifStatus::OKAY, BlkifStatus::ERROR, BlkifStatus::EOPNOTSUPP];
    if request.operation != response.operation || !named.contains(&response.status) {
        return None;
    }
    request.progress = match request.progress {
        Progress::InFlight => Progress::Done(response.status),
        Progress::Cancelled => Progress::Free,
        Progress::Free | Progress::Done(_) => return None,
    };
    Some(*request)
}

impl<H: Hypercall + Copy, A> fmt::Debug for Queue<'_, '_, H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("peer", &self.peer)
            .field("channel", &self.channel)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
