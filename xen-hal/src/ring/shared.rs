//! Implements the shared ring of split devices (upstream: `xen/include/public/io/ring.h`).

use core::marker::PhantomData;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;

use xen_pac::access::{Data, IS_SIMULATED, RingIndex};
use xen_pac::ring::{Sring, raw};

use crate::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use crate::grant::{Grant, PageMemory};
use crate::platform::PAGE_SIZE;

/// The offsets of the indices, for the backend. `xen-pac`'s handle has only the frontend's access
/// to them.
const REQ_PROD: usize = offset_of!(raw::Sring, req_prod);
const REQ_EVENT: usize = offset_of!(raw::Sring, req_event);
const RSP_PROD: usize = offset_of!(raw::Sring, rsp_prod);
const RSP_EVENT: usize = offset_of!(raw::Sring, rsp_event);

/// The types of a ring's entries.
pub trait Protocol {
    /// A request, from the frontend.
    type Request: Data;
    /// A response, from the backend.
    type Response: Data;
}

/// A page that can hold a ring.
///
/// # Safety
///
/// As long as the value exists, [`page`](Self::page) must return the same page. It must be mapped
/// for reading and writing, and this program must access it only through the value.
pub unsafe trait RingPage {
    /// Returns the page.
    fn page(&self) -> NonNull<PageMemory>;
}

// SAFETY: a grant owns its page, and only a revocation, which consumes the grant, returns it.
unsafe impl RingPage for Grant<'_> {
    #[inline]
    fn page(&self) -> NonNull<PageMemory> {
        self.bytes().as_ptr()
    }
}

/// The ring has no free entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring has no free entry")]
pub struct RingFullError;

/// Computes the location of entries, and copies them.
struct Entries<P>(PhantomData<P>);

impl<P: Protocol> Entries<P> {
    /// The size of an entry, which is a union of a request and a response in C.
    const SIZE: usize = {
        let (request, response) = (size_of::<P::Request>(), size_of::<P::Response>());
        assert!(request % 4 == 0 && response % 4 == 0, "an entry consists of words of 32 bits");
        let size = if request > response { request } else { response };
        let (request, response) = (align_of::<P::Request>(), align_of::<P::Response>());
        assert!(size % request == 0 && size % response == 0, "C's union has no padding");
        assert!(size_of::<raw::Sring>() % request == 0 && size_of::<raw::Sring>() % response == 0);
        size
    };

    /// The number of entries that fit, rounded down to a power of two.
    const COUNT: usize = {
        let fit = (PAGE_SIZE - size_of::<raw::Sring>()) / Self::SIZE;
        (fit + 1).next_power_of_two() / 2
    };

    /// The size of the words by which all bytes of an entry are accessed.
    const WORD: usize = {
        let word = size_of::<usize>();
        let wide = size_of::<P::Request>() % word == 0 && size_of::<P::Response>() % word == 0;
        if wide { word } else { 4 }
    };

    /// Returns the first byte of the entry of an index.
    #[inline(always)]
    fn entry(page: NonNull<PageMemory>, index: u32) -> NonNull<u8> {
        let slot = RingIndex::clamped(Self::COUNT, index, index).wrap(index);
        // SAFETY: `slot` is below `COUNT`, and that many entries are within the page.
        unsafe { page.cast::<u8>().add(size_of::<raw::Sring>() + slot * Self::SIZE) }
    }

    /// Copies an entry out, once.
    #[inline(always)]
    fn load<T: Data>(page: NonNull<PageMemory>, index: u32) -> T {
        let (place, mut value) = (Self::entry(page, index), MaybeUninit::<T>::uninit());
        let to = value.as_mut_ptr().cast::<u8>();
        for offset in (0..size_of::<T>()).step_by(Self::WORD) {
            let to = to.wrapping_add(offset);
            if Self::WORD == size_of::<usize>() {
                // SAFETY: a `T` is no larger than an entry and consists of such words; the entry is
                // aligned to a word, and `RingPage` guarantees that the page is valid.
                let word = unsafe { cell::<AtomicUsize>(place, offset) }.load(Ordering::Relaxed);
                // SAFETY: the value has this word.
                unsafe { to.cast::<usize>().write_unaligned(word) };
            } else {
                // SAFETY: as above.
                let word = unsafe { cell::<AtomicU32>(place, offset) }.load(Ordering::Relaxed);
                // SAFETY: as above.
                unsafe { to.cast::<u32>().write_unaligned(word) };
            }
        }
        // SAFETY: all bytes were written, and any bytes are a value of a type that is `Data`.
        unsafe { value.assume_init() }
    }

    /// Copies an entry in. Unless the peer is a thread of this program, a volatile access suffices,
    /// which the compiler splits into accesses as wide as the processor has.
    #[inline(always)]
    fn store<T: Data>(page: NonNull<PageMemory>, index: u32, value: &T) {
        let (place, from) = (Self::entry(page, index), core::ptr::from_ref(value).cast::<u8>());
        if !IS_SIMULATED {
            // SAFETY: a `T` is no larger than an entry, which `SIZE` aligns for it, and `RingPage`
            // guarantees that the page is valid.
            unsafe { place.cast::<T>().write_volatile(*value) };
            return;
        }
        for offset in (0..size_of::<T>()).step_by(Self::WORD) {
            let from = from.wrapping_add(offset);
            if Self::WORD == size_of::<usize>() {
                // SAFETY: the value has this word, and no byte of it is padding.
                let word = unsafe { from.cast::<usize>().read_unaligned() };
                // SAFETY: as in `load`.
                unsafe { cell::<AtomicUsize>(place, offset) }.store(word, Ordering::Relaxed);
            } else {
                // SAFETY: as above.
                let word = unsafe { from.cast::<u32>().read_unaligned() };
                // SAFETY: as in `load`.
                unsafe { cell::<AtomicU32>(place, offset) }.store(word, Ordering::Relaxed);
            }
        }
    }

    /// Returns the indices.
    #[inline(always)]
    fn indices<'a>(page: NonNull<PageMemory>) -> Sring<'a> {
        // SAFETY: the page is large enough, aligned, and valid as long as its ring uses the handle.
        unsafe { Sring::from_ptr(page.cast()) }
    }
}

/// Returns the atomic at an offset of shared memory. The simulator can run the peer before the
/// access.
///
/// # Safety
///
/// The memory must hold such an atomic, aligned, for as long as the result is used.
#[inline(always)]
unsafe fn cell<'a, A>(place: NonNull<u8>, offset: usize) -> &'a A {
    xen_pac::access::before();
    // SAFETY: the caller's obligation is the same.
    unsafe { &*place.as_ptr().wrapping_add(offset).cast::<A>() }
}

/// True if the peer must be notified of the entries from `old` to `new`. `event` is the index at
/// which the peer requested a notification.
#[inline(always)]
const fn must_notify(event: u32, old: u32, new: u32) -> bool {
    RingIndex::distance(new, event) < RingIndex::distance(new, old)
}

/// The frontend's end of a shared ring: pushes requests, pops responses.
///
/// ```
/// use xen_hal::event::Channel;
/// use xen_hal::hypercall::{Errno, Hypercall};
/// use xen_hal::ring::{FrontRing, Protocol, RingPage};
///
/// /// Sends all of `requests` that fit, and handles the available responses.
/// fn exchange<M: RingPage, P: Protocol, H: Hypercall + Copy>(
///     ring: &mut FrontRing<M, P>,
///     channel: &Channel<H>,
///     requests: &[P::Request],
///     mut handle: impl FnMut(P::Response),
/// ) -> Result<(), Errno> {
///     for request in requests {
///         if ring.push(request).is_err() {
///             break;
///         }
///     }
///     if ring.publish() {
///         channel.send()?; // the backend sleeps, or requested a notification
///     }
///     loop {
///         while let Some(response) = ring.pop() {
///             handle(response); // the ring now has a free entry
///         }
///         if !ring.rearm() {
///             return Ok(()); // the next response raises an event
///         }
///     }
/// }
/// # struct Words;
/// # impl Protocol for Words {
/// #     type Request = u32;
/// #     type Response = u32;
/// # }
/// # #[derive(Clone, Copy)]
/// # struct Place(core::ptr::NonNull<xen_hal::grant::PageMemory>);
/// # // SAFETY: the page is used by the ends of one ring, as long as the machine runs.
/// # unsafe impl RingPage for Place {
/// #     fn page(&self) -> core::ptr::NonNull<xen_hal::grant::PageMemory> {
/// #         self.0
/// #     }
/// # }
/// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| -> Result<(), Errno> {
/// #     let place = Place(guest.page(1).cast());
/// #     let mut front = FrontRing::<Place, Words>::new(place);
/// #     let mut back = xen_hal::ring::BackRing::<Place, Words>::new(place);
/// #     let events = xen_hal::Xen::new(guest.xen()).events();
/// #     let channel = events.bind_ipi(xen_hal::platform::VcpuId(0))?;
/// #     exchange(&mut front, &channel, &[1, 2, 3], |_| panic!("there is no response"))?;
/// #     while let Some(request) = back.pop() {
/// #         back.push(&(request * 10)).unwrap();
/// #     }
/// #     back.publish();
/// #     let mut sum = 0;
/// #     exchange(&mut front, &channel, &[], |response| sum += response)?;
/// #     assert_eq!(sum, 60);
/// #     Ok(())
/// # });
/// ```
///
/// The loop of the example ends, because there are at most as many responses as requests. If
/// `handle` pushes further requests, the loop needs a bound.
///
/// The backend is not trusted. A response is copied once, there are never more responses than
/// requests, and no method waits. The caller must check a response's content: its number may be
/// that of a request that was never made, or that already has a response.
pub struct FrontRing<M, P> {
    memory: M,
    protocol: PhantomData<fn() -> P>,
    /// The index after the last request that was pushed.
    pushed: u32,
    /// The index after the last request that was published.
    published: u32,
    /// The index after the last response that was seen.
    known: u32,
    /// The index after the last response that was popped.
    taken: u32,
}

/// The frontend's position in a ring whose page it gave up.
#[cfg(any(feature = "blk", feature = "net"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrontPosition {
    pushed: u32,
    published: u32,
    known: u32,
    taken: u32,
}

impl<M: RingPage, P: Protocol> FrontRing<M, P> {
    /// The number of entries.
    pub const ENTRIES: usize = Entries::<P>::COUNT;

    /// Creates an empty ring in a page. The page's content is ignored.
    pub fn new(memory: M) -> Self {
        let indices = Entries::<P>::indices(memory.page());
        indices.req_prod().publish(0);
        indices.rsp_event().publish(1);
        // Sets the initial values of the backend's indices.
        for (offset, value) in [(RSP_PROD, 0), (REQ_EVENT, 1)] {
            // SAFETY: the index is within the page, and aligned.
            unsafe { cell::<AtomicU32>(memory.page().cast(), offset) }
                .store(value, Ordering::Relaxed);
        }
        Self { memory, protocol: PhantomData, pushed: 0, published: 0, known: 0, taken: 0 }
    }

    /// Returns the page.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// Gives up the ring and returns its page.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// Gives up the ring. Returns its page, and what [`from_parts`](Self::from_parts) needs.
    #[cfg(any(feature = "blk", feature = "net"))]
    pub(crate) fn into_parts(self) -> (M, FrontPosition) {
        let Self { memory, pushed, published, known, taken, .. } = self;
        (memory, FrontPosition { pushed, published, known, taken })
    }

    /// Continues a ring in its page.
    #[cfg(any(feature = "blk", feature = "net"))]
    pub(crate) fn from_parts(memory: M, position: FrontPosition) -> Self {
        let FrontPosition { pushed, published, known, taken } = position;
        Self { memory, protocol: PhantomData, pushed, published, known, taken }
    }

    /// Returns the number of requests that can be pushed.
    #[inline]
    #[must_use]
    pub const fn free(&self) -> usize {
        RingIndex::clamped(Self::ENTRIES, self.pushed, self.taken).free()
    }

    /// Returns the number of requests whose response was not popped yet, unpublished requests
    /// included.
    #[inline]
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        RingIndex::clamped(Self::ENTRIES, self.pushed, self.taken).used()
    }

    /// Puts a request into the ring. The backend sees it after [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// [`RingFullError`].
    #[inline]
    pub fn push(&mut self, request: &P::Request) -> Result<(), RingFullError> {
        if self.free() == 0 {
            return Err(RingFullError);
        }
        Entries::<P>::store(self.memory.page(), self.pushed, request);
        self.pushed = RingIndex::after(self.pushed, 1);
        Ok(())
    }

    /// Makes the requests visible to the backend. Returns true if the backend must be notified.
    #[inline]
    #[must_use = "the backend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.pushed);
        let indices = Entries::<P>::indices(self.memory.page());
        indices.req_prod().publish(new);
        self.published = new;
        // The backend stores its event index, then reads the producer index. This does the
        // opposite.
        fence(Ordering::SeqCst);
        must_notify(indices.req_event().load(), old, new)
    }

    /// Takes a response, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<P::Response> {
        if self.taken == self.known && !self.look() {
            return None;
        }
        let response = Entries::<P>::load(self.memory.page(), self.taken);
        self.taken = RingIndex::after(self.taken, 1);
        Some(response)
    }

    /// Requests an event for the next response. Returns true if there is a response already: then
    /// the caller must not sleep.
    #[inline]
    #[must_use = "if true, responses are already there, and no event announces them"]
    pub fn rearm(&mut self) -> bool {
        if self.taken == self.known && !self.look() {
            let indices = Entries::<P>::indices(self.memory.page());
            indices.rsp_event().publish(RingIndex::after(self.taken, 1));
            // The backend stores its producer index, then reads the event index.
            fence(Ordering::SeqCst);
            if !self.look() {
                return false;
            }
        }
        true
    }

    /// Reads the number of responses, at most one for each published request. Returns whether there
    /// is one. All known responses were taken.
    #[inline]
    fn look(&mut self) -> bool {
        let produced = Entries::<P>::indices(self.memory.page()).rsp_prod().load();
        let there = RingIndex::distance(produced, self.taken);
        // These are the frontend's own indices, which are at most `ENTRIES` apart.
        let most = RingIndex::distance(self.published, self.taken);
        let count = if there < most { there } else { most };
        if count == 0 {
            return false;
        }
        self.known = RingIndex::after(self.taken, count);
        true
    }
}

/// The backend's end of a shared ring: pops requests, pushes responses.
///
/// The frontend is not trusted. There are never more requests without a response than the ring has
/// entries. But a frontend can send requests as fast as they are answered: bound the number that is
/// handled in one turn.
///
/// ```
/// use xen_hal::ring::{BackRing, Protocol, RingPage};
///
/// /// Answers at most 64 requests. Returns whether the frontend must be notified.
/// fn serve<M: RingPage, P: Protocol>(
///     ring: &mut BackRing<M, P>,
///     mut answer: impl FnMut(P::Request) -> P::Response,
/// ) -> bool {
///     for _ in 0..64 {
///         let Some(request) = ring.pop() else { break };
///         ring.push(&answer(request)).expect("each popped request has room for a response");
///     }
///     ring.publish()
/// }
/// ```
pub struct BackRing<M, P> {
    memory: M,
    protocol: PhantomData<fn() -> P>,
    known: u32,
    taken: u32,
    pushed: u32,
    published: u32,
}

impl<M: RingPage, P: Protocol> BackRing<M, P> {
    /// The number of entries.
    pub const ENTRIES: usize = Entries::<P>::COUNT;

    /// Attaches to a ring that the frontend has created.
    pub const fn new(memory: M) -> Self {
        Self { memory, protocol: PhantomData, known: 0, taken: 0, pushed: 0, published: 0 }
    }

    /// Returns the page.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// Gives up the ring and returns its page.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// Returns the number of popped requests that have no response yet.
    #[inline]
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        RingIndex::clamped(Self::ENTRIES, self.taken, self.pushed).used()
    }

    /// Pops a request, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<P::Request> {
        if self.taken == self.known && !self.look() {
            return None;
        }
        let request = Entries::<P>::load(self.memory.page(), self.taken);
        self.taken = RingIndex::after(self.taken, 1);
        Some(request)
    }

    /// Puts a response into the ring. The frontend sees it after [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// [`RingFullError`] if every popped request has a response.
    #[inline]
    pub fn push(&mut self, response: &P::Response) -> Result<(), RingFullError> {
        if self.pushed == self.taken {
            return Err(RingFullError);
        }
        Entries::<P>::store(self.memory.page(), self.pushed, response);
        self.pushed = RingIndex::after(self.pushed, 1);
        Ok(())
    }

    /// Makes the responses visible to the frontend. Returns true if the frontend must be notified.
    #[inline]
    #[must_use = "the frontend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.pushed);
        self.index(RSP_PROD).store(new, Ordering::Release);
        self.published = new;
        fence(Ordering::SeqCst);
        let event = self.index(RSP_EVENT);
        must_notify(event.load(Ordering::Relaxed), old, new)
    }

    /// Requests an event for the next request. Returns true if there is a request already: then the
    /// caller must not sleep.
    #[inline]
    #[must_use = "if true, requests are already there, and no event announces them"]
    pub fn rearm(&mut self) -> bool {
        if self.taken != self.known || self.look() {
            return true;
        }
        let event = self.index(REQ_EVENT);
        event.store(RingIndex::after(self.taken, 1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.look()
    }

    /// Reads the number of requests, at most one for each free entry for a response. Returns
    /// whether there is one.
    #[inline]
    fn look(&mut self) -> bool {
        let produced = self.index(REQ_PROD);
        let produced = produced.load(Ordering::Acquire);
        let there = RingIndex::clamped(Self::ENTRIES, produced, self.taken).used();
        let most = RingIndex::clamped(Self::ENTRIES, self.taken, self.pushed).free();
        let count = if there < most { there } else { most };
        self.known = RingIndex::after(self.taken, count as u32);
        count > 0
    }

    /// Returns an index at the start of the ring.
    #[inline(always)]
    fn index(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the offset is that of an index, which is within the page and aligned; `RingPage`
        // guarantees that the page is valid.
        unsafe { cell(self.memory.page().cast(), offset) }
    }
}
