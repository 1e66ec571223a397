//! The asynchronous store. A task is polled only if its waker was called, so a wakeup that is lost
//! stops the test.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use xen_hal::event::{Dispatcher, Wakers};
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_hal::xenstore::{
    AsyncStore, AsyncTree, NodePath, OPEN_TRANSACTIONS_MAX, Store, StoreError, TASKS_MAX,
    WATCHES_MAX, WatchEvent,
};
use xen_pac::shared_info::{SharedInfo, raw};
use xen_pac::xenstore::{XsdSockmsg, XsdSockmsgType};
use xen_sim::backend::{StoreConnection, StoreServer};

use crate::fixture::{GUEST, PORT, Page, Xen, owned, page, refused, server};

type GuestStore<'s, 'x> = AsyncStore<'s, &'s Xen<'x>>;
type Task<'t> = Pin<Box<dyn Future<Output = ()> + 't>>;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls a future when it was woken.
struct Polled<F: ?Sized> {
    future: Pin<Box<F>>,
    woken: Arc<Flag>,
    polls: u32,
}

impl<F: Future + ?Sized> Polled<F> {
    fn new(future: Pin<Box<F>>) -> Self {
        Self { future, woken: Arc::new(Flag(true.into())), polls: 0 }
    }

    fn poll(&mut self) -> Option<F::Output> {
        if !self.woken.0.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.polls += 1;
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

/// The server of a test's store.
struct World<'w> {
    server: &'w RefCell<StoreServer>,
    /// Lets the server act. Returns whether it did.
    serve: &'w dyn Fn() -> bool,
}

/// Runs a test with a server that moves at most `most` bytes at a time, and a store whose outbox
/// has `outbox` bytes.
fn with_store(most: usize, outbox: usize, test: impl FnOnce(&GuestStore<'_, '_>, &World<'_>)) {
    let (page, server) = (page(), RefCell::new(server()));
    let connection = RefCell::new(StoreConnection::new(page, GUEST));
    let wakers = Wakers::<8>::new();
    let serve = || {
        // An event may arrive without a message.
        let acted = connection.borrow_mut().serve(&mut server.borrow_mut(), most);
        wakers.wake(PORT);
        acted
    };
    over(page, outbox, 0, &wakers, |store| {
        test(store, &World { server: &server, serve: &serve });
    });
}

/// Makes a store over a page, with room for the wakers of `more` tasks.
fn over(
    page: Page,
    outbox: usize,
    more: usize,
    wakers: &Wakers<8>,
    test: impl FnOnce(&GuestStore<'_, '_>),
) {
    #[repr(C, align(4096))]
    struct Aligned(raw::SharedInfo);
    let shared = Box::leak(Box::new(Aligned(raw::SharedInfo::ZEROED)));
    // SAFETY: the page is leaked, and used through handles by one thread.
    let shared = unsafe { SharedInfo::from_ptr(NonNull::from(&mut shared.0)) };
    let dispatcher = Dispatcher::<1>::new();
    dispatcher.attach(shared);
    let xen = Xen::new(|| panic!("an asynchronous store does not yield"));
    let (mut storage, mut outbox) = ([0; Store::STORAGE], vec![0; outbox]);
    let store = Store::over_ring(&xen, page, PORT, &mut storage);
    let store = AsyncStore::new(store, &mut outbox, wakers, &dispatcher, VcpuId(0)).unwrap();
    let mut more = vec![None; more];
    test(&store.with_tasks(&mut more));
    assert!(more.iter().all(Option::is_none), "the store keeps no task's waker");
}

impl World<'_> {
    /// Runs a task to its end. Fails if it is not woken.
    fn run(&self, store: &GuestStore<'_, '_>, task: impl Future<Output = ()>) {
        let polls = self.run_polls(store, task, u32::MAX);
        assert!(polls.is_none());
    }

    /// Runs a task to its end, or polls it `most` times and drops it. Returns how often it was
    /// polled if it was dropped.
    fn run_polls(
        &self,
        store: &GuestStore<'_, '_>,
        task: impl Future<Output = ()>,
        most: u32,
    ) -> Option<u32> {
        let mut runner = Polled::new(Box::pin(store.run()));
        let mut task = Polled::new(Box::pin(task));
        for _ in 0..50_000 {
            if task.polls == most {
                return Some(most);
            }
            if task.poll().is_some() {
                return None;
            }
            assert_eq!(runner.poll(), None);
            (self.serve)();
        }
        panic!("the task was not woken");
    }

    /// Lets the server and the store act until both rest.
    fn rest(&self, store: &GuestStore<'_, '_>) {
        let mut runner = Polled::new(Box::pin(store.run()));
        let mut idle = 0;
        for _ in 0..50_000 {
            assert_eq!(runner.poll(), None);
            idle = if (self.serve)() { 0 } else { idle + 1 };
            if idle == 3 {
                return;
            }
        }
        panic!("the server and the store do not rest");
    }
}

/// The sizes of the server's steps, and of the place for the end of a request.
const STEPS: [usize; 3] = [7, 100, 5000];
const OUTBOX: usize = AsyncStore::OUTBOX;

#[test]
fn operations_give_what_the_blocking_ones_give() {
    for step in STEPS {
        with_store(step, OUTBOX, |store, world| {
            world.run(store, async {
                let mut buffer = vec![0; 20_000];
                assert_eq!(store.read_str("name", &mut buffer).await, Ok("guest"));
                assert_eq!(store.read("none", &mut buffer).await, refused(Errno::ENOENT));
                assert_eq!(store.read("name", &mut []).await, Err(StoreError::TooLong(5)));
                assert_eq!(store.exists("none").await, Ok(false));
                assert_eq!(store.exists("name").await, Ok(true));
                assert_eq!(store.write("/tool", "x").await, refused(Errno::EACCES));
                assert_eq!(store.write("data/a", "1").await, Ok(()));
                assert_eq!(store.write_number(("data", "n"), 42).await, Ok(()));
                assert_eq!(store.read_number::<u32>("data/n").await, Ok(42));
                assert_eq!(store.read_number::<u32>("name").await, Err(StoreError::Malformed));
                assert_eq!(store.mkdir("data/d").await, Ok(()));
                assert_eq!(store.rm("data/a").await, Ok(()));
                let names = store.directory("data", &mut buffer).await.unwrap();
                assert_eq!(names.collect::<Vec<_>>(), ["d", "n"]);
                let permissions = owned(GUEST, xen_pac::base::Domid(0));
                assert_eq!(store.set_permissions("data/d", &permissions).await, Ok(()));
                let found = store.permissions("data/d", &mut buffer).await.unwrap();
                assert_eq!(found.collect::<Result<Vec<_>, _>>(), Ok(permissions.to_vec()));
                let path = store.domain_path(GUEST, &mut buffer).await;
                assert_eq!(path, Ok("/local/domain/1"));
                assert_eq!(store.read("", &mut buffer).await, Err(StoreError::InvalidPath));
                let long = store.write("data/a", [0; 5000]).await;
                assert_eq!(long, Err(StoreError::TooLong(5007)));
                let long = store.exists(&*"a".repeat(4096)).await;
                assert_eq!(long, Err(StoreError::TooLong(4097)));
                // A list that is longer than a message.
                for index in 0..300 {
                    world.server.borrow_mut().set(&format!("/local/domain/1/data/{index:015}"), "");
                }
                assert_eq!(store.directory("data", &mut buffer).await.unwrap().count(), 302);
            });
        });
    }
}

#[test]
fn a_request_longer_than_the_ring_needs_the_outbox() {
    with_store(100, 0, |store, world| {
        world.run(store, async {
            assert_eq!(store.write("data/a", [b'x'; 1001]).await, Ok(()));
            assert_eq!(store.write("data/a", [b'x'; 1002]).await, Err(StoreError::TooLong(1009)));
        });
    });
    with_store(100, OUTBOX, |store, world| {
        world.run(store, async {
            assert_eq!(store.write("data/a", [b'x'; 1500]).await, Ok(()));
            let mut buffer = [0; 2000];
            assert_eq!(store.read("data/a", &mut buffer).await, Ok(&[b'x'; 1500][..]));
        });
    });
}

#[test]
fn more_tasks_than_requests_are_served() {
    for (step, tasks) in [(5, 6), (5000, 12), (64, 40)] {
        with_store(step, OUTBOX, |store, world| {
            let done = Cell::new(0);
            let mut all: Vec<Polled<dyn Future<Output = ()>>> = (0..tasks)
                .map(|index: u32| {
                    let done = &done;
                    let task: Task<'_> = Box::pin(async move {
                        let (name, mut buffer) = (format!("data/{index}"), [0; 600]);
                        let value = vec![index as u8; 500];
                        store.write(name.as_str(), &value).await.unwrap();
                        let found = store.read(name.as_str(), &mut buffer).await.unwrap();
                        assert_eq!(found, value);
                        done.set(done.get() + 1);
                    });
                    Polled::new(task)
                })
                .collect();
            let mut runner = Polled::new(Box::pin(store.run()));
            for _ in 0..50_000 {
                if all.is_empty() {
                    break;
                }
                all.retain_mut(|task| task.poll().is_none());
                assert_eq!(runner.poll(), None);
                (world.serve)();
            }
            assert_eq!(done.get(), tasks);
        });
    }
}

#[test]
fn tasks_are_polled_without_a_pause_only_if_their_wakers_have_no_room() {
    const MORE: usize = 24;
    for (room, rest) in [(MORE, true), (MORE - 1, false)] {
        over(page(), OUTBOX, room, &Wakers::new(), |store| {
            let mut runner = Polled::new(Box::pin(store.run()));
            let mut tasks: Vec<_> = (0..TASKS_MAX + MORE)
                .map(|_| Polled::new(Box::pin(store.exists("name"))))
                .collect();
            let polls = [(); 10].map(|()| {
                assert!(tasks.iter_mut().all(|task| task.poll().is_none()));
                assert_eq!(runner.poll(), None);
                tasks.iter().map(|task| task.polls).sum::<u32>()
            });
            // The server is silent.
            assert_eq!(polls[5] == polls[9], rest, "{polls:?}");
            // Dropping a request in flight wakes the others, which removes their wakers.
            std::mem::forget(tasks);
        });
    }
}

thread_local! {
    /// Runs before each access of the thread to shared memory.
    static BEFORE: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Calls `attack` once, before the access of this thread that follows `count` others.
fn before_access(mut count: u32, attack: impl Fn() + 'static) {
    fn hook() {
        // The accesses of the attack are not attacked.
        let before = BEFORE.with(|before| before.borrow_mut().take());
        if let Some(mut attack) = before {
            attack();
            BEFORE.with(|before| *before.borrow_mut() = Some(attack));
        }
    }
    assert!(xen_pac::access::before_each(hook));
    let act = move || {
        if count == 0 {
            attack();
        }
        count = count.wrapping_sub(1);
    };
    BEFORE.with(|before| *before.borrow_mut() = Some(Box::new(act)));
}

#[test]
fn tasks_are_woken_when_another_breaks_the_connection() {
    let mut broken = 0;
    for count in 0..30 {
        let (page, wakers) = (page(), Wakers::<8>::new());
        over(page, 0, 0, &wakers, |store| {
            let (mut runner, mut buffer) = (Polled::new(Box::pin(store.run())), [0; 64]);
            let mut read = Polled::new(Box::pin(store.read("name", &mut buffer)));
            let mut watch = Polled::new(Box::pin(store.watch("name")));
            for _ in 0..5 {
                assert!(read.poll().is_none() && watch.poll().is_none());
                assert_eq!(runner.poll(), None);
            }
            // The server moves its index back, so the ring is full after it had room.
            let full = move || {
                page.req_cons().other_side().publish(page.req_prod().load().wrapping_sub(1024));
            };
            before_access(count, full);
            let mut write = Polled::new(Box::pin(store.write("data/a", [b'x'; 100])));
            let written = write.poll();
            BEFORE.with(|before| *before.borrow_mut() = None);
            if written.is_none() {
                return;
            }
            broken += 1;
            assert_eq!(written, Some(Err(StoreError::Broken)));
            assert_eq!(read.poll(), Some(Err(StoreError::Broken)));
            let watched = watch.poll().map(|watch| watch.map(drop));
            assert_eq!(watched, Some(Err(StoreError::Broken)));
            assert_eq!(runner.poll(), Some(StoreError::Broken));
        });
    }
    assert!(broken > 0);
}

/// Operations with several await points. Each is dropped at each of them.
async fn operation(store: &GuestStore<'_, '_>, which: u32) -> Result<(), StoreError> {
    let mut buffer = [0; 8000];
    match which {
        0 => drop(store.read("name", &mut buffer).await?),
        1 => store.write("data/long", [b'y'; 1500]).await?,
        2 => drop(store.directory("data/list", &mut buffer).await?),
        3 => {
            let count = store.transaction(async |tree| {
                let count = tree.read_number("data/count").await.unwrap_or(0);
                tree.write_number("data/count", count + 1).await?;
                tree.write("data/long", [b'z'; 1500]).await?;
                Ok::<u32, StoreError>(count + 1)
            });
            count.await?;
        }
        4 => {
            let mut watch = store.watch("data").await?;
            assert!(watch.next().await.is_some());
            store.write("data/a", "1").await?;
            assert!(watch.next().await.is_some());
        }
        _ => {
            let mut all = (pin!(store.read("name", &mut buffer)), pin!(store.watch("name")));
            std::future::poll_fn(|context| {
                let read = all.0.as_mut().poll(context).map(drop);
                if read.is_ready() { read } else { all.1.as_mut().poll(context).map(drop) }
            })
            .await;
        }
    }
    Ok(())
}

#[test]
fn an_operation_can_be_dropped_at_each_await_point() {
    let mut cancelled = 0;
    for (which, step) in (0..6).flat_map(|which| STEPS.map(|step| (which, step))) {
        for polls in 0.. {
            let mut dropped = None;
            with_store(step, OUTBOX, |store, world| {
                for index in 0..300 {
                    let name = format!("/local/domain/1/data/list/{index:015}");
                    world.server.borrow_mut().set(&name, "");
                }
                let task = async { operation(store, which).await.unwrap() };
                dropped = world.run_polls(store, task, polls);
                world.rest(store);
                // Nothing is left at the server, and every slot is free.
                assert_eq!(world.server.borrow().open(GUEST), (0, 0), "{which} {polls}");
                let value = world.server.borrow().get("/local/domain/1/data/long").map(<[u8]>::len);
                assert!(matches!(value, None | Some(1500)), "{value:?}");
                world.run(store, all_at_once(store));
            });
            cancelled += u32::from(dropped.is_some());
            if dropped.is_none() {
                break;
            }
        }
    }
    assert!(cancelled > 60, "{cancelled}");
}

/// Has as many requests, watches and transactions at once as there can be.
async fn all_at_once(store: &GuestStore<'_, '_>) {
    let mut watches = Vec::new();
    for _ in 0..WATCHES_MAX {
        watches.push(store.watch("name").await.unwrap());
    }
    for watch in &mut watches {
        let name = NodePath::new("name").unwrap();
        assert_eq!(watch.next().await, Some(WatchEvent::Changed(name)));
    }
    let mut transactions: Vec<_> = (0..OPEN_TRANSACTIONS_MAX)
        .map(|_| {
            Box::pin(store.transaction(async |tree| {
                let mut buffer = [0; 16];
                assert_eq!(tree.read_str("name", &mut buffer).await, Ok("guest"));
                Ok::<(), StoreError>(())
            }))
        })
        .collect();
    std::future::poll_fn(|context| {
        transactions.retain_mut(|task| match task.as_mut().poll(context) {
            Poll::Ready(result) => {
                assert_eq!(result, Ok(()));
                false
            }
            Poll::Pending => true,
        });
        if transactions.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_watch_is_a_stream_of_its_own_events() {
    with_store(100, OUTBOX, |store, world| {
        world.run(store, async {
            let mut name = store.watch("name").await.unwrap();
            let mut data = store.watch("data").await.unwrap();
            let changed = |path| Some(WatchEvent::Changed(NodePath::new(path).unwrap()));
            assert_eq!(data.next().await, changed("data"));
            store.write("data/x", "1").await.unwrap();
            assert_eq!(data.next().await, changed("data/x"));
            assert_eq!(name.next().await, changed("name"));
            // Paths that do not fit, and events without room.
            let long = "y".repeat(NodePath::MAX);
            store.write(("data", long.as_str()), "1").await.unwrap();
            assert_eq!(data.next().await, Some(WatchEvent::Any));
            for index in 0..1000 {
                store.write("data/x", index.to_string()).await.unwrap();
            }
            let mut events = 0;
            while data.next().await != Some(WatchEvent::Any) {
                events += 1;
            }
            assert!(events < 1000);
            assert_eq!(name.next().await, Some(WatchEvent::Any));
            // A path that was dropped is watched again, without the old events.
            drop(data);
            let mut data = store.watch("data/x").await.unwrap();
            assert_eq!(data.next().await, changed("data/x"));
            let long = "z".repeat(NodePath::MAX + 1);
            let refused = store.watch(long.as_str()).await.map(drop);
            assert_eq!(refused, Err(StoreError::TooLong(NodePath::MAX + 1)));
            assert!(store.watch("/tool//").await.is_err());
        });
        world.rest(store);
        assert_eq!(world.server.borrow().open(GUEST), (0, 0));
    });
}

#[test]
fn a_transaction_is_run_again_or_discarded() {
    with_store(100, OUTBOX, |store, world| {
        world.run(store, async {
            let left = Cell::new(3);
            let result = store.transaction(async |tree| {
                let _ = tree.read_number::<u32>("data/count").await;
                if left.get() > 0 {
                    left.set(left.get() - 1);
                    world.server.borrow_mut().set("/local/domain/1/data/count", "7");
                }
                tree.write("data/mine", "1").await
            });
            assert_eq!(result.await, Ok(()));
            assert_eq!(left.get(), 0);
            let failed: Result<(), _> = store
                .transaction(async |tree| {
                    tree.write("data/not", "1").await?;
                    Err(StoreError::Malformed)
                })
                .await;
            assert_eq!(failed, Err(StoreError::Malformed));
            assert_eq!(store.exists("data/mine").await, Ok(true));
            assert_eq!(store.exists("data/not").await, Ok(false));
            let never: Result<(), StoreError> = store
                .transaction(async |tree| {
                    let _ = tree.exists("data/count").await;
                    world.server.borrow_mut().set("/local/domain/1/data/count", "8");
                    tree.write("data/count", "1").await
                })
                .await;
            assert_eq!(never, Err(StoreError::Conflict));
        });
        world.rest(store);
        assert_eq!(world.server.borrow().open(GUEST), (0, 0));
    });
}

/// An action of a hostile server on the ring.
type Attack = fn(Page);

fn reply(page: Page, header: XsdSockmsg, payload: &[u8]) {
    let words = [header.kind.0, header.req_id, header.tx_id, header.len];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let ring = page.rsp_prod().other_side();
    let at = ring.load();
    let all = [&bytes[..], payload].concat();
    page.rsp().copy_from_wrapping(at, &all).unwrap();
    ring.publish(at.wrapping_add(all.len() as u32));
}

#[test]
fn a_hostile_server_ends_the_connection_or_nothing() {
    let attacks: [(Attack, bool); 6] = [
        // An impossible length.
        (|page| reply(page, XsdSockmsg::new(XsdSockmsgType::READ, 1, 0, 5000), b""), true),
        // Answers without a request, and events without a watch.
        (|page| reply(page, XsdSockmsg::new(XsdSockmsgType::READ, 99, 0, 4), b"late"), false),
        (
            |page| reply(page, XsdSockmsg::new(XsdSockmsgType::WATCH_EVENT, 0, 0, 4), b"a\0b\0"),
            false,
        ),
        (|page| reply(page, XsdSockmsg::new(XsdSockmsgType::WATCH_EVENT, 0, 0, 1), b"\xff"), false),
        // Indices that jump.
        (|page| page.rsp_prod().other_side().publish(0x8000_0000), false),
        (|page| page.req_cons().other_side().publish(0x1234_5678), false),
    ];
    for (attack, breaks) in attacks {
        let (page, wakers) = (page(), Wakers::<8>::new());
        over(page, 64, 0, &wakers, |store| {
            let mut runner = Polled::new(Box::pin(store.run()));
            let mut buffer = [0; 64];
            let mut read = Polled::new(Box::pin(store.read("name", &mut buffer)));
            let mut watch = Polled::new(Box::pin(store.watch("name")));
            assert!(read.poll().is_none() && watch.poll().is_none());
            assert_eq!(runner.poll(), None);
            for _ in 0..20 {
                attack(page);
                wakers.wake(PORT);
                if let Some(error) = runner.poll() {
                    assert!(breaks);
                    assert_eq!(error, StoreError::Broken);
                    assert_eq!(read.poll(), Some(Err(StoreError::Broken)));
                    assert_eq!(
                        watch.poll().map(|watch| watch.map(drop)),
                        Some(Err(StoreError::Broken))
                    );
                    return;
                }
                read.woken.0.store(true, Ordering::Relaxed);
                assert_eq!(read.poll(), None);
            }
            assert!(!breaks);
        });
    }
}

#[test]
fn the_store_is_taken_back() {
    let (page, wakers) = (page(), Wakers::<8>::new());
    for (written, broken) in [(100, false), (1500, true)] {
        let xen = Xen::new(|| ());
        let (mut storage, mut outbox) = ([0; Store::STORAGE], [0; OUTBOX]);
        let dispatcher = Dispatcher::<1>::new();
        let shared = Box::leak(Box::new(raw::SharedInfo::ZEROED));
        // SAFETY: the page is leaked, and used through handles by one thread.
        dispatcher.attach(unsafe { SharedInfo::from_ptr(NonNull::from(shared)) });
        let store = Store::over_ring(&xen, page, PORT, &mut storage);
        let store = AsyncStore::new(store, &mut outbox, &wakers, &dispatcher, VcpuId(0)).unwrap();
        let mut write = Polled::new(Box::pin(store.write("data/a", vec![0; written])));
        assert!(write.poll().is_none());
        drop(write);
        let mut store = store.into_store();
        let next = store.submit(XsdSockmsgType::READ, &[b"a\0"]).map(drop);
        assert_eq!(next.is_err(), broken);
    }
}
