//! Implements the protocol over the ring. No method waits.

use core::ptr::NonNull;

use tock_registers::interfaces::Readable;
use xen_pac::xenstore::{
    XENSTORE_PAYLOAD_MAX, XenstoreDomainInterface, XenstoreError, XsdSockmsg, XsdSockmsgType, raw,
    xenstore_server_features,
};

use super::inbox::{self, HEADER, Inbox};
use super::{RequestId, StoreError};
use crate::event::{Events, Port};
use crate::hvm::{Hvm, parameter};
use crate::hypercall::Hypercall;
use crate::platform::Frame;
use crate::ring::{ByteConsumer, ByteProducer, ByteRing, EmptiedRing, FilledRing};

/// The guest's end of the ring, and the messages that have arrived.
pub(super) struct Connection<'a, H> {
    pub(super) xen: H,
    pub(super) page: XenstoreDomainInterface<'a>,
    pub(super) port: Port,
    sent: ByteProducer,
    received: ByteConsumer,
    pub(super) inbox: Inbox<'a>,
    next: RequestId,
    pub(super) broken: bool,
}

/// Finds the ring.
///
/// # Safety
///
/// As for [`Store::open`](super::Store::open).
pub(super) unsafe fn find<'a, H: Hypercall>(
    xen: H,
    map: impl FnOnce(Frame) -> Option<NonNull<raw::XenstoreDomainInterface>>,
) -> Result<(XenstoreDomainInterface<'a>, Port), StoreError> {
    let hvm = Hvm::new(xen);
    let place = hvm.get(parameter::STORE_PFN)?.zip(hvm.get(parameter::STORE_EVTCHN)?);
    let (frame, port) = place.ok_or(StoreError::NoStore)?;
    let page = map(frame).ok_or(StoreError::NotMapped(frame))?;
    // SAFETY: the caller guarantees that the ring is mapped there for `'a`, and that only the store
    // uses it.
    Ok((unsafe { XenstoreDomainInterface::from_ptr(page) }, port))
}

/// Starts at the current indices. Skips what the server sent to an earlier kernel.
fn start(page: XenstoreDomainInterface<'_>) -> (ByteProducer, ByteConsumer) {
    let mut received = ByteConsumer::new(replies(page));
    received.skip(replies(page), replies(page).buffer.len());
    (ByteProducer::new(requests(page)), received)
}

fn requests(page: XenstoreDomainInterface<'_>) -> FilledRing<'_> {
    ByteRing { buffer: page.req(), producer: page.req_prod(), consumer: page.req_cons() }
}

fn replies(page: XenstoreDomainInterface<'_>) -> EmptiedRing<'_> {
    ByteRing { buffer: page.rsp(), producer: page.rsp_prod(), consumer: page.rsp_cons() }
}

impl<'a, H: Hypercall + Copy> Connection<'a, H> {
    pub(super) fn new(
        xen: H,
        page: XenstoreDomainInterface<'a>,
        port: Port,
        storage: &'a mut [u8],
    ) -> Self {
        let (sent, received) = start(page);
        let inbox = Inbox::new(storage);
        Self { xen, page, port, sent, received, inbox, next: RequestId(1), broken: false }
    }

    /// Starts again, after the server has reset the connection. Requests in flight fail.
    pub(super) fn restart(&mut self) {
        (self.sent, self.received) = start(self.page);
        self.inbox.reset();
        self.broken = false;
    }

    /// Returns the number of free bytes of the ring, and their number if the ring is empty.
    pub(super) fn room(&self) -> (usize, usize) {
        let ring = requests(self.page);
        (self.sent.free(ring), ring.buffer.len())
    }

    /// Records a request in flight. Returns its number, its header and the length of its message.
    pub(super) fn begin(
        &mut self,
        transaction: u32,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
    ) -> Result<(RequestId, [u8; HEADER], usize), StoreError> {
        let length = self.check(payload)?;
        self.inbox.expect(self.next, kind)?;
        let (id, header) = self.header(transaction, kind, length);
        Ok((id, header, HEADER + length))
    }

    /// Checks that a request can be sent. Returns the length of its payload.
    pub(super) fn check(&self, payload: &[&[u8]]) -> Result<usize, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let length = payload.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        if length > XENSTORE_PAYLOAD_MAX as usize {
            return Err(StoreError::TooLong(length));
        }
        Ok(length)
    }

    /// Numbers a request.
    pub(super) fn header(
        &mut self,
        transaction: u32,
        kind: XsdSockmsgType,
        length: usize,
    ) -> (RequestId, [u8; HEADER]) {
        let id = self.next;
        self.next = RequestId(id.0.wrapping_add(1));
        (id, inbox::encode(&XsdSockmsg::new(kind, id.0, transaction, length as u32)))
    }

    /// Puts as many bytes into the ring as fit, without a notification. Returns their number.
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        self.sent.write(requests(self.page), bytes)
    }

    /// Receives what is in the ring. Returns whether there was anything.
    pub(super) fn receive(&mut self) -> Result<bool, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        match self.inbox.receive(&mut self.received, replies(self.page)) {
            Ok(true) => self.notify().map(|()| true),
            Ok(false) => Ok(false),
            Err(error) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    pub(super) fn notify(&self) -> Result<(), StoreError> {
        Events::new(self.xen).send(self.port).map_err(StoreError::Xen)
    }

    /// Returns the reason for which the server stopped serving the connection.
    pub(super) fn server_error(&self) -> Option<XenstoreError> {
        let error = XenstoreError(self.page.error().get());
        let reports = self.page.server_features().is_set(xenstore_server_features::ERROR);
        (reports && error != XenstoreError::NONE).then_some(error)
    }
}
