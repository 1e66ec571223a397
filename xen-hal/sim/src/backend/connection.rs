//! Implements the backend's side of a domain's xenstore and console rings.

use std::string::String;
use std::sync::atomic::Ordering;
use std::vec::Vec;

use xen_hal::ring::{ByteConsumer, ByteProducer, ByteRing, EmptiedRing, FilledRing};
use xen_pac::base::Domid;
use xen_pac::console_ring::XenconsInterface;
use xen_pac::xenstore::{
    XENSTORE_PAYLOAD_MAX, XenstoreConnection, XenstoreDomainInterface, XenstoreError, XsdSockmsg,
    XsdSockmsgType,
};

use super::StoreServer;

const HEADER: usize = size_of::<XsdSockmsg>();

/// The server's side of a domain's xenstore ring.
#[derive(Debug)]
pub struct StoreConnection<'a> {
    page: XenstoreDomainInterface<'a>,
    domain: Domid,
    received: ByteConsumer,
    sent: ByteProducer,
    /// The bytes of an incomplete request.
    input: Vec<u8>,
    /// Messages that are not completely sent.
    output: Vec<u8>,
    dead: bool,
}

impl<'a> StoreConnection<'a> {
    /// Creates the connection of `domain`, whose ring is in `page`.
    #[must_use]
    pub fn new(page: XenstoreDomainInterface<'a>, domain: Domid) -> Self {
        let (received, sent) =
            (ByteConsumer::new(requests(page)), ByteProducer::new(replies(page)));
        Self { page, domain, received, sent, input: Vec::new(), output: Vec::new(), dead: false }
    }

    /// Announces two features to the guest: restarting a connection, and reporting the reason for
    /// an ended one.
    pub fn announce_features(&self) {
        let page = self.page;
        page.server_features().other_side().set(0b11);
    }

    /// Reads up to `most` bytes of requests, passes complete requests to `server`, and sends up to
    /// `most` bytes of messages. Returns true if the guest must be notified: bytes were read or
    /// sent, the connection was restarted, or a request was invalid.
    pub fn serve(&mut self, server: &mut StoreServer, most: usize) -> bool {
        let connection = self.page.connection();
        if connection.load(Ordering::Acquire) == XenstoreConnection::RECONNECT.0 {
            self.reconnect(server);
            return true;
        }
        if self.dead {
            return false;
        }
        let mut bytes = std::vec![0; most];
        let read = self.received.read(requests(self.page), &mut bytes);
        self.input.extend_from_slice(&bytes[..read]);
        while let Some(request) = self.next_request() {
            let Ok((header, payload)) = request else {
                self.page.error().other_side().set(XenstoreError::PROTO.0);
                self.dead = true;
                return true;
            };
            server.request(self.domain, &header, &payload);
        }
        while let Some((header, payload)) = server.next_message(self.domain) {
            for word in [header.kind.0, header.req_id, header.tx_id, header.len] {
                self.output.extend_from_slice(&word.to_ne_bytes());
            }
            self.output.extend_from_slice(&payload);
        }
        let there = self.output.len().min(most);
        let sent = self.sent.write(replies(self.page), &self.output[..there]);
        self.output.drain(..sent);
        read + sent > 0
    }

    /// Returns whether there are messages for which the ring has no room yet.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Returns the next complete request, or an error for bytes that are not a request.
    fn next_request(&mut self) -> Option<Result<(XsdSockmsg, Vec<u8>), ()>> {
        let word = |index: usize| {
            let bytes = self.input.get(index * 4..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        let (kind, id, transaction, length) = (word(0)?, word(1)?, word(2)?, word(3)?);
        if length > XENSTORE_PAYLOAD_MAX {
            return Some(Err(()));
        }
        let end = HEADER + length as usize;
        let payload = self.input.get(HEADER..end)?.to_vec();
        self.input.drain(..end);
        Some(Ok((XsdSockmsg::new(XsdSockmsgType(kind), id, transaction, length), payload)))
    }

    /// Restarts the connection at the guest's request.
    fn reconnect(&mut self, server: &mut StoreServer) {
        server.reset(self.domain);
        let page = self.page;
        for index in [page.req_prod(), page.rsp_cons()] {
            index.publish(0);
        }
        for index in [page.req_cons(), page.rsp_prod()] {
            index.other_side().publish(0);
        }
        page.error().other_side().set(XenstoreError::NONE.0);
        *self = Self::new(page, self.domain);
        page.connection().swap(XenstoreConnection::CONNECTED.0, Ordering::AcqRel);
    }
}

fn requests(page: XenstoreDomainInterface<'_>) -> EmptiedRing<'_> {
    let (producer, consumer) = (page.req_prod().other_side(), page.req_cons().other_side());
    ByteRing { buffer: page.req(), producer, consumer }
}

fn replies(page: XenstoreDomainInterface<'_>) -> FilledRing<'_> {
    let (producer, consumer) = (page.rsp_prod().other_side(), page.rsp_cons().other_side());
    ByteRing { buffer: page.rsp(), producer, consumer }
}

/// The backend's side of a domain's console ring.
#[derive(Debug)]
pub struct ConsoleConnection<'a> {
    page: XenconsInterface<'a>,
    received: ByteConsumer,
    sent: ByteProducer,
    /// The text that the guest printed.
    pub printed: String,
    /// Typed bytes that are not sent yet.
    pub typed: Vec<u8>,
}

impl<'a> ConsoleConnection<'a> {
    /// Creates the connection to the console whose ring is in `page`.
    #[must_use]
    pub fn new(page: XenconsInterface<'a>) -> Self {
        let (received, sent) = (ByteConsumer::new(output(page)), ByteProducer::new(input(page)));
        Self { page, received, sent, printed: String::new(), typed: Vec::new() }
    }

    /// Reads up to `most` printed bytes, and sends up to `most` typed bytes. Returns true if it
    /// moved any; the guest must then be notified.
    pub fn serve(&mut self, most: usize) -> bool {
        let mut bytes = std::vec![0; most];
        let read = self.received.read(output(self.page), &mut bytes);
        self.printed.push_str(&String::from_utf8_lossy(&bytes[..read]));
        let there = self.typed.len().min(most);
        let sent = self.sent.write(input(self.page), &self.typed[..there]);
        self.typed.drain(..sent);
        read + sent > 0
    }
}

fn output(page: XenconsInterface<'_>) -> EmptiedRing<'_> {
    let (producer, consumer) = (page.out_prod().other_side(), page.out_cons().other_side());
    ByteRing { buffer: page.output(), producer, consumer }
}

fn input(page: XenconsInterface<'_>) -> FilledRing<'_> {
    let (producer, consumer) = (page.in_prod().other_side(), page.in_cons().other_side());
    ByteRing { buffer: page.input(), producer, consumer }
}
