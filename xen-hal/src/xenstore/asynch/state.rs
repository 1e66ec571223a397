//! The state that the tasks share. No method waits.

use core::task::Poll;

use xen_pac::xenstore::XsdSockmsgType;

use crate::hypercall::Hypercall;
use crate::xenstore::connection::Connection;
use crate::xenstore::inbox::HEADER;
use crate::xenstore::tree::{self, Text};
use crate::xenstore::{NodePath, RequestId, StoreError};

/// The maximum number of watches of an [`AsyncStore`](super::AsyncStore). A further one waits until
/// another is dropped.
pub const WATCHES_MAX: usize = 8;

/// The maximum number of open transactions of an [`AsyncStore`](super::AsyncStore). A further one
/// waits until another has ended. Xenstored permits ten by default.
pub const OPEN_TRANSACTIONS_MAX: usize = 8;

/// A watch. Each has a token of its own, so an event for an earlier one does not match it.
#[derive(Clone, Copy)]
pub(super) struct WatchSlot {
    pub(super) state: SlotState,
    serial: u32,
    path: Option<NodePath>,
    /// Events were dropped.
    pub(super) lost: bool,
}

/// The state of a watch.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SlotState {
    Free,
    /// In use by a task, and unknown to the server.
    Reserved,
    /// The server may have it.
    Live,
    /// No longer in use, but the server may have it.
    Leaving,
}

/// The state of a transaction.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum TransactionState {
    Free,
    /// In use by a task, and not open at the server.
    Reserved,
    /// The request that opens it is in flight.
    Starting(RequestId),
    Open(u32),
    /// As `Starting`, but no longer in use.
    Orphaned(RequestId),
    /// As `Open`, but no longer in use.
    Leaving(u32),
}

/// The bytes of requests for which the ring had no room.
struct Outbox<'a> {
    storage: &'a mut [u8],
    begin: usize,
    end: usize,
}

impl Outbox<'_> {
    const fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Appends bytes. Returns false if they do not fit.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let place = self.storage.get_mut(self.end..).and_then(|rest| rest.get_mut(..bytes.len()));
        let Some(place) = place else { return false };
        place.copy_from_slice(bytes);
        self.end += bytes.len();
        true
    }
}

pub(super) struct State<'a, H> {
    pub(super) connection: Connection<'a, H>,
    outbox: Outbox<'a>,
    pub(super) watches: [WatchSlot; WATCHES_MAX],
    pub(super) transactions: [TransactionState; OPEN_TRANSACTIONS_MAX],
    /// The smallest number of free bytes in the ring with which a request found no room.
    too_little: Option<usize>,
}

impl<'a, H: Hypercall + Copy> State<'a, H> {
    pub(super) const fn new(connection: Connection<'a, H>, outbox: &'a mut [u8]) -> Self {
        let slot = WatchSlot { state: SlotState::Free, serial: 0, path: None, lost: false };
        Self {
            connection,
            outbox: Outbox { storage: outbox, begin: 0, end: 0 },
            watches: [slot; WATCHES_MAX],
            transactions: [TransactionState::Free; OPEN_TRANSACTIONS_MAX],
            too_little: None,
        }
    }

    /// Sends a request whole, or keeps what the ring has no room for. Does nothing if there is no
    /// room for that either, or if the maximum number of requests is in flight.
    pub(super) fn submit(
        &mut self,
        transaction: u32,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
    ) -> Poll<Result<RequestId, StoreError>> {
        let begun = self.check_room(payload);
        let sent = begun.and_then(|()| self.connection.begin(transaction, kind, payload));
        let sent = sent.and_then(|(id, header, _)| match self.write(&header, payload) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.connection.inbox.forget(id);
                Err(error)
            }
        });
        if sent == Err(StoreError::Busy) { Poll::Pending } else { Poll::Ready(sent) }
    }

    /// Sends a request whose answer is discarded. Returns false if there is no room.
    fn post(&mut self, transaction: u32, kind: XsdSockmsgType, payload: &[&[u8]]) -> bool {
        let sent = self.check_room(payload).and_then(|()| self.connection.check(payload));
        let sent = sent.and_then(|length| {
            let (_, header) = self.connection.header(transaction, kind, length);
            self.write(&header, payload)
        });
        sent != Err(StoreError::Busy)
    }

    /// Checks that the ring and the outbox have room for a message.
    fn check_room(&mut self, payload: &[&[u8]]) -> Result<(), StoreError> {
        let length = self.connection.check(payload)?;
        let (free, size) = self.connection.room();
        let more = self.outbox.storage.len();
        if HEADER + length > size + more {
            return Err(StoreError::TooLong(length));
        }
        if self.outbox.is_empty() && HEADER + length <= free + more {
            return Ok(());
        }
        self.too_little = Some(self.too_little.map_or(free, |before| before.min(free)));
        Err(StoreError::Busy)
    }

    fn write(&mut self, header: &[u8], payload: &[&[u8]]) -> Result<(), StoreError> {
        for part in core::iter::once(header).chain(payload.iter().copied()) {
            let count = if self.outbox.is_empty() { self.connection.put(part) } else { 0 };
            if !self.outbox.push(&part[count..]) {
                // The server has moved its index back since `check_room`.
                self.connection.broken = true;
                return Err(StoreError::Broken);
            }
        }
        self.connection.notify()
    }

    /// If the answer to a request has arrived, copies it to `buffer`, and ends the request. Returns
    /// the answer's length.
    pub(super) fn answer(
        &mut self,
        id: RequestId,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, StoreError>> {
        match self.connection.inbox.take_answer(id, buffer) {
            Ok(Some(answer)) => Poll::Ready(Ok(answer.len())),
            Ok(None) if self.connection.broken => Poll::Ready(Err(StoreError::Broken)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Moves what can be moved between the ring, the outbox and the inbox. Returns whether tasks
    /// that wait may find what they wait for.
    pub(super) fn turn(&mut self) -> Result<bool, StoreError> {
        let (free, _) = self.connection.room();
        let mut progress = self.too_little.take_if(|little| *little < free).is_some();
        progress |= self.send_rest()?;
        let before = self.connection.inbox.ended;
        self.connection.receive()?;
        progress |= self.connection.inbox.ended != before;
        self.sort_events();
        progress |= self.settle();
        Ok(progress)
    }

    /// Moves bytes from the outbox to the ring. Returns whether the outbox has become empty.
    pub(super) fn send_rest(&mut self) -> Result<bool, StoreError> {
        let rest = &self.outbox.storage[self.outbox.begin..self.outbox.end];
        let count = self.connection.put(rest);
        if count == 0 {
            return Ok(false);
        }
        self.outbox.begin += count;
        let is_empty = self.outbox.is_empty();
        if is_empty {
            (self.outbox.begin, self.outbox.end) = (0, 0);
        }
        self.connection.notify().map(|()| is_empty)
    }

    pub(super) const fn has_rest(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Drops the events of former watches, and notes for the others that events were lost.
    fn sort_events(&mut self) {
        let mut lost = self.connection.inbox.take_lost();
        let watches = &self.watches;
        self.connection.inbox.retain_events(|token| {
            lost |= token.is_none();
            let slot = token.and_then(parse_token).and_then(|(index, serial)| {
                watches.get(index).filter(|slot| slot.serial == serial)
            });
            slot.is_some_and(|slot| slot.state == SlotState::Live)
        });
        for slot in &mut self.watches {
            slot.lost |= lost;
        }
    }

    /// Removes from the server what is no longer in use, as far as there is room. Returns whether
    /// there was anything.
    pub(super) fn settle(&mut self) -> bool {
        let mut progress = false;
        for index in 0..WATCHES_MAX {
            let WatchSlot { state, path, .. } = self.watches[index];
            if state == SlotState::Leaving {
                let (path, token) = (path.as_ref().map_or("", NodePath::as_str), self.token(index));
                let payload = [path.as_bytes(), b"\0", token.bytes(), b"\0"];
                if self.post(0, XsdSockmsgType::UNWATCH, &payload) {
                    self.watches[index].state = SlotState::Free;
                    progress = true;
                }
            }
        }
        for index in 0..OPEN_TRANSACTIONS_MAX {
            if let TransactionState::Orphaned(id) = self.transactions[index] {
                let mut number = [0; 16];
                if let Poll::Ready(answer) = self.answer(id, &mut number) {
                    self.connection.inbox.forget(id);
                    let open = answer.and_then(|length| tree::transaction(&number[..length]));
                    self.transactions[index] =
                        open.map_or(TransactionState::Free, TransactionState::Leaving);
                    progress = true;
                }
            }
            if let TransactionState::Leaving(number) = self.transactions[index] {
                if self.post(number, XsdSockmsgType::TRANSACTION_END, &[b"F\0"]) {
                    self.transactions[index] = TransactionState::Free;
                    progress = true;
                }
            }
        }
        progress
    }

    /// Reserves a slot for a watch, if one is free.
    pub(super) fn reserve_watch(&mut self, path: NodePath) -> Poll<usize> {
        let free = self.watches.iter().position(|slot| slot.state == SlotState::Free);
        let Some(index) = free else { return Poll::Pending };
        let serial = self.watches[index].serial.wrapping_add(1);
        let state = SlotState::Reserved;
        self.watches[index] = WatchSlot { state, serial, path: Some(path), lost: false };
        Poll::Ready(index)
    }

    /// Reserves a slot for a transaction, if one is free.
    pub(super) fn reserve_transaction(&mut self) -> Poll<usize> {
        let free = self.transactions.iter().position(|slot| *slot == TransactionState::Free);
        let Some(index) = free else { return Poll::Pending };
        self.transactions[index] = TransactionState::Reserved;
        Poll::Ready(index)
    }

    /// Returns the token of a watch.
    pub(super) fn token(&self, index: usize) -> Text<24> {
        let mut token = Text::new();
        // A letter and two numbers fit.
        let _ = token.push(format_args!("w{index}.{}", self.watches[index].serial));
        token
    }
}

/// Returns the index and the serial number of the watch with this token.
fn parse_token(token: &str) -> Option<(usize, u32)> {
    let (index, serial) = token.strip_prefix('w')?.split_once('.')?;
    Some((index.parse().ok()?, serial.parse().ok()?))
}
