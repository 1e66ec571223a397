//! Xenstore for asynchronous tasks.

use core::cell::RefCell;
use core::fmt;
use core::future::poll_fn;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;
use xen_pac::base::Domid;
use xen_pac::xenstore::{XENSTORE_PAYLOAD_MAX, XsdSockmsgType};

use super::inbox::HEADER;
use super::tree::{self, AsPath, NodePath};
use super::{RequestId, Store, StoreError, TRANSACTION_ATTEMPTS};
use crate::event::{Dispatcher, EventError, Events, Port, Wakers};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::VcpuId;
use crate::ring::{PortListener, Wait, YieldWait};

mod state;
mod tree_trait;

pub use state::{OPEN_TRANSACTIONS_MAX, WATCHES_MAX};
pub use tree_trait::AsyncTree;

use state::{SlotState, State, TransactionState};

/// The number of tasks that can wait for an [`AsyncStore`] at a time, beside the one that runs
/// [`run`](AsyncStore::run). [`AsyncStore::with_tasks`] adds room for more. If more tasks wait than
/// there is room for, the executor polls all of them without a pause.
pub const TASKS_MAX: usize = 16;

/// With a slot for the task that runs `run`.
const WAKERS: usize = TASKS_MAX + 1;

/// A connection to xenstore for the tasks of one executor.
///
/// The tasks share it. The operations on the tree are those of [`AsyncTree`], and up to eight
/// requests are in flight. One task must run [`run`](Self::run), which moves the messages. Up to
/// [`TASKS_MAX`] others can wait at a time, or more with [`with_tasks`](Self::with_tasks).
///
/// ```
/// use xen_hal::hypercall::Installed;
/// use xen_hal::xenstore::{AsyncStore, AsyncTree, StoreError};
///
/// async fn serve(store: &AsyncStore<'_, Installed>) -> StoreError {
///     store.run().await
/// }
///
/// /// Copies the name of the domain each time that it changes.
/// async fn follow(store: &AsyncStore<'_, Installed>) -> Result<(), StoreError> {
///     let mut name = store.watch("name").await?;
///     while name.next().await.is_some() {
///         let mut buffer = [0; 256];
///         let value = store.read("name", &mut buffer).await?;
///         store.write("data/name", value).await?;
///     }
///     Ok(())
/// }
///
/// async fn count(store: &AsyncStore<'_, Installed>) -> Result<u32, StoreError> {
///     store
///         .transaction(async |tree| {
///             let visits: u32 = tree.read_number("data/visits").await.unwrap_or(0);
///             tree.write_number("data/visits", visits + 1).await?;
///             Ok(visits + 1)
///         })
///         .await
/// }
/// ```
///
/// # Cancellation
///
/// All futures, watches and transactions can be dropped at any time:
///
/// - A request was sent whole, or not at all. What the ring has no room for is kept, and
///   [`run`](Self::run) sends it. The server may carry out a request whose future was dropped; its
///   answer is discarded.
/// - The server is asked to remove a watch that was dropped, and to discard a transaction that was
///   dropped or whose start was dropped.
///
/// No operation has a timeout of its own: `with_timeout` of `embassy-time` gives it one. As for
/// [`Store`], the server is not trusted.
pub struct AsyncStore<'a, H: Hypercall + Copy> {
    events: RefCell<PortListener<'a, H>>,
    state: RefCell<State<'a, H>>,
    waiting: RefCell<WaitingTasks<'a>>,
}

/// The wakers of the tasks that wait.
struct WaitingTasks<'a> {
    own: [Option<Waker>; WAKERS],
    more: &'a mut [Option<Waker>],
}

impl WaitingTasks<'_> {
    fn slots(&mut self) -> impl Iterator<Item = &mut Option<Waker>> {
        self.own.iter_mut().chain(self.more.iter_mut())
    }
}

impl Drop for WaitingTasks<'_> {
    /// Removes the wakers from the caller's slice.
    fn drop(&mut self) {
        self.more.fill(None);
    }
}

impl AsyncStore<'_, crate::hypercall::Installed> {
    /// A size in bytes for `outbox`: room for the longest request.
    pub const OUTBOX: usize = HEADER + XENSTORE_PAYLOAD_MAX as usize;
}

impl<'a, H: Hypercall + Copy> AsyncStore<'a, H> {
    /// Listens to the events of the store's port on `vcpu`. `outbox` holds the end of a request
    /// that the ring has no room for; without it, requests of more than 1008 bytes fail.
    ///
    /// The store's watches deliver no events: set them again. Its storage must have room for the
    /// answers that arrive before their tasks run: [`Store::STORAGE`] has room for two of maximum
    /// length. An answer that finds none ends its request with [`StoreError::TooLong`].
    ///
    /// # Errors
    ///
    /// As for [`Wakers::listen`].
    pub fn new<W: Wait, const PORTS: usize, const VCPUS: usize>(
        store: Store<'a, H, W>,
        outbox: &'a mut [u8],
        wakers: &'a Wakers<PORTS>,
        dispatcher: &'a Dispatcher<VCPUS>,
        vcpu: VcpuId,
    ) -> Result<Self, EventError> {
        let connection = store.connection;
        let (events, port) = (Events::new(connection.xen), connection.port);
        let events = PortListener::new(events, port, wakers, dispatcher, vcpu)?;
        let (events, state) = (RefCell::new(events), RefCell::new(State::new(connection, outbox)));
        let waiting = WaitingTasks { own: [const { None }; WAKERS], more: &mut [] };
        Ok(Self { events, state, waiting: RefCell::new(waiting) })
    }

    /// Lets more than [`TASKS_MAX`] tasks wait at a time: one more for each element of `more`.
    #[must_use]
    pub fn with_tasks(mut self, more: &'a mut [Option<Waker>]) -> Self {
        let waiting = self.waiting.get_mut();
        waiting.more.fill(None);
        waiting.more = more;
        self
    }

    /// Stops listening, and returns the store, for example to reconnect it after a restore. Call
    /// [`Store::reset_watches`] to remove the watches and transactions whose removal was still to
    /// be sent. If part of a request was still to be sent, the connection is broken.
    #[must_use]
    pub fn into_store(self) -> Store<'a, H> {
        let mut state = self.state.into_inner();
        let _ = state.send_rest();
        state.connection.broken |= state.has_rest();
        for transaction in state.transactions {
            if let TransactionState::Orphaned(id) = transaction {
                state.connection.inbox.forget(id);
            }
        }
        let wait = YieldWait::new(state.connection.xen);
        Store { connection: state.connection, wait }
    }

    /// Returns the ring's port.
    #[must_use]
    pub fn port(&self) -> Port {
        self.state.borrow().connection.port
    }

    /// Moves messages between the ring and the tasks, for ever. No other operation makes progress
    /// while no task runs this. If it is dropped, it can be called again.
    ///
    /// Returns the error for which the connection can no longer be used. All operations then fail
    /// with [`StoreError::Broken`], and watches end. To reconnect, call
    /// [`into_store`](Self::into_store).
    pub async fn run(&self) -> StoreError {
        poll_fn(|context| {
            let turn = || self.state.borrow_mut().turn();
            let turned = self.events.borrow_mut().poll(context, turn);
            if turned.is_err() {
                self.state.borrow_mut().connection.broken = true;
            }
            if turned != Ok(false) {
                self.wake();
            }
            // Another task can find that the connection is broken.
            self.register(context.waker().clone());
            turned.map_or_else(Poll::Ready, |_| Poll::Pending)
        })
        .await
    }

    /// Watches a node and everything below it. A path that starts with `@` stands for a condition,
    /// not a node: `@releaseDomain` changes when a domain ends.
    ///
    /// # Errors
    ///
    /// As for [`AsyncTree::request`]; [`StoreError::TooLong`] for a path that does not fit into a
    /// [`NodePath`].
    pub async fn watch(&self, path: impl AsPath) -> Result<Watch<'_, 'a, H>, StoreError> {
        let path = NodePath::new(path)?;
        let index = self.until(|state| state.reserve_watch(path)).await;
        let watch = Watch { store: self, index };
        let token = self.state.borrow().token(index);
        let payload = [path.as_str().as_bytes(), b"\0", token.bytes(), b"\0"];
        let sent = self.until(|state| {
            let sent = state.submit(0, XsdSockmsgType::WATCH, &payload);
            if matches!(sent, Poll::Ready(Ok(_))) {
                state.watches[index].state = SlotState::Live;
            }
            sent
        });
        let flight = Flight { store: self, id: sent.await? };
        flight.answer(&mut [0; 4]).await?;
        Ok(watch)
    }

    /// Runs `work` in a transaction: others see all of its changes or none. If others changed what
    /// `work` read, discards its changes and runs it again, up to 32 runs in all. If `work` fails
    /// or is dropped, discards its changes.
    ///
    /// # Errors
    ///
    /// The error of `work`; [`StoreError::Conflict`] if every attempt conflicted with other
    /// changes; otherwise as for [`AsyncTree::request`].
    pub async fn transaction<T, E: From<StoreError>>(
        &self,
        mut work: impl AsyncFnMut(&AsyncTransaction<'_, 'a, H>) -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..TRANSACTION_ATTEMPTS {
            let transaction = self.begin().await?;
            let value = work(&transaction).await?;
            match transaction.commit().await {
                Ok(()) => return Ok(value),
                Err(StoreError::Refused(Errno::EAGAIN)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Starts a transaction.
    async fn begin(&self) -> Result<AsyncTransaction<'_, 'a, H>, StoreError> {
        let index = self.until(State::reserve_transaction).await;
        let mut transaction = AsyncTransaction { store: self, index, number: 0 };
        let sent = self.until(|state| {
            let sent = state.submit(0, XsdSockmsgType::TRANSACTION_START, &[b"\0"]);
            if let Poll::Ready(Ok(id)) = sent {
                state.transactions[index] = TransactionState::Starting(id);
            }
            sent
        });
        let (id, mut number) = (sent.await?, [0; 16]);
        let opened = self.until(|state| {
            let answer = state.answer(id, &mut number);
            answer.map(|answer| {
                let opened = answer.and_then(|length| tree::transaction(&number[..length]));
                state.connection.inbox.forget(id);
                state.transactions[index] =
                    opened.map_or(TransactionState::Reserved, TransactionState::Open);
                opened
            })
        });
        transaction.number = opened.await?;
        self.wake();
        Ok(transaction)
    }

    /// Reads the path of a domain's directory. The domain's relative paths start there.
    ///
    /// # Errors
    ///
    /// As for [`AsyncTree::request`]; [`StoreError::Malformed`] if the answer is not UTF-8.
    pub async fn domain_path<'b>(
        &self,
        domain: Domid,
        buffer: &'b mut [u8],
    ) -> Result<&'b str, StoreError> {
        let number = tree::domain_text(domain)?;
        let kind = XsdSockmsgType::GET_DOMAIN_PATH;
        tree::domain_path(self.request(kind, &[number.bytes()], buffer).await?)
    }

    async fn request_in<'b>(
        &self,
        transaction: u32,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError> {
        let sent = self.until(|state| state.submit(transaction, kind, payload));
        let flight = Flight { store: self, id: sent.await? };
        let length = flight.answer(buffer).await?;
        Ok(buffer.get_mut(..length).unwrap_or_default())
    }

    /// Waits until `step` returns a value.
    async fn until<T>(&self, mut step: impl FnMut(&mut State<'a, H>) -> Poll<T>) -> T {
        poll_fn(|context| self.poll(context, &mut step)).await
    }

    /// Calls `step`. If it returns no value, wakes the task when the state changes.
    fn poll<T>(
        &self,
        context: &Context<'_>,
        step: impl FnOnce(&mut State<'a, H>) -> Poll<T>,
    ) -> Poll<T> {
        let mut state = self.state.borrow_mut();
        let was_broken = state.connection.broken;
        let polled = step(&mut state);
        let broke = state.connection.broken && !was_broken;
        drop(state);
        if polled.is_pending() {
            self.register(context.waker().clone());
        }
        if broke {
            self.wake();
        }
        polled
    }

    fn register(&self, waker: Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.slots().flatten().any(|known| known.will_wake(&waker)) {
            return;
        }
        if let Some(free) = waiting.slots().find(|slot| slot.is_none()) {
            *free = Some(waker);
            return;
        }
        // More tasks wait than there are slots. Each of the others looks again.
        drop(waiting);
        self.wake();
        self.waiting.borrow_mut().own[0] = Some(waker);
    }

    /// Wakes all tasks that wait.
    fn wake(&self) {
        let count = self.waiting.borrow_mut().slots().count();
        for index in 0..count {
            // No borrow is held while an executor's code runs.
            let waker = self.waiting.borrow_mut().slots().nth(index).and_then(Option::take);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<H: Hypercall + Copy> AsyncTree for AsyncStore<'_, H> {
    async fn request<'b>(
        &self,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError> {
        self.request_in(0, kind, payload, buffer).await
    }
}

impl<H: Hypercall + Copy> fmt::Debug for AsyncStore<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStore").field("port", &self.port()).finish_non_exhaustive()
    }
}

/// A request in flight. Dropping it cancels it.
struct Flight<'s, 'a, H: Hypercall + Copy> {
    store: &'s AsyncStore<'a, H>,
    id: RequestId,
}

impl<H: Hypercall + Copy> Flight<'_, '_, H> {
    async fn answer(&self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        self.store.until(|state| state.answer(self.id, buffer)).await
    }
}

impl<H: Hypercall + Copy> Drop for Flight<'_, '_, H> {
    fn drop(&mut self) {
        self.store.state.borrow_mut().connection.inbox.forget(self.id);
        // Another request can be in flight.
        self.store.wake();
    }
}

/// A change of a watched node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// This node, which is the watched one or one below it, changed. The path is relative if the
    /// watch's path is relative. A watch also has an event when it is set, and can have one without
    /// a change.
    Changed(NodePath),
    /// The watched node or any node below it may have changed: events were dropped for lack of
    /// room, or the path is too long for a [`NodePath`].
    Any,
}

/// A watch: a stream of the changes of a node. It ends when the connection can no longer be used.
/// Dropping it stops watching.
pub struct Watch<'s, 'a, H: Hypercall + Copy> {
    store: &'s AsyncStore<'a, H>,
    index: usize,
}

impl<H: Hypercall + Copy> Watch<'_, '_, H> {
    /// Waits for the next change. Returns `None` if the connection can no longer be used.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<H: Hypercall + Copy> Stream for Watch<'_, '_, H> {
    type Item = WatchEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.store.poll(context, |state| {
            if mem::take(&mut state.watches[self.index].lost) {
                return Poll::Ready(Some(WatchEvent::Any));
            }
            let token = state.token(self.index);
            let event = state.connection.inbox.take_event_of(token.as_str(), |path| {
                NodePath::new(path).map_or(WatchEvent::Any, WatchEvent::Changed)
            });
            match event {
                None if !state.connection.broken => Poll::Pending,
                event => Poll::Ready(event),
            }
        })
    }
}

impl<H: Hypercall + Copy> Drop for Watch<'_, '_, H> {
    fn drop(&mut self) {
        let mut state = self.store.state.borrow_mut();
        let slot = &mut state.watches[self.index].state;
        *slot = if *slot == SlotState::Live { SlotState::Leaving } else { SlotState::Free };
        state.settle();
        drop(state);
        self.store.wake();
    }
}

impl<H: Hypercall + Copy> fmt::Debug for Watch<'_, '_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("index", &self.index).finish_non_exhaustive()
    }
}

/// The tree within a transaction, with the methods of [`AsyncTree`]. [`AsyncStore::transaction`]
/// starts and ends the transaction.
pub struct AsyncTransaction<'s, 'a, H: Hypercall + Copy> {
    store: &'s AsyncStore<'a, H>,
    index: usize,
    number: u32,
}

impl<H: Hypercall + Copy> AsyncTransaction<'_, '_, H> {
    /// Makes the changes visible to others.
    async fn commit(self) -> Result<(), StoreError> {
        let sent = self.store.until(|state| {
            let kind = XsdSockmsgType::TRANSACTION_END;
            let sent = state.submit(self.number, kind, &[b"T\0"]);
            if matches!(sent, Poll::Ready(Ok(_))) {
                // The server ends it in any case.
                state.transactions[self.index] = TransactionState::Reserved;
            }
            sent
        });
        let flight = Flight { store: self.store, id: sent.await? };
        flight.answer(&mut [0; 4]).await.map(drop)
    }
}

impl<H: Hypercall + Copy> AsyncTree for AsyncTransaction<'_, '_, H> {
    async fn request<'b>(
        &self,
        kind: XsdSockmsgType,
        payload: &[&[u8]],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], StoreError> {
        self.store.request_in(self.number, kind, payload, buffer).await
    }
}

impl<H: Hypercall + Copy> Drop for AsyncTransaction<'_, '_, H> {
    fn drop(&mut self) {
        let mut state = self.store.state.borrow_mut();
        let slot = &mut state.transactions[self.index];
        *slot = match *slot {
            TransactionState::Starting(id) => TransactionState::Orphaned(id),
            TransactionState::Open(number) => TransactionState::Leaving(number),
            _ => TransactionState::Free,
        };
        state.settle();
        drop(state);
        self.store.wake();
    }
}

impl<H: Hypercall + Copy> fmt::Debug for AsyncTransaction<'_, '_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncTransaction").field("number", &self.number).finish_non_exhaustive()
    }
}
