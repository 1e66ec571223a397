//! Xenstore: the tree of names and values through which domains find each other's devices, and
//! tools control a guest (upstream: `xen/include/public/io/xs_wire.h`, `docs/misc/xenstore.txt`).
//!
//! ```
//! use core::ptr::NonNull;
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::platform::Frame;
//! use xen_hal::xenstore::{Store, StoreError, StoreEvent, Tree};
//! use xen_pac::xenstore::raw::XenstoreDomainInterface;
//!
//! /// `map` returns the address at which the guest maps a frame.
//! fn introduce<H: Hypercall + Copy>(
//!     xen: H,
//!     map: impl FnOnce(Frame) -> Option<NonNull<XenstoreDomainInterface>>,
//! ) -> Result<(), StoreError> {
//!     let (mut storage, mut buffer) = ([0; Store::STORAGE], [0; 4096]);
//!     // SAFETY: the frame stays mapped, and only this store uses it.
//!     let mut store = unsafe { Store::open(xen, map, &mut storage) }?;
//!
//!     println!("I am {}", store.read_str("name", &mut buffer)?);
//!     store.write("data/greeting", "hello")?;
//!     for device in store.directory("device/vbd", &mut buffer)? {
//!         println!("a disk: {device}");
//!     }
//!     store.transaction(|tree| {
//!         let visits: u32 = tree.read_number("data/visits").unwrap_or(0);
//!         tree.write_number("data/visits", visits + 1)
//!     })?;
//!
//!     store.watch("data/visits", "a token")?;
//!     // Bounded: others can change the node without end.
//!     for _ in 0..32 {
//!         let Some(event) = store.event(&mut buffer)? else { break };
//!         match event {
//!             StoreEvent::Watch { path, token } => println!("{path} changed ({token})"),
//!             StoreEvent::Lost => println!("any watched node may have changed"),
//!             // All watches must be set again.
//!             StoreEvent::Reset => store.watch("data/visits", "a token")?,
//!         }
//!     }
//!     Ok(())
//! }
//! # let disk = |dom0: &xen_sim::backend::Dom0, guest| {
//! #     dom0.attach(guest, xen_sim::backend::Disk::new(8));
//! # };
//! # xen_sim::storm_with_dom0(5, disk, |guest| introduce(guest.xen(), |it| guest.frame(it)));
//! ```
//!
//! - The operations on the tree are those of [`Tree`], which a [`Transaction`] has too.
//! - They wait for the answer with the store's [`Wait`], and fail when it gives up. For several
//!   requests in flight, use [`Store::submit`] and [`Store::answer`].
//! - Messages are assembled in `storage`. Its size limits the watch events that are kept while the
//!   guest waits for an answer; [`Store::STORAGE`] has room for the longest answer.
//! - After a restore, [`Store::reopen`] restarts the connection.
//! - With the feature `async`, an `AsyncStore` has the same operations as futures.
//!
//! The server is not trusted: lengths, request numbers and ring indices are checked, and every loop
//! inside these methods is bounded, whatever the server writes. The caller must bound a loop around
//! [`Store::event`].

use core::fmt;
use core::ptr::NonNull;

use tock_registers::interfaces::Readable;
use xen_pac::base::Domid;
use xen_pac::xenstore::{
    XENSTORE_PAYLOAD_MAX, XenstoreConnection, XenstoreDomainInterface, XenstoreError,
    XsdSockmsgType, raw, xenstore_server_features,
};

use crate::atomic::Ordering;
use crate::event::Port;
use crate::hypercall::{Errno, Hypercall};
use crate::platform::Frame;
use crate::ring::{Wait, YieldWait};

#[cfg(feature = "async")]
mod asynch;
mod connection;
mod error;
mod inbox;
mod tree;

#[cfg(feature = "async")]
pub use asynch::{
    AsyncStore, AsyncTransaction, AsyncTree, OPEN_TRANSACTIONS_MAX, TASKS_MAX, WATCHES_MAX, Watch,
    WatchEvent,
};
pub use error::StoreError;
pub use tree::{
    AsPath, Names, NodeAccess, NodePath, PERMISSIONS_MAX, Path, Permission, Permissions, Tree,
};

use connection::Connection;
use inbox::HEADER;

/// The maximum number of attempts of a transaction.
const TRANSACTION_ATTEMPTS: u32 = 32;

/// A request that was submitted: see [`Store::submit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u32);

/// A message that the server sends without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent<'b> {
    /// A watched node, or one below it, changed. A watch also has an event when it is set, and can
    /// have one without a change.
    Watch {
        /// The node, relative if the watch's path is relative.
        path: &'b str,
        /// The token with which the watch was set.
        token: &'b str,
    },
    /// Events were dropped for lack of room: any watched node may have changed.
    Lost,
    /// The connection was restarted: all watches must be set again.
    Reset,
}

/// A connection to xenstore.
pub struct Store<'a, H, W = YieldWait<H>> {
    connection: Connection<'a, H>,
    wait: W,
}

impl Store<'_, ()> {
    /// A size in bytes for `storage`: room for the longest answer, and as much again for events.
    pub const STORAGE: usize = 2 * (HEADER + XENSTORE_PAYLOAD_MAX as usize);
}

impl<'a, H: Hypercall + Copy> Store<'a, H> {
    /// Connects to xenstore. Calls `map`, which must map the ring's frame and return its address.
    /// Discards what the server sent to an earlier kernel. To remove an earlier kernel's watches,
    /// call [`reset_watches`](Self::reset_watches).
    ///
    /// # Errors
    ///
    /// [`StoreError::NoStore`], [`StoreError::NotMapped`] and [`StoreError::Parameter`].
    ///
    /// # Safety
    ///
    /// For all of `'a`, the frame must be mapped at the address that `map` returns, with the
    /// caching of ordinary memory, and nothing else in the guest may access it.
    pub unsafe fn open(
        xen: H,
        map: impl FnOnce(Frame) -> Option<NonNull<raw::XenstoreDomainInterface>>,
        storage: &'a mut [u8],
    ) -> Result<Self, StoreError> {
        // SAFETY: the caller's obligations are the same.
        let (page, port) = unsafe { connection::find(xen, map) }?;
        Ok(Self::over_ring(xen, page, port, storage))
    }

    /// Creates a connection over a ring whose page and port the guest already has.
    pub fn over_ring(
        xen: H,
        page: XenstoreDomainInterface<'a>,
        port: Port,
        storage: &'a mut [u8],
    ) -> Self {
        Self { connection: Connection::new(xen, page, port, storage), wait: YieldWait::new(xen) }
    }

    /// Replaces the way in which the store waits for the server.
    #[must_use]
    pub fn with_wait<W: Wait>(self, wait: W) -> Store<'a, H, W> {
        Store { connection: self.connection, wait }
    }
}

impl<'a, H: Hypercall + Copy, W: Wait> Store<'a, H, W> {
    /// Returns the ring's port. The server notifies it after it sends or reads data.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.connection.port
    }

    /// Connects again after a restore. The restore has emptied the ring, and the port may be a
    /// different one. Requests in flight fail, and the next event is [`StoreEvent::Reset`].
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open). On an error, the store is unchanged.
    ///
    /// # Safety
    ///
    /// As for [`open`](Self::open).
    pub unsafe fn reopen(
        &mut self,
        map: impl FnOnce(Frame) -> Option<NonNull<raw::XenstoreDomainInterface>>,
    ) -> Result<(), StoreError> {
        // SAFETY: the caller's obligations are the same.
        let found = unsafe { connection::find(self.connection.xen, map) }?;
        (self.connection.page, self.connection.port) = found;
        self.connection.restart();
        Ok(())
    }

    /// Resets the server's state of this domain and restarts the connection, for example after
    /// [`StoreError::Broken`]. Requests in flight fail, and the next event is
    /// [`StoreEvent::Reset`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] if the server cannot do this (before Xen 4.5). After
    /// [`StoreError::TimedOut`] and [`StoreError::Xen`], the connection cannot be used until a
    /// further call succeeds.
    pub fn reconnect(&mut self) -> Result<(), StoreError> {
        let page = self.connection.page;
        if !page.server_features().is_set(xenstore_server_features::RECONNECTION) {
            return Err(StoreError::Unsupported);
        }
        let connection = page.connection();
        // From now on, the server can empty the ring at any time.
        self.connection.broken = true;
        connection.swap(XenstoreConnection::RECONNECT.0, Ordering::Release);
        self.connection.notify()?;
        let mut attempt = 0;
        while connection.load(Ordering::Acquire) != XenstoreConnection::CONNECTED.0 {
            self.wait_again(&mut attempt)?;
        }
        self.connection.restart();
        Ok(())
    }

    /// Returns the reason for which the server stopped serving the connection. `None` if it has not
    /// stopped, or does not report reasons.
    #[must_use]
    pub fn server_error(&self) -> Option<XenstoreError> {
        self.connection.server_error()
    }

    /// Sends a request, and does not wait for its answer. The parts of `payload` are joined to one
    /// payload. Up to eight requests can be in flight.
    ///
    /// If the ring is full, waits until the server reads.
    ///
    /// # Errors
    ///
    /// Before anything is sent: [`StoreError::TooLong`], [`StoreError::Busy`], and
    /// [`StoreError::Broken`] if the connection was already unusable. Later:
    /// [`StoreError::TimedOut`], [`StoreError::Broken`] and [`StoreError::Xen`]; part of the
    /// request can have been sent.
    pub fn submit(
        &mut self,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
    ) -> Result<RequestId, StoreError> {
        self.submit_in(0, kind, payload)
    }

    fn submit_in(
        &mut self,
        transaction: u32,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
    ) -> Result<RequestId, StoreError> {
        let (id, header, length) = self.connection.begin(transaction, kind, payload)?;
        let sent = self.send(&header, payload, length);
        if sent.is_err() {
            self.cancel(id);
        }
        sent.map(|()| id)
    }

    /// Sends a message of `length` bytes.
    fn send(&mut self, header: &[u8], payload: &[&[u8]], length: usize) -> Result<(), StoreError> {
        let mut attempt = 0;
        // A message that fits into the ring is written at once, so it is never cut off.
        loop {
            let (free, size) = self.connection.room();
            if free >= length.min(size) {
                break;
            }
            self.make_way(&mut attempt)?;
        }
        for mut part in core::iter::once(header).chain(payload.iter().copied()) {
            while !part.is_empty() {
                let count = self.connection.put(part);
                part = &part[count..];
                if count > 0 {
                    attempt = 0;
                } else if let Err(error) = self.make_way(&mut attempt) {
                    self.connection.broken = true;
                    return Err(error);
                }
            }
        }
        self.connection.notify()
    }

    /// Waits for the server to read requests. Receives its messages meanwhile, because the server
    /// may wait for room.
    fn make_way(&mut self, attempt: &mut u32) -> Result<(), StoreError> {
        if *attempt == 0 {
            self.connection.notify()?;
        }
        self.connection.receive()?;
        self.wait_again(attempt)
    }

    /// Receives the messages in the ring. If none of them is an event, waits once, even if answers
    /// arrived. `attempt` counts the waits of one operation: it starts at 0, and this increments
    /// it.
    ///
    /// # Errors
    ///
    /// [`StoreError::TimedOut`] if the store's [`Wait`] gives up; [`StoreError::Broken`] and
    /// [`StoreError::Xen`].
    pub fn pause(&mut self, attempt: &mut u32) -> Result<(), StoreError> {
        let before = self.events_received();
        self.connection.receive()?;
        if self.events_received() == before { self.wait_again(attempt) } else { Ok(()) }
    }

    /// Returns the number of events received so far, including lost ones, modulo 2^32.
    #[must_use]
    pub const fn events_received(&self) -> u32 {
        self.connection.inbox.events
    }

    fn wait_again(&mut self, attempt: &mut u32) -> Result<(), StoreError> {
        if self.wait.wait(self.connection.port, *attempt).is_break() {
            return Err(StoreError::TimedOut);
        }
        *attempt = attempt.saturating_add(1);
        Ok(())
    }

    /// If the answer to a request has arrived, copies it to `buffer`, returns it and ends the
    /// request. Does not wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] with the server's error, [`StoreError::Malformed`], and
    /// [`StoreError::TooLong`] if `buffer` is too small: each ends the request.
    /// [`StoreError::Reset`] if the connection was restarted, which also ends the request.
    /// [`StoreError::NotInFlight`] if the request has already ended.
    /// [`StoreError::Broken`] and [`StoreError::Xen`] leave the request in flight:
    /// [`cancel`](Self::cancel) it.
    pub fn answer<'b>(
        &mut self,
        id: RequestId,
        buffer: &'b mut [u8],
    ) -> Result<Option<&'b mut [u8]>, StoreError> {
        // An answer that arrived before the connection broke is still delivered.
        let received = self.connection.receive();
        match self.connection.inbox.take_answer(id, buffer) {
            Ok(None) => received.map(|_| None),
            answer => answer,
        }
    }

    /// Cancels a request. The server may still carry it out. Its answer is dropped.
    pub fn cancel(&mut self, id: RequestId) {
        self.connection.inbox.forget(id);
    }

    /// Returns the next event, if there is one, and copies its path and token to `buffer`. Does not
    /// wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLong`] if the buffer is too small: the event is kept.
    /// [`StoreError::Broken`] and [`StoreError::Xen`].
    pub fn event<'b>(
        &mut self,
        buffer: &'b mut [u8],
    ) -> Result<Option<StoreEvent<'b>>, StoreError> {
        // Events that arrived before the connection broke are still delivered.
        let received = self.connection.receive();
        match self.connection.inbox.take_event(buffer) {
            Ok(None) => received.map(|_| None),
            event => event,
        }
    }

    fn request_in<'b>(
        &mut self,
        transaction: u32,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError> {
        let id = self.submit_in(transaction, kind, payload)?;
        let mut attempt = 0;
        let result = loop {
            // Only the answer's length, because the borrow checker rejects a returned borrow in a
            // loop.
            match self.answer(id, buffer) {
                Ok(Some(answer)) => break Ok(answer.len()),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
            if let Err(error) = self.wait_again(&mut attempt) {
                break Err(error);
            }
        };
        if result.is_err() {
            self.cancel(id);
        }
        Ok(buffer.get_mut(..result?).unwrap_or_default())
    }

    /// Watches a node and everything below it. Each event holds `token`. The server sends one event
    /// at once. A path that starts with `@` stands for a condition, not a node: `@releaseDomain`
    /// changes when a domain ends.
    ///
    /// The server skips an event whose path and token do not fit into a message, with a zero byte
    /// after each: together they have more than [`XENSTORE_PAYLOAD_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// As for [`Tree::request`]; `EEXIST` if the same path is watched with the same token.
    pub fn watch(&mut self, path: impl AsPath, token: &str) -> Result<(), StoreError> {
        self.watch_request(XsdSockmsgType::WATCH, path.as_path(), token)
    }

    /// Stops watching a node. Returns false if it was not watched with this token. Events that have
    /// already arrived are still delivered.
    ///
    /// # Errors
    ///
    /// As for [`Tree::request`].
    pub fn unwatch(&mut self, path: impl AsPath, token: &str) -> Result<bool, StoreError> {
        match self.watch_request(XsdSockmsgType::UNWATCH, path.as_path(), token) {
            Ok(()) => Ok(true),
            Err(StoreError::Refused(Errno::ENOENT)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn watch_request(
        &mut self,
        kind: XsdSockmsgType,
        path: Path<'_>,
        token: &str,
    ) -> Result<(), StoreError> {
        let [directory, slash, name] = path.checked()?;
        if token.contains('\0') {
            return Err(StoreError::InvalidPath);
        }
        let payload = [directory, slash, name, b"\0", token.as_bytes(), b"\0"];
        self.request_in(0, kind, &payload, &mut [0; 4]).map(drop)
    }

    /// Drops all watches and transactions of the domain, such as those of an earlier kernel.
    ///
    /// # Errors
    ///
    /// As for [`Tree::request`]; `ENOSYS` or `EINVAL` from a server without this operation.
    pub fn reset_watches(&mut self) -> Result<(), StoreError> {
        self.request_in(0, XsdSockmsgType::RESET_WATCHES, &[b"\0"], &mut [0; 4]).map(drop)
    }

    /// Reads the path of a domain's directory. The domain's relative paths start there.
    ///
    /// # Errors
    ///
    /// As for [`Tree::request`]; [`StoreError::Malformed`] if the answer is not UTF-8.
    pub fn domain_path<'b>(
        &mut self,
        domain: Domid,
        buffer: &'b mut [u8],
    ) -> Result<&'b str, StoreError> {
        let number = tree::domain_text(domain)?;
        let kind = XsdSockmsgType::GET_DOMAIN_PATH;
        tree::domain_path(self.request_in(0, kind, &[number.bytes()], buffer)?)
    }

    /// Runs `work` in a transaction: others see all of its changes or none. If others changed what
    /// `work` read, discards its changes and runs it again, up to 32 runs in all. If `work` fails,
    /// discards its changes.
    ///
    /// # Errors
    ///
    /// The error of `work`; [`StoreError::Conflict`] if every attempt conflicted with other
    /// changes; otherwise as for [`Tree::request`].
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(&mut Transaction<'_, 'a, H, W>) -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..TRANSACTION_ATTEMPTS {
            let mut text = [0; 16];
            let kind = XsdSockmsgType::TRANSACTION_START;
            let answer = self.request_in(0, kind, &[b"\0"], &mut text)?;
            let id = tree::transaction(answer)?;

            let result = work(&mut Transaction { store: self, id });
            let end: &[u8] = if result.is_ok() { b"T\0" } else { b"F\0" };
            let kind = XsdSockmsgType::TRANSACTION_END;
            match (result, self.request_in(id, kind, &[end], &mut [0; 4])) {
                (Err(error), _) => return Err(error),
                (Ok(value), Ok(_)) => return Ok(value),
                (Ok(_), Err(StoreError::Refused(Errno::EAGAIN))) => {}
                (Ok(_), Err(error)) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }
}

impl<H: Hypercall + Copy, W: Wait> Tree for Store<'_, H, W> {
    fn request<'b>(
        &mut self,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError> {
        self.request_in(0, kind, payload, buffer)
    }
}

impl<H, W> fmt::Debug for Store<'_, H, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("port", &self.connection.port)
            .field("broken", &self.connection.broken)
            .finish_non_exhaustive()
    }
}

/// The tree within a transaction, with the methods of [`Tree`]. [`Store::transaction`] starts and
/// ends the transaction.
#[derive(Debug)]
pub struct Transaction<'s, 'a, H, W> {
    store: &'s mut Store<'a, H, W>,
    id: u32,
}

impl<H: Hypercall + Copy, W: Wait> Tree for Transaction<'_, '_, H, W> {
    fn request<'b>(
        &mut self,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError> {
        self.store.request_in(self.id, kind, payload, buffer)
    }
}
