//! What a backend or a loader writes: start infos, ring indices and entries, console input,
//! xenstore's messages, and the keys of a device's handshake.
//!
//! Nothing panics, every result can be shown, and every wait ends when the caller's patience does.

use std::fmt::{Debug, Display};
use std::sync::atomic::Ordering::SeqCst;

use xen_hal::console::Console;
use xen_hal::ring::{BackRing, FrontRing, Protocol};
use xen_hal::start_info::StartInfo;
use xen_hal::xenbus::{Frontend, ShutdownControl, Step};
use xen_hal::xenstore::{Store, Tree};
use xen_pac::base::Domid;
use xen_pac::blkif::{BlkifRequest, BlkifResponse};
use xen_pac::console_ring::XenconsInterface;
use xen_pac::start_info::XEN_HVM_START_MAGIC_VALUE;
use xen_pac::xenstore::{
    XenbusState, XenstoreConnection, XenstoreDomainInterface, XsdSockmsgType,
    xenstore_server_features,
};

use crate::fake::{Fake, clear, page};
use crate::input::Input;
use crate::peer::{PORT, STEPS, Shared, Xen};

/// The page that the input may change at any time.
const PAGE: Shared = Shared(0);

/// Runs the target.
pub fn run(data: &[u8]) {
    clear();
    let input = Input::new(data);
    match input.below(5) {
        0 => start_info(&input),
        1 => ring(&input),
        2 => console(&input),
        3 => xenstore(&input),
        _ => xenbus(&input),
    }
}

fn shown<T: Debug, E: Display>(result: &Result<T, E>) -> bool {
    match result {
        Ok(value) => !format!("{value:?}").is_empty(),
        Err(error) => format!("{error}").is_empty(),
    }
}

fn start_info(input: &Input) {
    const BASE: u64 = 0x1000;
    // Bytes of the input, and a header whose addresses mostly lie within them.
    let mut image: Vec<u8> = (0..1 + u16::from(input.byte())).map(|_| input.byte()).collect();
    let address = || match input.below(8) {
        0 => input.number(),
        near => BASE + (near * input.below(32)) as u64,
    };
    let halves = |low: u64, high: u64| low | high << 32;
    let below = |limit: usize| input.below(limit) as u64;
    let write = |image: &mut [u8], fields: &[u64]| {
        for (place, field) in image.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
    };
    if input.below(8) > 0 {
        let magic = halves(XEN_HVM_START_MAGIC_VALUE.into(), below(3));
        let (modules, count) = (address(), halves(input.byte().into(), below(4)));
        let entries = halves(below(4), input.byte().into());
        // The first module, if the list lies there.
        let list = modules.checked_sub(BASE).and_then(|at| image.get_mut(at as usize..));
        write(list.unwrap_or_default(), &[address(), halves(below(32), input.byte().into()), 0, 0]);
        let fields = [magic, count, modules, address(), address(), address(), entries];
        write(&mut image, &fields);
    }
    let bytes = &image;
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let memory = |address: u64, length: usize| {
        let first = usize::try_from(address.checked_sub(BASE)?).ok()?;
        bytes.get(first..first.checked_add(length)?)
    };
    let Ok(info) = StartInfo::read(BASE, memory) else { return };
    shown(&info.command_line());
    let _ = (info.version(), info.rsdp(), format!("{info:?}"));
    if let Ok(modules) = info.modules() {
        assert_eq!(modules.len() as u64, word(12).into());
    }
    for module in info.modules().into_iter().flatten() {
        if let Ok(data) = module.data() {
            assert_eq!(data.len() as u64, module.size());
        }
        shown(&module.command_line());
    }
    for range in info.memory_map().into_iter().flatten().flatten() {
        let _ = (range.end(), format!("{range:?}"));
    }
}

/// The protocol of block devices.
pub(crate) struct Blkif;

impl Protocol for Blkif {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
}

/// Both ends; the input writes to the page behind their backs.
fn ring(input: &Input) {
    let mut front: FrontRing<Shared, Blkif> = FrontRing::new(PAGE);
    let mut back: BackRing<Shared, Blkif> = BackRing::new(PAGE);
    let (mut pushed, mut published, mut popped) = (0_usize, 0, 0);
    let (mut taken, mut answered) = (0_usize, 0);
    for _ in 0..STEPS {
        match input.below(9) {
            0 => pushed += usize::from(front.push(&BlkifRequest::ZEROED).is_ok()),
            1 => {
                let _ = front.publish();
                published = pushed;
            }
            2 => popped += usize::from(front.pop().is_some()),
            3 => _ = front.rearm(),
            4 => taken += usize::from(back.pop().is_some()),
            5 => answered += usize::from(back.push(&BlkifResponse::ZEROED).is_ok()),
            6 => _ = back.publish(),
            7 => _ = back.rearm(),
            _ => _ = PAGE.scribble(input, &[0, 1, 2, 3]),
        }
        assert!(popped <= published && front.outstanding() == pushed - popped);
        assert!(answered <= taken && back.outstanding() == taken - answered);
        assert!(front.outstanding() <= 32 && back.outstanding() <= 32);
    }
}

fn console(input: &Input) {
    let xen = Xen::new(|| _ = PAGE.scribble(input, &[768, 769, 770, 771]));
    // SAFETY: the page is used by this console, and by the peer as words.
    let ring = unsafe { XenconsInterface::from_ptr(page(0)) };
    let mut console = Console::over_ring(&xen.fake, ring, PORT).with_wait(xen.wait());
    let mut bytes = [0; 1500];
    for _ in 0..STEPS {
        let length = usize::from(input.u16()) % bytes.len();
        match input.below(6) {
            // Each byte that the backend reads is waited for anew.
            0 => _ = console.write_all(&bytes[..length % 64]),
            1 => assert!(console.try_write(&bytes[..length]).is_ok_and(|count| count <= length)),
            2 => assert!(console.try_read(&mut bytes[..length]).is_ok_and(|count| count <= length)),
            3 => _ = xen.patiently(1, || console.read(&mut bytes[..length])),
            4 => _ = xen.patiently(1, || console.flush()),
            _ => _ = PAGE.scribble(input, &[768, 769, 770, 771]),
        }
    }
}

/// A server that reads every request. Most answers fit the request, and the others are the input's:
/// all fit after the end of the input, which continues with zeroes.
fn server(input: &Input) -> impl FnMut() {
    // SAFETY: the page is used by one store, and by this server on the same thread.
    let ring = unsafe { XenstoreDomainInterface::from_ptr(page(0)) };
    let features = xenstore_server_features::RECONNECTION.val(u32::from(input.below(8) < 7));
    ring.server_features().other_side().set(features.value);
    let mut last = 0;
    move || {
        let reconnects = ring.connection().load(SeqCst) == XenstoreConnection::RECONNECT.0;
        if reconnects && input.below(2) == 0 {
            ring.connection().swap(XenstoreConnection::CONNECTED.0, SeqCst);
        }
        let asked = ring.req_prod().other_side().load();
        let unread = asked.wrapping_sub(ring.req_cons().other_side().load());
        let mut request = vec![0; unread as usize % 1025];
        let at = asked.wrapping_sub(unread);
        if request.len() >= 16 && ring.req().copy_to_wrapping(at, &mut request).is_ok() {
            let word = |at| u32::from_ne_bytes(std::array::from_fn(|byte| request[at + byte]));
            last = word(4);
            answer(ring, input, word(0), last, &request[16..]);
        }
        if input.below(8) < 7 {
            ring.req_cons().other_side().publish(asked);
        }
        match input.below(6) {
            3 => answer(ring, input, input.byte().into(), last, &[]),
            4 => answer(ring, input, XsdSockmsgType::WATCH_EVENT.0, 0, &[]),
            5 => _ = PAGE.scribble(input, &[512, 513, 514, 515, 516, 517]),
            _ => {}
        }
    }
}

/// Returns an answer that fits a request; the name of an error starts with `E`.
fn fitting(input: &Input, kind: u32, request: &[u8]) -> &'static [u8] {
    let mut texts = request.split(|byte| *byte == 0);
    let path = texts.next().unwrap_or_default();
    // Of the backend, whose path is absolute, and of the frontend.
    let states =
        if path.starts_with(b"/") { [b"2", b"4", b"6", b"5"] } else { [b"1", b"4", b"6", b"3"] };
    match XsdSockmsgType(kind) {
        XsdSockmsgType::READ if path.ends_with(b"/state") => states[input.below(states.len())],
        XsdSockmsgType::READ if path.ends_with(b"/backend") => b"/local/domain/0/backend/vbd/1/1",
        XsdSockmsgType::READ if path == b"control/shutdown" => b"poweroff",
        XsdSockmsgType::READ => b"0",
        XsdSockmsgType::TRANSACTION_START => b"7\0",
        XsdSockmsgType::TRANSACTION_END if input.below(4) == 3 => b"EAGAIN\0",
        XsdSockmsgType::DIRECTORY if input.below(2) == 1 => b"E2BIG\0",
        XsdSockmsgType::DIRECTORY => b"a\0b\0",
        // The first part, the last part, and the last part of a list that has changed.
        XsdSockmsgType::DIRECTORY_PART if texts.next() == Some(b"0") => b"1\0a\0b\0",
        XsdSockmsgType::DIRECTORY_PART if input.below(4) == 3 => b"2\0c\0\0",
        XsdSockmsgType::DIRECTORY_PART => b"1\0c\0\0",
        XsdSockmsgType::GET_PERMS => b"n1\0r0\0",
        XsdSockmsgType::WATCH_EVENT => b"device/vbd/1\0t\0",
        _ => b"OK\0",
    }
}

/// Sends a message, mostly one that is right.
fn answer(ring: XenstoreDomainInterface<'_>, input: &Input, kind: u32, id: u32, request: &[u8]) {
    let texts: [&[u8]; 4] = [b"ENOENT\0", b"1", b"", b"a\0b\0"];
    let payload = match input.below(16) {
        15 => input.bytes(input.byte().into()),
        choice => match choice.checked_sub(11).and_then(|choice| texts.get(choice)) {
            Some(text) => text,
            None => fitting(input, kind, request),
        },
    };
    let refuses = payload.starts_with(b"E") && input.below(16) < 15;
    let kind = if refuses { XsdSockmsgType::ERROR.0 } else { kind };
    let length = if input.below(32) == 31 { input.number() as u32 } else { payload.len() as u32 };
    let words = [kind, id, 0, length].map(u32::to_ne_bytes).concat();
    for byte in words.iter().chain(payload) {
        let produced = ring.rsp_prod().other_side();
        let _ = ring.rsp().copy_from_wrapping(produced.load(), &[*byte]);
        produced.publish(produced.load().wrapping_add(1));
    }
}

/// Runs `work` with a store whose server is the input.
fn with_store(input: &Input, work: impl FnOnce(&Xen<'_>, &mut Store<'_, &Fake<'_>>)) {
    let xen = Xen::new(server(input));
    let storage = 16 + 24 * usize::from(input.byte());
    xen.with_store(storage, |store| work(&xen, store));
}

fn xenstore(input: &Input) {
    with_store(input, |xen, store| {
        let (mut buffer, mut ids) = ([0; 300], Vec::new());
        for _ in 0..STEPS {
            let length = usize::from(input.byte());
            let buffer = &mut buffer[..length];
            match input.below(13) {
                0 => _ = xen.patiently(2, || shown(&store.read("a", buffer))),
                1 => _ = xen.patiently(2, || shown(&store.write("a", &buffer[..]))),
                2 => _ = xen.patiently(2, || store.read_number::<u16>("a")),
                3 => _ = xen.patiently(20, || shown(&store.directory("a", buffer))),
                4 => xen.patiently(2, || {
                    let list = store.permissions("a", buffer).into_iter().flatten();
                    list.for_each(|entry| _ = shown(&entry));
                }),
                5 => _ = xen.patiently(2, || store.watch("a", "t")),
                6 => _ = xen.patiently(2, || store.unwatch("a", "t")),
                7 => _ = xen.patiently(32 * 6, || store.transaction(|tree| tree.write("a", "1"))),
                8 => {
                    let read = || store.submit(XsdSockmsgType::READ, &[b"a\0"]).ok();
                    ids.extend(xen.patiently(1, read));
                }
                9 => _ = ids.pop().map(|id| shown(&store.answer(id, buffer))),
                10 => _ = shown(&store.event(buffer)),
                11 => _ = xen.patiently(2, || store.domain_path(Domid(1), buffer).is_ok()),
                _ => _ = xen.patiently(1, || store.reconnect()),
            }
        }
        let _ = (store.server_error(), format!("{store:?}"));
    });
}

fn xenbus(input: &Input) {
    with_store(input, |_, store| {
        if let Ok(control) = ShutdownControl::watch(store) {
            let _ = control.take(store);
        }
        let Ok(mut device) = Frontend::open(store, "device/vbd/1") else { return };
        let _ = format!("{device:?} {}", device.backend().as_str());
        for _ in 0..8 {
            match device.next_step(store) {
                Ok(Step::Publish) => {
                    let keys = [("ring-ref", &1 as _)];
                    let _ = device.publish(store, &keys, XenbusState::INITIALISED);
                }
                Ok(Step::Connect) => {
                    shown(&device.backend_number::<u64>(store, "sectors"));
                    let _ = device.switch(store, XenbusState::CONNECTED);
                }
                Ok(Step::Closed) => _ = device.restart(store),
                Ok(Step::Wait) => panic!("a wait ended with nothing to do"),
                Ok(_) => _ = device.switch(store, XenbusState::CLOSED),
                Err(error) => {
                    let _ = error.to_string();
                }
            }
        }
    });
}
