//! Assembles and stores the server's messages in the caller's storage.

use core::mem::offset_of;

use xen_pac::xenstore::{XENSTORE_PAYLOAD_MAX, XsdSockmsg, XsdSockmsgType};

use super::{RequestId, StoreError, StoreEvent};
use crate::ring::{ByteConsumer, EmptiedRing};

/// Bytes of a message's header.
pub(super) const HEADER: usize = size_of::<XsdSockmsg>();

/// The maximum number of requests in flight.
pub(super) const IN_FLIGHT_MAX: usize = 8;

/// Stores answers and watch events: first the complete messages, one after the other, then the one
/// that is being received. If there is no room for an answer, all events are dropped, and the
/// caller gets [`StoreEvent::Lost`](super::StoreEvent::Lost).
#[derive(Debug)]
pub(super) struct Inbox<'s> {
    storage: &'s mut [u8],
    /// The end of the complete messages.
    complete: usize,
    header: [u8; HEADER],
    /// The number of header bytes received.
    have: usize,
    incoming: Option<Incoming>,
    in_flight: [Option<InFlight>; IN_FLIGHT_MAX],
    lost_events: bool,
    reset: bool,
    /// The number of events received, including lost ones.
    pub(super) events: u32,
    /// The number of messages received whole, including dropped ones.
    pub(super) ended: u32,
}

/// The message whose header was received.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    length: usize,
    seen: usize,
    /// True if the message is kept, false if it is skipped.
    kept: bool,
    /// The request that it answers.
    answers: Option<usize>,
}

/// A request.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    id: RequestId,
    kind: XsdSockmsgType,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Receiving,
    Complete,
    Failed(StoreError),
}

impl<'s> Inbox<'s> {
    pub(super) const fn new(storage: &'s mut [u8]) -> Self {
        Self {
            storage,
            complete: 0,
            header: [0; HEADER],
            have: 0,
            incoming: None,
            in_flight: [None; IN_FLIGHT_MAX],
            lost_events: false,
            reset: false,
            events: 0,
            ended: 0,
        }
    }

    /// Drops all messages. Requests fail, and watches end.
    pub(super) fn reset(&mut self) {
        (self.complete, self.have, self.incoming) = (0, 0, None);
        self.lost_events = false;
        self.reset = true;
        self.events = self.events.wrapping_add(1);
        for request in self.in_flight.iter_mut().flatten() {
            request.state = State::Failed(StoreError::Reset);
        }
    }

    /// Records a request in flight, whose answer is kept when it arrives.
    pub(super) fn expect(&mut self, id: RequestId, kind: XsdSockmsgType) -> Result<(), StoreError> {
        let free = self.in_flight.iter_mut().find(|slot| slot.is_none()).ok_or(StoreError::Busy)?;
        *free = Some(InFlight { id, kind, state: State::Waiting });
        Ok(())
    }

    /// Stops expecting an answer. If it arrives, it is skipped.
    pub(super) fn forget(&mut self, id: RequestId) {
        let Some(index) = self.slot(id) else { return };
        self.in_flight[index] = None;
        if let Some(incoming) = &mut self.incoming {
            if incoming.answers == Some(index) {
                (incoming.kept, incoming.answers) = (false, None);
            }
        }
        let is_answer = |header: &XsdSockmsg| header.kind != XsdSockmsgType::WATCH_EVENT;
        let found = self.messages().find(|(_, header)| is_answer(header) && header.req_id == id.0);
        if let Some((at, header)) = found {
            self.remove(at, header.len as usize);
        }
    }

    fn slot(&self, id: RequestId) -> Option<usize> {
        self.in_flight.iter().position(|slot| slot.is_some_and(|slot| slot.id == id))
    }

    /// Takes the bytes that are in the ring at the call. Returns whether there were any.
    ///
    /// # Errors
    ///
    /// [`StoreError::Broken`] if the data is not a message.
    pub(super) fn receive(
        &mut self,
        from: &mut ByteConsumer,
        ring: EmptiedRing<'_>,
    ) -> Result<bool, StoreError> {
        let there = from.available(ring);
        let mut left = there;
        while left > 0 {
            let taken = match self.incoming {
                None => self.receive_header(from, ring, left)?,
                Some(incoming) => self.receive_payload(incoming, from, ring, left),
            };
            if taken == 0 {
                // The server has reduced its producer index.
                break;
            }
            left -= taken;
        }
        Ok(there > 0)
    }

    fn receive_header(
        &mut self,
        from: &mut ByteConsumer,
        ring: EmptiedRing<'_>,
        most: usize,
    ) -> Result<usize, StoreError> {
        let rest = &mut self.header[self.have..];
        let most = rest.len().min(most);
        let taken = from.read(ring, &mut rest[..most]);
        self.have += taken;
        if self.have == HEADER {
            self.have = 0;
            let incoming = self.begin(decode(&self.header))?;
            self.incoming = Some(incoming);
            self.end_if_whole(incoming);
        }
        Ok(taken)
    }

    fn receive_payload(
        &mut self,
        mut incoming: Incoming,
        from: &mut ByteConsumer,
        ring: EmptiedRing<'_>,
        most: usize,
    ) -> usize {
        let most = most.min(incoming.length - incoming.seen);
        let at = self.complete + HEADER + incoming.seen;
        let taken = match self.storage.get_mut(at..at + most).filter(|_| incoming.kept) {
            Some(place) => from.read(ring, place),
            None => from.skip(ring, most),
        };
        incoming.seen += taken;
        self.incoming = Some(incoming);
        self.end_if_whole(incoming);
        taken
    }

    /// Decides whether to keep the message with this header.
    fn begin(&mut self, header: XsdSockmsg) -> Result<Incoming, StoreError> {
        if header.len > XENSTORE_PAYLOAD_MAX {
            return Err(StoreError::Broken);
        }
        let length = header.len as usize;
        let dropped = Incoming { length, seen: 0, kept: false, answers: None };
        if header.kind == XsdSockmsgType::WATCH_EVENT {
            let kept = self.put_header(length);
            self.lost_events |= !kept;
            self.events = self.events.wrapping_add(1);
            return Ok(Incoming { kept, ..dropped });
        }
        // An answer without a request in flight is skipped.
        let waits = |slot: &Option<InFlight>| {
            slot.is_some_and(|slot| slot.id.0 == header.req_id && slot.state == State::Waiting)
        };
        let Some(index) = self.in_flight.iter().position(waits) else { return Ok(dropped) };
        let asked = self.in_flight[index].map(|slot| slot.kind);
        let state = if header.kind != XsdSockmsgType::ERROR && Some(header.kind) != asked {
            State::Failed(StoreError::Malformed)
        } else if self.put_header(length) || self.drop_events() && self.put_header(length) {
            State::Receiving
        } else {
            State::Failed(StoreError::TooLong(length))
        };
        if let Some(slot) = &mut self.in_flight[index] {
            slot.state = state;
        }
        let kept = state == State::Receiving;
        Ok(Incoming { kept, answers: kept.then_some(index), ..dropped })
    }

    /// Appends the header to the complete messages, if there is room for the whole message.
    fn put_header(&mut self, length: usize) -> bool {
        let room = self.storage.get_mut(self.complete..).unwrap_or_default();
        let fits = room.len() >= HEADER + length;
        if fits {
            room[..HEADER].copy_from_slice(&self.header);
        }
        fits
    }

    fn end_if_whole(&mut self, incoming: Incoming) {
        if incoming.seen < incoming.length {
            return;
        }
        self.incoming = None;
        self.ended = self.ended.wrapping_add(1);
        if incoming.kept {
            self.complete += HEADER + incoming.length;
        }
        let answered = incoming.answers.and_then(|index| self.in_flight[index].as_mut());
        if let Some(slot) = answered {
            slot.state = State::Complete;
        }
    }

    /// Copies the answer to a request into `buffer`, if it has arrived, and ends the request.
    pub(super) fn take_answer<'b>(
        &mut self,
        id: RequestId,
        buffer: &'b mut [u8],
    ) -> Result<Option<&'b mut [u8]>, StoreError> {
        let Some(slot) = self.slot(id).and_then(|index| self.in_flight[index]) else {
            return Err(StoreError::NotInFlight);
        };
        match slot.state {
            State::Waiting | State::Receiving => return Ok(None),
            State::Complete => {}
            State::Failed(error) => {
                self.forget(id);
                return Err(error);
            }
        }
        let is_answer = |header: &XsdSockmsg| header.kind != XsdSockmsgType::WATCH_EVENT;
        let found = self.messages().find(|(_, header)| is_answer(header) && header.req_id == id.0);
        let Some((at, header)) = found else { return Err(StoreError::Malformed) };
        let payload = &self.storage[at + HEADER..][..header.len as usize];
        let result = if header.kind == XsdSockmsgType::ERROR {
            Err(StoreError::from_name(payload))
        } else {
            match buffer.get_mut(..payload.len()) {
                Some(place) => {
                    place.copy_from_slice(payload);
                    Ok(Some(place))
                }
                None => Err(StoreError::TooLong(payload.len())),
            }
        };
        self.forget(id);
        result
    }

    /// Takes the oldest event, and copies its path and token into `buffer`.
    pub(super) fn take_event<'b>(
        &mut self,
        buffer: &'b mut [u8],
    ) -> Result<Option<StoreEvent<'b>>, StoreError> {
        if core::mem::take(&mut self.reset) {
            return Ok(Some(StoreEvent::Reset));
        }
        if core::mem::take(&mut self.lost_events) {
            return Ok(Some(StoreEvent::Lost));
        }
        let is_event = |header: &XsdSockmsg| header.kind == XsdSockmsgType::WATCH_EVENT;
        let Some((at, header)) = self.messages().find(|(_, header)| is_event(header)) else {
            return Ok(None);
        };
        let length = header.len as usize;
        let place = buffer.get_mut(..length).ok_or(StoreError::TooLong(length))?;
        place.copy_from_slice(&self.storage[at + HEADER..][..length]);
        self.remove(at, length);
        let place: &'b [u8] = place;
        match texts(place) {
            Some([path, token]) => Ok(Some(StoreEvent::Watch { path, token })),
            // The event has no valid path, so any watched node may have changed.
            None => Ok(Some(StoreEvent::Lost)),
        }
    }

    /// Returns the position and the header of each complete message.
    fn messages(&self) -> impl Iterator<Item = (usize, XsdSockmsg)> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let bytes = self.storage.get(at..self.complete)?.first_chunk()?;
            let header = decode(bytes);
            let here = at;
            at += HEADER + header.len as usize;
            Some((here, header))
        })
    }

    /// Drops all events. Returns whether there were any.
    fn drop_events(&mut self) -> bool {
        let dropped = self.retain_events(|_| false);
        self.lost_events |= dropped;
        dropped
    }

    /// Drops the events for whose token `keep` returns false, and those without a valid token, for
    /// which it gets `None`. Returns whether there were any.
    pub(super) fn retain_events(&mut self, mut keep: impl FnMut(Option<&str>) -> bool) -> bool {
        let (mut at, mut kept) = (0, 0);
        while let Some(header) = self.storage[at..self.complete].first_chunk().map(decode) {
            let (payload, end) = (at + HEADER, at + HEADER + header.len as usize);
            let is_answer = header.kind != XsdSockmsgType::WATCH_EVENT;
            if is_answer || keep(texts(&self.storage[payload..end]).map(|[_, token]| token)) {
                self.storage.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
        }
        let last = self.received();
        self.storage.copy_within(self.complete..last, kept);
        let dropped = kept < self.complete;
        self.complete = kept;
        dropped
    }

    /// Returns whether events were lost since the last call.
    #[cfg(feature = "async")]
    pub(super) fn take_lost(&mut self) -> bool {
        core::mem::take(&mut self.lost_events)
    }

    /// Takes the oldest event with this token, and calls `take` with its path.
    #[cfg(feature = "async")]
    pub(super) fn take_event_of<T>(
        &mut self,
        token: &str,
        take: impl FnOnce(&str) -> T,
    ) -> Option<T> {
        let (at, length, path) = self.messages().find_map(|(at, header)| {
            let length = header.len as usize;
            let event = (header.kind == XsdSockmsgType::WATCH_EVENT)
                .then(|| texts(&self.storage[at + HEADER..][..length]))??;
            (event[1] == token).then_some((at, length, event[0]))
        })?;
        let taken = take(path);
        self.remove(at, length);
        Some(taken)
    }

    /// Returns the end of the messages, including the one that is being received.
    fn received(&self) -> usize {
        let begun = self.incoming.filter(|incoming| incoming.kept);
        self.complete + begun.map_or(0, |incoming| HEADER + incoming.seen)
    }

    /// Removes a complete message.
    fn remove(&mut self, at: usize, length: usize) {
        let end = at + HEADER + length;
        let last = self.received();
        self.storage.copy_within(end..last, at);
        self.complete -= end - at;
    }
}

/// Returns the path and the token of an event.
fn texts(payload: &[u8]) -> Option<[&str; 2]> {
    let mut texts = payload.split(|byte| *byte == 0).map(core::str::from_utf8);
    Some([texts.next()?.ok()?, texts.next()?.ok()?])
}

pub(super) fn encode(header: &XsdSockmsg) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    for (offset, word) in [
        (offset_of!(XsdSockmsg, kind), header.kind.0),
        (offset_of!(XsdSockmsg, req_id), header.req_id),
        (offset_of!(XsdSockmsg, tx_id), header.tx_id),
        (offset_of!(XsdSockmsg, len), header.len),
    ] {
        bytes[offset..offset + 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; HEADER]) -> XsdSockmsg {
    let word =
        |offset: usize| bytes[offset..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    XsdSockmsg::new(
        XsdSockmsgType(word(offset_of!(XsdSockmsg, kind))),
        word(offset_of!(XsdSockmsg, req_id)),
        word(offset_of!(XsdSockmsg, tx_id)),
        word(offset_of!(XsdSockmsg, len)),
    )
}
