//! The operations of xenstore, and a server that is not trusted.

use std::cell::{Cell, RefCell};

use xen_hal::hypercall::Errno;
use xen_hal::ring::YieldWait;
use xen_hal::xenstore::{NodeAccess, Permission, Store, StoreError, StoreEvent, Tree};
use xen_pac::base::Domid;
use xen_pac::xenstore::{XenstoreError, XsdSockmsgType};
use xen_sim::backend::{StoreConnection, StoreServer};

use super::fixture::{GUEST, GuestStore, PORT, Page, Xen, page, refused, server, with_server};

const OTHERS: Permission = Permission { domain: Domid(0), access: NodeAccess::None };
const OWN: Permission = Permission { domain: GUEST, access: NodeAccess::None };

#[test]
fn the_tree_is_read_and_written() {
    for most in [1, 7, 64, 5000] {
        with_server(
            most,
            |_| (),
            |store, server| {
                let mut buffer = [0; 4096];
                assert_eq!(store.read_str("name", &mut buffer), Ok("guest"));
                let path = ("/local/domain/1", "name");
                assert_eq!(store.read_str(path, &mut buffer), Ok("guest"));
                assert_eq!(store.domain_path(GUEST, &mut buffer), Ok("/local/domain/1"));
                store.write("data/a/b", "42").unwrap();
                assert_eq!(store.read_number("data/a/b"), Ok(42_u8));
                assert_eq!(store.read_number::<u32>("name"), Err(StoreError::Malformed));
                store.write_number(("data/a", "c"), u64::MAX).unwrap();
                assert_eq!(store.read_number("data/a/c"), Ok(u64::MAX));
                store.mkdir("data/empty").unwrap();
                assert_eq!(store.read("data/empty", &mut buffer), Ok(&[][..]));
                assert_eq!(store.exists("data/a/b"), Ok(true));
                assert_eq!(store.exists("data/a/none"), Ok(false));
                let names: Vec<_> = store.directory("data", &mut buffer).unwrap().collect();
                assert_eq!(names, ["a", "empty"]);
                assert_eq!(store.directory("data/empty", &mut buffer).unwrap().count(), 0);
                store.rm("data/a").unwrap();
                store.rm("data/a").unwrap();
                assert_eq!(store.exists("data/a/b"), Ok(false));
                assert_eq!(server.borrow().get("/local/domain/1/data/a"), None);

                // A value that is longer than the ring.
                let long: Vec<u8> = (0..2000).map(|at| b'a' + (at % 26) as u8).collect();
                store.write("data/long", &long).unwrap();
                assert_eq!(store.read("data/long", &mut buffer), Ok(&long[..]));
                assert_eq!(store.read("data/long", &mut [0; 1999]), Err(StoreError::TooLong(2000)));
            },
        );
    }
}

#[test]
fn refusals_have_their_names() {
    with_server(
        5000,
        |_| (),
        |store, _| {
            let mut buffer = [0; 4096];
            assert_eq!(store.read("data/none", &mut buffer), refused(Errno::ENOENT));
            assert_eq!(store.read("/tool", &mut buffer), refused(Errno::EACCES));
            assert_eq!(store.write("name", "other"), refused(Errno::EACCES));
            assert_eq!(store.read("data//x", &mut buffer), refused(Errno::EINVAL));
            assert_eq!(store.rm("data/no/such"), refused(Errno::ENOENT));
            assert_eq!(store.write("data/x", [0; 2049]), refused(Errno::ENOSPC));
            let kind = XsdSockmsgType::INTRODUCE;
            assert_eq!(store.request(kind, &[b"2\0"], &mut buffer), refused(Errno::EACCES));
            let kind = XsdSockmsgType(99);
            assert_eq!(store.request(kind, &[], &mut buffer), refused(Errno::ENOSYS));
            assert!(StoreError::Refused(Errno::ENOENT).is_refusal(Errno::ENOENT));
        },
    );
}

#[test]
fn what_would_be_another_message_is_not_sent() {
    with_server(
        5000,
        |_| (),
        |store, _| {
            let mut buffer = [0; 64];
            for path in ["", "data/x\0y"] {
                assert_eq!(store.write(path, "1"), Err(StoreError::InvalidPath));
                assert_eq!(store.read(("data", path), &mut buffer), Err(StoreError::InvalidPath));
            }
            assert_eq!(store.watch("data", "a\0b"), Err(StoreError::InvalidPath));
            assert!(StoreError::InvalidPath.to_string().contains("path or token holds a zero"));
            // A token may be empty.
            assert_eq!(store.watch("data", ""), Ok(()));
            // The server ends the connection of a guest that announces more than 4096 bytes.
            assert_eq!(store.write("data/x", [0; 4090]), Err(StoreError::TooLong(4097)));
            assert_eq!(store.exists(&*"a".repeat(4096)), Err(StoreError::TooLong(4097)));
            assert_eq!(store.read_str("name", &mut buffer), Ok("guest"));
        },
    );
}

#[test]
fn permissions_are_read_and_set() {
    with_server(
        13,
        |_| (),
        |store, _| {
            let mut buffer = [0; 256];
            let set = [OWN, Permission { domain: Domid(0), access: NodeAccess::ReadWrite }];
            store.write("data/p", "").unwrap();
            store.set_permissions("data/p", &set).unwrap();
            let read: Result<Vec<_>, _> =
                store.permissions("data/p", &mut buffer).unwrap().collect();
            assert_eq!(read, Ok(set.to_vec()));
            assert_eq!(set[1].to_string(), "b0");
            assert_eq!(store.set_permissions("data/p", &[OTHERS]), refused(Errno::EPERM));
            assert_eq!(store.set_permissions("name", &[OWN]), refused(Errno::EACCES));
            assert_eq!(store.set_permissions("data/p", &[OWN; 6]), refused(Errno::ENOSPC));
            assert_eq!(
                store.set_permissions("data/p", &[OWN; 200]),
                Err(StoreError::TooLong(32 * 7 + 1))
            );
        },
    );
    for bad in ["", "x1", "r", "r65536", "r-1", "é1"] {
        assert_eq!(bad.parse::<Permission>(), Err(StoreError::Malformed), "{bad}");
    }
}

#[test]
fn a_long_directory_is_read_in_parts() {
    let (grow, shown) = (Cell::new(0), 400);
    let (page, server) = (page(), RefCell::new(server()));
    let name = |index: u32| format!("child-number-{index:04}");
    for index in 0..shown {
        server.borrow_mut().set(&format!("/local/domain/1/data/{}", name(index)), "");
    }
    let mut connection = StoreConnection::new(page, GUEST);
    let xen = Xen::new(|| {
        // Changes at every part make the list start again.
        if grow.get() > 0 {
            grow.set(grow.get() - 1);
            let path = format!("/local/domain/1/data/new-{}", grow.get());
            server.borrow_mut().set(&path, "");
        }
        connection.serve(&mut server.borrow_mut(), 5000);
    });
    let mut storage = [0; Store::STORAGE];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage);
    let mut buffer = vec![0; 18 * shown as usize + 32];
    let names: Vec<_> = store.directory("data", &mut buffer).unwrap().map(String::from).collect();
    assert_eq!(names, (0..shown).map(name).collect::<Vec<_>>());
    let error = store.directory("data", &mut vec![0; 18 * shown as usize - 1]).unwrap_err();
    assert!(matches!(error, StoreError::TooLong(_)));
    // A list that changes three times, and one that changes at each attempt.
    let mut buffer = vec![0; 40_000];
    grow.set(3);
    assert_eq!(store.directory("data", &mut buffer).unwrap().count(), shown as usize + 3);
    grow.set(1000);
    assert_eq!(store.directory("data", &mut buffer).unwrap_err(), StoreError::Conflict);
}

#[test]
fn a_transaction_is_repeated_until_nothing_conflicts() {
    with_server(
        100,
        |_| (),
        |store, server| {
            server.borrow_mut().set("/local/domain/1/data/n", "0");
            server.borrow_mut().set_permissions("/local/domain/1/data/n", &[OWN]);
            let disturb = |times: u32| {
                let left = Cell::new(times);
                move |server: &RefCell<StoreServer>| {
                    if left.get() > 0 {
                        left.set(left.get() - 1);
                        let now: u32 =
                            server.borrow().get_number("/local/domain/1/data/n").unwrap();
                        let next = (now + 100).to_string();
                        server.borrow_mut().set("/local/domain/1/data/n", next);
                    }
                }
            };
            let mut runs = 0;
            let between = disturb(2);
            let result: Result<u32, StoreError> = store.transaction(|tree| {
                runs += 1;
                let n: u32 = tree.read_number("data/n")?;
                between(server);
                tree.write_number("data/n", n + 1)?;
                tree.write("data/new/deep", "x")?;
                Ok(n)
            });
            assert_eq!((result, runs), (Ok(200), 3));
            assert_eq!(server.borrow().get("/local/domain/1/data/n"), Some(&b"201"[..]));
            assert_eq!(server.borrow().get("/local/domain/1/data/new/deep"), Some(&b"x"[..]));

            // It fails: nothing is changed.
            let result: Result<(), StoreError> = store.transaction(|tree| {
                tree.write("data/n", "7")?;
                tree.rm("data/new")?;
                assert_eq!(tree.exists("data/new/deep"), Ok(false));
                Err(StoreError::Malformed)
            });
            assert_eq!(result, Err(StoreError::Malformed));
            assert_eq!(server.borrow().get("/local/domain/1/data/n"), Some(&b"201"[..]));
            assert_eq!(store.exists("data/new/deep"), Ok(true));

            let (between, mut runs) = (disturb(u32::MAX), 0);
            let result: Result<(), StoreError> = store.transaction(|tree| {
                runs += 1;
                let n: u32 = tree.read_number("data/n")?;
                between(server);
                tree.write_number("data/n", n)
            });
            assert_eq!((result, runs), (Err(StoreError::Conflict), 32));
        },
    );
}

#[test]
fn watches_have_events() {
    with_server(
        50,
        |_| (),
        |store, server| {
            let mut buffer = [0; 4096];
            let mut settle = |store: &mut GuestStore<'_, '_>| {
                let mut events = Vec::new();
                // A request in between gives the server time.
                for _ in 0..20 {
                    let _ = store.exists("name");
                }
                while let Some(event) = store.event(&mut buffer).unwrap() {
                    events.push(match event {
                        StoreEvent::Watch { path, token } => format!("{path} {token}"),
                        other => format!("{other:?}"),
                    });
                }
                events
            };
            store.watch("data", "relative").unwrap();
            store.watch("/local/domain/1/data/x", "absolute").unwrap();
            assert_eq!(store.watch("data", "relative"), refused(Errno::EEXIST));
            assert_eq!(settle(store), ["data relative", "/local/domain/1/data/x absolute"]);
            server.borrow_mut().set("/local/domain/1/data/x", "1");
            server.borrow_mut().set("/local/domain/1/elsewhere", "1");
            assert_eq!(settle(store), ["data/x relative", "/local/domain/1/data/x absolute"]);
            // Changes in a transaction are announced at its end.
            store.transaction(|tree| tree.write("data/y", "1")).unwrap();
            assert_eq!(settle(store), ["data/y relative"]);
            assert_eq!(store.unwatch("data", "relative"), Ok(true));
            assert_eq!(store.unwatch("data", "relative"), Ok(false));
            assert_eq!(store.unwatch("data/none", "other"), Ok(false));
            store.rm("data/x").unwrap();
            assert_eq!(settle(store), ["/local/domain/1/data/x absolute"]);
            store.reset_watches().unwrap();
            server.borrow_mut().set("/local/domain/1/data/x", "2");
            assert_eq!(settle(store), [""; 0]);
            // An event that fills a message arrives. The server skips one that is a byte longer.
            let token = "t".repeat(4080);
            store.watch("data/w", &token).unwrap();
            assert_eq!(settle(store), [format!("data/w {token}")]);
            store.write("data/w/1234567", "1").unwrap();
            assert_eq!(settle(store), [format!("data/w/1234567 {token}")]);
            store.write("data/w/12345678", "1").unwrap();
            assert_eq!(settle(store), [""; 0]);
        },
    );
}

#[test]
fn events_without_room_are_lost_and_an_answer_is_not() {
    let (page, server) = (page(), RefCell::new(server()));
    let mut connection = StoreConnection::new(page, GUEST);
    let xen = Xen::new(|| {
        connection.serve(&mut server.borrow_mut(), 5000);
    });
    let mut storage = [0; 200];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage);
    store.watch("data", "t").unwrap();
    for _ in 0..30 {
        server.borrow_mut().set("/local/domain/1/data/n", "1");
    }
    server.borrow_mut().set("/local/domain/1/name", [b'n'; 180]);
    let mut buffer = [0; 4096];
    assert_eq!(store.read("name", &mut buffer), Ok(&[b'n'; 180][..]));
    assert_eq!(store.event(&mut buffer), Ok(Some(StoreEvent::Lost)));
    while store.event(&mut buffer).unwrap().is_some() {}
    // An answer that never fits is an error, and the next one is none.
    server.borrow_mut().set("/local/domain/1/name", [b'n'; 185]);
    assert_eq!(store.read("name", &mut buffer), Err(StoreError::TooLong(185)));
    server.borrow_mut().set("/local/domain/1/name", "ok");
    assert_eq!(store.read_str("name", &mut buffer), Ok("ok"));
    // A buffer that is too short leaves the event.
    server.borrow_mut().set("/local/domain/1/data/n", "2");
    let _ = store.exists("name");
    assert_eq!(store.event(&mut [0; 8]), Err(StoreError::TooLong(9)));
    let event = StoreEvent::Watch { path: "data/n", token: "t" };
    assert_eq!(store.event(&mut buffer), Ok(Some(event)));
}

/// A server that sends any bytes, and reads all requests.
struct Script {
    page: Page,
    requests: Cell<u32>,
}

impl Script {
    fn new() -> (Self, Page) {
        let page = page();
        (Self { page, requests: Cell::new(0) }, page)
    }

    fn send_bytes(&self, bytes: &[u8]) {
        let produced = self.page.rsp_prod().other_side();
        for byte in bytes {
            self.page.rsp().copy_from(produced.load() as usize % 1024, &[*byte]).unwrap();
            produced.publish(produced.load().wrapping_add(1));
        }
    }

    fn send(&self, kind: XsdSockmsgType, id: u32, payload: &[u8]) {
        for word in [kind.0, id, 0, payload.len() as u32] {
            self.send_bytes(&word.to_ne_bytes());
        }
        self.send_bytes(payload);
    }

    /// Reads all requests and returns the number of the last one.
    fn read(&self) -> u32 {
        let consumed = self.page.req_cons().other_side();
        let produced = self.page.req_prod().other_side().load();
        while consumed.load() != produced {
            let mut header = [0; 16];
            for (index, byte) in header.iter_mut().enumerate() {
                let at = (consumed.load() as usize + index) % 1024;
                self.page.req().copy_to(at, std::slice::from_mut(byte)).unwrap();
            }
            self.requests.set(u32::from_ne_bytes(header[4..8].try_into().unwrap()));
            let length = u32::from_ne_bytes(header[12..].try_into().unwrap());
            consumed.publish(consumed.load() + 16 + length);
        }
        self.requests.get()
    }
}

#[test]
fn several_requests_are_answered_in_any_order() {
    let (script, page) = Script::new();
    let xen = Xen::new(|| panic!("nothing waits"));
    let mut storage = [0; Store::STORAGE];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage);
    let ids: Vec<_> = (0..8)
        .map(|_| {
            let id = store.submit(XsdSockmsgType::READ, &[b"a\0"]).unwrap();
            (id, script.read())
        })
        .collect();
    assert_eq!(store.submit(XsdSockmsgType::READ, &[b"a\0"]), Err(StoreError::Busy));
    let mut buffer = [0; 16];
    for (id, _) in &ids {
        assert_eq!(store.answer(*id, &mut buffer), Ok(None));
    }
    store.cancel(ids[3].0);
    for (_, number) in ids.iter().rev() {
        script.send(XsdSockmsgType::READ, *number, &number.to_ne_bytes());
        script.send(XsdSockmsgType::WATCH_EVENT, 0, b"p\0t\0");
    }
    for (index, (id, number)) in ids.iter().enumerate() {
        let expected = match index {
            // The request was cancelled, and its answer dropped.
            3 => Err(StoreError::NotInFlight),
            _ => Ok(Some(number.to_ne_bytes())),
        };
        let answer = store.answer(*id, &mut buffer);
        assert_eq!(answer.map(|answer| answer.map(|bytes| bytes.try_into().unwrap())), expected);
        assert_eq!(store.answer(*id, &mut buffer), Err(StoreError::NotInFlight));
    }
    let mut events = 0;
    while store.event(&mut buffer).unwrap().is_some() {
        events += 1;
    }
    assert_eq!(events, 8);
}

/// Returns the result of a read whose request `id` the server answers with `send`.
fn reply(send: impl Fn(&Script, u32)) -> Result<Vec<u8>, StoreError> {
    let (script, page) = Script::new();
    let sent = Cell::new(false);
    let xen = Xen::new(|| {
        let id = script.read();
        if !sent.replace(true) {
            send(&script, id);
        }
    });
    let mut storage = [0; Store::STORAGE];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage)
        .with_wait(YieldWait::new(&xen).attempts(50));
    let mut buffer = [0; 4096];
    let answer = store.read("a", &mut buffer).map(<[u8]>::to_vec);
    assert!(xen.yields.get() <= 50);
    answer
}

#[test]
fn a_server_without_parts_has_no_long_lists() {
    // Before Xen 4.9, and oxenstored; and what is no answer to a request that is unknown.
    for (to_parts, expected) in
        [("ENOSYS", Errno::E2BIG), ("EINVAL", Errno::E2BIG), ("EACCES", Errno::EACCES)]
    {
        let (script, page) = Script::new();
        let asked = Cell::new(0);
        let xen = Xen::new(|| {
            let id = script.read();
            let answer = if asked.get() == 0 { "E2BIG" } else { to_parts };
            asked.set(asked.get() + 1);
            script.send(XsdSockmsgType::ERROR, id, answer.as_bytes());
        });
        let mut storage = [0; Store::STORAGE];
        let mut store = Store::over_ring(&xen, page, PORT, &mut storage);
        assert_eq!(store.directory("a", &mut [0; 64]).unwrap_err(), StoreError::Refused(expected));
        assert_eq!(asked.get(), 2);
    }
}

#[test]
fn invalid_messages_of_the_server_are_errors_or_ignored() {
    const READ: XsdSockmsgType = XsdSockmsgType::READ;
    const ERROR: XsdSockmsgType = XsdSockmsgType::ERROR;
    let ok = |text: &[u8]| Ok(text.to_vec());
    assert_eq!(reply(|to, id| to.send(READ, id, b"v")), ok(b"v"));
    // A repeated answer, and answers without a request.
    assert_eq!(reply(|to, id| (0..2).for_each(|_| to.send(READ, id, b"v"))), ok(b"v"));
    assert_eq!(reply(|to, id| to.send(READ, id + 1, b"v")), Err(StoreError::TimedOut));
    assert_eq!(reply(|to, id| to.send(READ, !id, b"v")), Err(StoreError::TimedOut));
    // A wrong type of answer, an unknown error, silence, and half a message.
    let kind = XsdSockmsgType::WRITE;
    assert_eq!(reply(|to, id| to.send(kind, id, b"v")), Err(StoreError::Malformed));
    for name in [&b""[..], b"\0", b"ENOENTRY\0", b"\xff"] {
        assert_eq!(reply(|to, id| to.send(ERROR, id, name)), Err(StoreError::Malformed));
    }
    assert_eq!(reply(|to, id| to.send(ERROR, id, b"EACCES")), refused(Errno::EACCES));
    assert_eq!(reply(|_, _| ()), Err(StoreError::TimedOut));
    assert_eq!(reply(|to, _| to.send_bytes(&[2, 0, 0])), Err(StoreError::TimedOut));
    // Impossible lengths.
    for length in [4097, u32::MAX] {
        let words = |id: u32| [READ.0, id, 0, length].map(u32::to_ne_bytes).concat();
        assert_eq!(reply(|to, id| to.send_bytes(&words(id))), Err(StoreError::Broken));
    }
    // Invalid events, and a valid one.
    let event = XsdSockmsgType::WATCH_EVENT;
    for payload in [&b""[..], b"\0", b"path", b"\xff\0\xff\0", b"path\0token\0more\0"] {
        let answer = reply(|to, id| {
            to.send(event, 0, payload);
            to.send(READ, id, b"v");
        });
        assert_eq!(answer, ok(b"v"));
    }
    // Impossible indices.
    for index in [1025, u32::MAX, 1 << 31] {
        let answer = reply(|to, _| to.page.rsp_prod().other_side().publish(index));
        assert!(matches!(answer, Err(StoreError::Broken | StoreError::TimedOut)), "{answer:?}");
    }
}

#[test]
fn a_server_that_talks_all_the_time_ends_the_wait() {
    let (script, page) = Script::new();
    let xen = Xen::new(|| {
        script.read();
        for _ in 0..20 {
            script.send(XsdSockmsgType::WATCH_EVENT, 0, b"path\0token\0");
        }
    });
    let mut storage = [0; 500];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage)
        .with_wait(YieldWait::new(&xen).attempts(100));
    assert_eq!(store.read("a", &mut [0; 16]), Err(StoreError::TimedOut));
    assert_eq!(xen.yields.get(), 100);
}

#[test]
fn a_server_that_does_not_read_cuts_off_a_long_request_only() {
    let page = page();
    let reads = Cell::new(0);
    let xen = Xen::new(|| {
        // It reads 100 bytes once.
        page.req_cons().other_side().publish(reads.get());
    });
    let mut storage = [0; Store::STORAGE];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage)
        .with_wait(YieldWait::new(&xen).attempts(10));
    // Two fill the ring; the third waits, and is not sent at all.
    for _ in 0..2 {
        store.submit(XsdSockmsgType::WRITE, &[b"a\0", &[b'x'; 450]]).unwrap();
    }
    let third = store.submit(XsdSockmsgType::WRITE, &[b"a\0", &[b'x'; 450]]);
    assert_eq!(third, Err(StoreError::TimedOut));
    assert_eq!(page.req_prod().load(), 2 * 468);
    reads.set(2 * 468);
    store.submit(XsdSockmsgType::WRITE, &[b"a\0", &[b'x'; 450]]).unwrap();
    assert_eq!(page.req_prod().load(), 3 * 468);
    // One that is longer than the ring can only be begun.
    reads.set(3 * 468);
    assert_eq!(store.write("a", [b'x'; 2000]), Err(StoreError::TimedOut));
    assert_eq!(store.write("a", "x"), Err(StoreError::Broken));
    assert_eq!(store.event(&mut [0; 16]), Err(StoreError::Broken));
    assert_eq!(store.reconnect(), Err(StoreError::Unsupported));
}

#[test]
fn a_broken_connection_is_started_anew() {
    let (page, server) = (page(), RefCell::new(server()));
    let mut connection = StoreConnection::new(page, GUEST);
    connection.announce_features();
    let works = Cell::new(true);
    let xen = Xen::new(|| {
        if works.get() {
            connection.serve(&mut server.borrow_mut(), 5000);
        }
    });
    let mut storage = [0; Store::STORAGE];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage)
        .with_wait(YieldWait::new(&xen).attempts(10));
    let mut buffer = [0; 64];
    store.watch("data", "t").unwrap();
    works.set(false);
    assert_eq!(store.write("data/x", [b'x'; 2000]), Err(StoreError::TimedOut));
    store.reconnect().expect_err("the server is silent");
    let waiting = store.submit(XsdSockmsgType::READ, &[b"name\0"]);
    assert_eq!(waiting, Err(StoreError::Broken));
    works.set(true);
    store.reconnect().unwrap();
    assert_eq!(store.event(&mut buffer), Ok(Some(StoreEvent::Reset)));
    assert_eq!(store.event(&mut buffer), Ok(None));
    assert_eq!(store.read_str("name", &mut buffer), Ok("guest"));
    // The server can empty the ring after the guest has stopped waiting for it.
    works.set(false);
    assert_eq!(store.reconnect(), Err(StoreError::TimedOut));
    let waiting = store.submit(XsdSockmsgType::READ, &[b"name\0"]);
    assert_eq!(waiting, Err(StoreError::Broken), "nothing is sent into a ring that can be emptied");
    works.set(true);
    (xen.server.borrow_mut())();
    assert_eq!(store.read("name", &mut buffer), Err(StoreError::Broken));
    store.reconnect().unwrap();
    assert_eq!(store.event(&mut buffer), Ok(Some(StoreEvent::Reset)));
    assert_eq!(store.read_str("name", &mut buffer), Ok("guest"));
    // The watch is gone.
    server.borrow_mut().set("/local/domain/1/data/x", "1");
    let _ = store.exists("name");
    assert_eq!(store.event(&mut buffer), Ok(None));

    // The server ends the connection of a guest that breaks the protocol, and reports the reason.
    assert_eq!(store.server_error(), None);
    let words = [2_u32, 0, 0, 5000].map(u32::to_ne_bytes).concat();
    let produced = page.req_prod();
    for byte in words {
        page.req().copy_from(produced.load() as usize % 1024, &[byte]).unwrap();
        produced.publish(produced.load() + 1);
    }
    (xen.server.borrow_mut())();
    assert_eq!(store.server_error(), Some(XenstoreError::PROTO));
}

#[test]
fn the_servers_answers_to_an_old_kernel_are_passed_over() {
    let (script, page) = Script::new();
    script.send(XsdSockmsgType::READ, 1, b"old");
    let xen = Xen::new(|| {
        let id = script.read();
        script.send(XsdSockmsgType::READ, id, b"new");
    });
    let mut storage = [0; Store::STORAGE];
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage);
    assert_eq!(store.read("a", &mut [0; 16]), Ok(&b"new"[..]));
}
