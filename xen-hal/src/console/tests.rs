//! Tests the console on a ring. The backend is a function, which each yield calls.

use super::{Console, ConsoleError};
use crate::event::Port;
use crate::hypercall::{Errno, Hypercall};
use crate::platform::Frame;
use crate::ring::YieldWait;
use crate::testing::{Fake, argument_at, errno};
use core::cell::{Cell, RefCell};
use core::ops::ControlFlow;
use core::ptr::NonNull;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};
use xen_pac::command::Command;
use xen_pac::console::command as console_command;
use xen_pac::console_ring::{XenconsInterface, raw};
use xen_pac::event_channel::EvtchnSend;
use xen_pac::event_channel::command as event_command;
use xen_pac::hvm::{HvmParam, XenHvmParam, command as hvm_command};
use xen_pac::hypercall::HypercallNr;
use xen_pac::sched::command as sched_command;

const PORT: Port = Port(5);
const FRAME: Frame = Frame(0xfefff);

/// A domain with a console ring, or with Xen's console.
struct Domain<'a> {
    /// The values of `CONSOLE_PFN` and `CONSOLE_EVTCHN`.
    parameters: [u64; 2],
    /// The result of a write by `console_io`.
    writes: isize,
    /// The bytes that can be read from Xen's console.
    typed: RefCell<Vec<u8>>,
    sends: Cell<u32>,
    yields: Cell<u32>,
    backend: RefCell<Box<dyn FnMut() + 'a>>,
}

impl<'a> Domain<'a> {
    fn with_ring(backend: impl FnMut() + 'a) -> Self {
        Self {
            parameters: [FRAME.0, PORT.0.into()],
            writes: errno(Errno::EPERM),
            typed: RefCell::default(),
            sends: Cell::new(0),
            yields: Cell::new(0),
            backend: RefCell::new(Box::new(backend)),
        }
    }

    fn with_xen(writes: isize) -> Self {
        Self { parameters: [0, 0], writes, ..Self::with_ring(|| panic!("there is no backend")) }
    }

    fn xen(&self) -> impl Hypercall + '_ {
        Fake(|number, arguments: &[usize]| match (HypercallNr(number), arguments[0] as u32) {
            (HypercallNr::HVM_OP, hvm_command::GetParam::NUMBER) => {
                // SAFETY: the command's argument is borrowed for the call.
                let asked: &mut XenHvmParam = unsafe { argument_at(arguments[1]) };
                let which = usize::from(asked.index == HvmParam::CONSOLE_EVTCHN);
                assert!(which == 1 || asked.index == HvmParam::CONSOLE_PFN);
                asked.value = self.parameters[which];
                0
            }
            (HypercallNr::EVENT_CHANNEL_OP, event_command::Send::NUMBER) => {
                // SAFETY: as above.
                let asked: &mut EvtchnSend = unsafe { argument_at(arguments[1]) };
                assert_eq!(asked.port, PORT.0);
                self.sends.set(self.sends.get() + 1);
                0
            }
            (HypercallNr::SCHED_OP, sched_command::YieldCpu::NUMBER) => {
                self.yields.set(self.yields.get() + 1);
                (self.backend.borrow_mut())();
                0
            }
            (HypercallNr::CONSOLE_IO, console_command::Write::NUMBER) => self.writes,
            (HypercallNr::CONSOLE_IO, console_command::Read::NUMBER) => {
                let mut typed = self.typed.borrow_mut();
                let count = arguments[1].min(typed.len());
                for (index, byte) in typed.drain(..count).enumerate() {
                    // SAFETY: the buffer has `arguments[1]` bytes.
                    *unsafe { argument_at::<u8>(arguments[2] + index) } = byte;
                }
                count as isize
            }
            other => panic!("{other:?} was not expected"),
        })
    }
}

/// Returns a page that both sides use.
fn page() -> XenconsInterface<'static> {
    #[repr(C, align(4096))]
    struct Page(raw::XenconsInterface);
    let page = Box::leak(Box::new(Page(raw::XenconsInterface::ZEROED)));
    // SAFETY: the page is leaked and used through handles by one thread.
    unsafe { XenconsInterface::from_ptr(NonNull::from(&mut page.0)) }
}

fn open<H: Hypercall + Copy>(xen: H, page: XenconsInterface<'static>) -> Console<'static, H> {
    let map = |frame| (frame == FRAME).then_some(page.as_ptr());
    // SAFETY: the page is leaked, and the backend runs on this thread.
    unsafe { Console::open(xen, map) }.unwrap()
}

/// Returns a backend that reads at most `most` bytes at a time into `read`.
fn reader(page: XenconsInterface<'static>, most: u32, read: &RefCell<Vec<u8>>) -> impl FnMut() {
    let (own, peer) = (page.out_cons().other_side(), page.out_prod().other_side());
    move || {
        let count = peer.load().wrapping_sub(own.load()).min(most);
        for _ in 0..count {
            let mut byte = [0];
            page.output().copy_to(own.load() as usize % 2048, &mut byte).unwrap();
            read.borrow_mut().push(byte[0]);
            own.publish(own.load().wrapping_add(1));
        }
    }
}

/// Writes keys to the ring, as a backend does.
fn type_in(page: XenconsInterface<'static>, keys: &[u8]) {
    let own = page.in_prod().other_side();
    for key in keys {
        page.input().copy_from(own.load() as usize % 1024, &[*key]).unwrap();
        own.publish(own.load().wrapping_add(1));
    }
}

#[test]
fn text_goes_through_the_ring_and_past_its_end() {
    let (page, read) = (page(), RefCell::default());
    // Close to where the indices wrap.
    page.out_prod().publish(u32::MAX - 100);
    page.out_cons().other_side().publish(u32::MAX - 100);
    let domain = Domain::with_ring(reader(page, 300, &read));
    let xen = domain.xen();
    let mut console = open(&xen, page);
    assert_eq!(console.port(), Some(PORT));
    let text: Vec<u8> = (0..5000).map(|at| at as u8).collect();
    console.write_all(&text).unwrap();
    console.flush().unwrap();
    assert_eq!(*read.borrow(), text);
    assert!(domain.sends.get() > 0);
}

#[test]
fn formatted_text_has_carriage_returns_and_one_notification() {
    let (page, read) = (page(), RefCell::default());
    let domain = Domain::with_ring(reader(page, 4096, &read));
    let xen = domain.xen();
    let mut console = open(&xen, page);
    writeln!(console, "a{}\nb{:>3}", 1, 2).unwrap();
    assert_eq!((domain.sends.get(), domain.yields.get()), (1, 0));
    core::fmt::Write::write_str(&mut console, "\n").unwrap();
    console.flush().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.borrow()), "a1\r\nb  2\r\n\r\n");
}

#[test]
fn a_backend_that_does_not_read_is_waited_for_once() {
    let (page, working, read) = (page(), Cell::new(false), RefCell::default());
    let mut read_all = reader(page, 4096, &read);
    let domain = Domain::with_ring(|| {
        if working.get() {
            read_all();
        }
    });
    let xen = domain.xen();
    let mut console = open(&xen, page).with_wait(YieldWait::new(&xen).attempts(10));
    assert_eq!(console.try_write(&[b'x'; 3000]), Ok(2048));
    assert_eq!(console.try_write(b"y"), Ok(0));
    struct Continues;
    impl core::fmt::Display for Continues {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let _ = f.write_str("lost");
            f.write_str("")
        }
    }
    for _ in 0..3 {
        assert_eq!(console.write_all(b"lost"), Err(ConsoleError::Stalled));
        assert_eq!(write!(console, "lost"), Err(ConsoleError::Stalled));
        assert_eq!(write!(console, "{Continues}"), Err(ConsoleError::Stalled));
        assert_eq!(console.flush(), Err(ConsoleError::Stalled));
    }
    assert_eq!(domain.yields.get(), 10);
    // The backend reads a byte, so the console waits for it again.
    page.out_cons().other_side().publish(1);
    assert_eq!((console.flush(), domain.yields.get()), (Err(ConsoleError::Stalled), 20));
    // It reads again.
    working.set(true);
    (domain.backend.borrow_mut())();
    console.write_all(b"back").unwrap();
    console.flush().unwrap();
    assert_eq!(read.borrow()[2047..], *b"back");
}

#[test]
fn an_impossible_index_of_the_backend_is_a_full_or_an_endless_ring() {
    let page = page();
    let domain = Domain::with_ring(|| {});
    let xen = domain.xen();
    let mut console = open(&xen, page).with_wait(YieldWait::new(&xen).attempts(3));
    for bad in [1, 2049, u32::MAX, 1 << 31] {
        // The backend's index is ahead of the producer, or further behind than the ring's size.
        page.out_cons().other_side().publish(bad.wrapping_neg().wrapping_sub(2048));
        let _ = console.try_write(b"x");
        page.out_cons().other_side().publish(bad);
        let _ = (console.try_write(b"x"), console.write_all(b"x"), console.flush());
        page.in_prod().other_side().publish(bad);
        let mut bytes = [0; 4096];
        assert!(console.try_read(&mut bytes).unwrap() <= 1024);
        let _ = console.read_ready();
        // The backend also changes the guest's own indices.
        page.out_prod().publish(bad);
        page.in_cons().publish(bad.wrapping_mul(3));
    }
}

#[test]
fn keys_arrive_and_their_room_is_given_back() {
    let page = page();
    let keys: Vec<u8> = (0..3000).map(|at| at as u8).collect();
    let typed = Cell::new(0);
    let domain = Domain::with_ring(|| {
        let room = 1024 - page.in_prod().load().wrapping_sub(page.in_cons().load()) as usize;
        let upto = keys.len().min(typed.get() + room.min(100));
        type_in(page, &keys[typed.replace(upto)..upto]);
    });
    let xen = domain.xen();
    let mut console = open(&xen, page).with_wait(YieldWait::new(&xen).attempts(4));
    let mut bytes = [0; 64];
    assert_eq!((console.try_read(&mut bytes), console.read_ready()), (Ok(0), Ok(false)));
    assert_eq!(domain.sends.get(), 0);
    let mut read = Vec::new();
    while read.len() < keys.len() {
        let count = console.read(&mut bytes).unwrap();
        read.extend_from_slice(&bytes[..count]);
    }
    assert_eq!(read, keys);
    assert!(domain.sends.get() > 0);
    assert_eq!(console.read(&mut bytes), Err(ConsoleError::TimedOut));
    assert_eq!(console.read(&mut []), Ok(0));
    type_in(page, b"!");
    assert_eq!((console.read_ready(), console.try_read(&mut bytes)), (Ok(true), Ok(1)));
}

#[test]
fn a_domain_without_a_ring_has_xens_console_or_none() {
    let domain = Domain::with_xen(0);
    let xen = domain.xen();
    // SAFETY: there is no ring.
    let mut console = unsafe { Console::open(&xen, |_| panic!("there is no ring")) }.unwrap();
    assert_eq!(console.port(), None);
    writeln!(console, "hello").unwrap();
    console.flush().unwrap();
    domain.typed.borrow_mut().extend(b"ab");
    let mut bytes = [0; 8];
    assert_eq!((console.read_ready(), console.read_ready()), (Ok(true), Ok(true)));
    assert_eq!(console.try_read(&mut bytes), Ok(2));
    assert_eq!(&bytes[..2], b"ab");
    assert_eq!((console.read_ready(), console.try_read(&mut bytes)), (Ok(false), Ok(0)));

    let domain = Domain::with_xen(errno(Errno::EPERM));
    let xen = domain.xen();
    // SAFETY: as above.
    let error = unsafe { Console::open(&xen, |_| None) }.unwrap_err();
    assert_eq!(error, ConsoleError::Refused(Errno::EPERM));
    assert!(format!("{error}").starts_with("EPERM: "));
    let mut console = Console::over_xen(&xen);
    assert_eq!(write!(console, "hello"), Err(ConsoleError::Refused(Errno::EPERM)));
}

#[test]
fn a_ring_that_is_not_mapped_is_an_error() {
    let domain = Domain::with_ring(|| {});
    let xen = domain.xen();
    // SAFETY: nothing is mapped.
    let error = unsafe { Console::open(&xen, |_| None) }.unwrap_err();
    assert_eq!(error, ConsoleError::NotMapped(FRAME));
}

#[test]
fn an_opened_console_continues_and_a_reopened_one_starts_again() {
    let (page, read) = (page(), RefCell::default());
    let domain = Domain::with_ring(reader(page, 4096, &read));
    let xen = domain.xen();
    open(&xen, page).write_all(b"first").unwrap();
    // A second console continues at the indices in the page.
    let mut console = open(&xen, page);
    console.write_all(b", second").unwrap();
    console.flush().unwrap();
    // The toolstack empties the ring of a restored domain.
    page.out_prod().publish(0);
    page.out_cons().other_side().publish(0);
    // SAFETY: as in `open`.
    unsafe { console.reopen(|_| Some(page.as_ptr())) }.unwrap();
    console.write_all(b", third").unwrap();
    console.flush().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.borrow()), "first, second, third");
}

#[test]
fn a_kernel_waits_as_it_likes() {
    let page = page();
    let domain = Domain::with_ring(|| panic!("no yield"));
    let xen = domain.xen();
    let waits = RefCell::new(vec![]);
    let mut console = open(&xen, page).with_wait(|port, attempt| {
        waits.borrow_mut().push((port, attempt));
        if attempt < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(console.read(&mut [0]), Err(ConsoleError::TimedOut));
    assert_eq!(*waits.borrow(), [(PORT, 0), (PORT, 1), (PORT, 2)]);
}

#[cfg(feature = "embedded-io")]
#[test]
fn the_traits_of_embedded_io_write_and_read() {
    use embedded_io::{ErrorKind, Read, ReadReady, Write};
    let (page, read) = (page(), RefCell::default());
    let domain = Domain::with_ring(reader(page, 1, &read));
    let xen = domain.xen();
    let mut console = open(&xen, page).with_wait(YieldWait::new(&xen).attempts(3));
    fn fill(to: &mut impl Write) -> usize {
        (0..3).map(|_| to.write(&[b'x'; 1500]).unwrap()).sum()
    }
    // The third finds the ring full and waits for one byte.
    assert_eq!(fill(&mut console), 2049);
    type_in(page, b"k");
    let mut key = [0; 2];
    assert!(ReadReady::read_ready(&mut console).unwrap());
    assert_eq!(Read::read(&mut console, &mut key), Ok(1));
    let error = Read::read(&mut console, &mut key).unwrap_err();
    assert_eq!(embedded_io::Error::kind(&error), ErrorKind::TimedOut);
    assert_eq!(
        embedded_io::Error::kind(&ConsoleError::Refused(Errno::EPERM)),
        ErrorKind::PermissionDenied
    );
}

#[cfg(feature = "log")]
#[test]
fn records_are_lines_and_dropped_ones_are_counted() {
    use super::ConsoleLog;
    use log::{Level, Log, Record};
    let page = page();
    // No backend reads, so the ring holds everything that was written.
    let log = ConsoleLog::new(Console::over_ring(&Fake(|_: u32, _: &[usize]| 0), page, PORT));
    let record = |text: &str| {
        let arguments = format_args!("{text}");
        log.log(&Record::builder().level(Level::Warn).target("vm").args(arguments).build());
    };
    record("one");
    // The record of a handler that interrupted the writer.
    log.with(|_| record("two")).unwrap();
    record("three");
    let mut written = vec![0; page.out_prod().load() as usize];
    page.output().copy_to(0, &mut written).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&written),
        "[WARN ] vm: one\r\n[1 records were dropped]\r\n[WARN ] vm: three\r\n"
    );
}
