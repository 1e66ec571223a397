//! What the backends of a disk and of a network interface do: the keys of the handshake, responses,
//! and anything in the rings and pages.
//!
//! Nothing panics and every wait ends. As long as the backend changes the rings by responses only,
//! each result follows from a response, and an invalid response breaks the device. At the end,
//! every page returns and every grant is free.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::SeqCst;

use xen_hal::blk::{BlockDevice, BlockError};
use xen_hal::grant::{GrantRefAllocator, GrantTable, Page};
use xen_hal::net::{NetDevice, NetError};
use xen_hal::ring::{BackRing, DevicePage, Protocol};
use xen_hal::xenbus::Frontend;
use xen_pac::blkif::{BlkifOperation, BlkifRequest, BlkifResponse, BlkifStatus};
use xen_pac::grant_table::{GrantTableV1Page, grant_entry_flags as flag};
use xen_pac::netif::{
    NetifRxRequest, NetifRxResponse, NetifStatus, NetifTxRequest, NetifTxResponse, netif_rx_flags,
};
use xen_pac::xenstore::{XenstoreDomainInterface, XsdSockmsgType};

use crate::devices::Blkif;
use crate::fake::{At, Fake, clear, page};
use crate::input::Input;
use crate::peer::{STEPS, Shared, Xen};

/// The pages of the grant table and of its references, and the first page of the device.
const TABLE: usize = 1;
const REFS: usize = 2;
const FIRST: usize = 3;
/// The indices at the start of a ring, as words.
const INDICES: [usize; 4] = [0, 1, 2, 3];

/// Runs the target.
pub fn run(data: &[u8]) {
    clear();
    let input = Input::new(data);
    match input.below(2) {
        0 => block(&input),
        _ => network(&input),
    }
}

/// A xenstore server that plays the toolstack and the backend of one device. One value in many is
/// the input's.
fn server(input: &Input) -> impl FnMut() {
    // SAFETY: the page is used by one store, and by this server on the same thread.
    let ring = unsafe { XenstoreDomainInterface::from_ptr(page(0)) };
    let mut frontend = 1;
    move || {
        let (asked, at) = (ring.req_prod().other_side().load(), ring.req_cons().other_side());
        let mut request = vec![0; asked.wrapping_sub(at.load()) as usize % 1025];
        if request.len() < 16 || ring.req().copy_to_wrapping(at.load(), &mut request).is_err() {
            return;
        }
        at.publish(asked);
        let word = |at| u32::from_ne_bytes(std::array::from_fn(|byte| request[at + byte]));
        let mut texts = request[16..].split(|byte| *byte == 0);
        let path = String::from_utf8_lossy(texts.next().unwrap_or_default());
        let (value, mut kind) = (texts.next().unwrap_or_default(), word(0));
        let mut answer = match XsdSockmsgType(kind) {
            XsdSockmsgType::TRANSACTION_START => "1\0",
            XsdSockmsgType::READ => read(&path, frontend),
            XsdSockmsgType::WRITE if path.ends_with("/state") => {
                frontend = value.first().map_or(0, |digit| digit.wrapping_sub(b'0'));
                "OK\0"
            }
            _ => "OK\0",
        }
        .as_bytes();
        let choice = input.below(32);
        if choice == 31 {
            answer = input.bytes(input.below(40));
        }
        if choice == 29 {
            answer = b"x";
        }
        if choice == 30 || answer.is_empty() {
            (kind, answer) = (XsdSockmsgType::ERROR.0, b"ENOENT\0");
        }
        let header = [kind, word(4), word(8), answer.len() as u32].map(u32::to_ne_bytes).concat();
        let produced = ring.rsp_prod().other_side();
        let message = [&header, answer].concat();
        let _ = ring.rsp().copy_from_wrapping(produced.load(), &message);
        produced.publish(produced.load().wrapping_add(message.len() as u32));
    }
}

/// Returns the value at a path; empty if there is none. The backend follows the frontend at once.
fn read(path: &str, frontend: u8) -> &'static str {
    match path.rsplit('/').next().unwrap_or_default() {
        "state" if path.starts_with("device/") => {
            ["0", "1", "2", "3", "4", "5", "6"].get(usize::from(frontend)).unwrap_or(&"0")
        }
        "state" => match frontend {
            1 => "2",
            3 | 4 => "4",
            _ => "6",
        },
        "backend" => "/backend",
        "backend-id" | "info" => "0",
        "virtual-device" => "51712",
        "sectors" => "64",
        "sector-size" => "512",
        "feature-flush-cache" | "feature-rx-copy" => "1",
        "mac" => "00:16:3e:00:00:01",
        _ => "",
    }
}

/// A backend's end of a ring.
struct Backend<P: Protocol> {
    page: Shared,
    ring: BackRing<Shared, P>,
    /// The requests that were read.
    taken: Vec<P::Request>,
    /// The indices of those without a valid response.
    open: Vec<usize>,
    /// The indices of those that were carried out.
    done: Vec<usize>,
    /// True after an invalid response.
    lied: bool,
    /// True if the responses no longer determine what follows: the page was changed in another way,
    /// or a response has the number of a later request.
    scribbled: bool,
}

impl<P: Protocol> Backend<P> {
    fn new(page: usize) -> Self {
        let (page, taken, open, done) = (Shared(page), Vec::new(), Vec::new(), Vec::new());
        let ring = BackRing::new(page);
        Self { page, ring, taken, open, done, lied: false, scribbled: false }
    }

    /// Reads the requests.
    fn collect(&mut self) {
        while let Some(request) = self.ring.pop() {
            self.open.push(self.taken.len());
            self.taken.push(request);
        }
        let _ = self.ring.rearm();
    }

    /// Chooses a request, mostly one without a response.
    fn choose(&self, input: &Input) -> Option<usize> {
        match self.open.get(input.below(self.open.len().max(1))) {
            Some(index) if input.below(16) > 0 => Some(*index),
            _ => (!self.taken.is_empty()).then(|| input.below(self.taken.len().min(256))),
        }
    }

    /// Returns the open request with the response's number.
    fn named(&mut self, has_number: impl Fn(&P::Request) -> bool) -> Option<usize> {
        // The device may accept the number of a later request.
        self.scribbled |= !self.taken.iter().any(&has_number);
        self.open.iter().copied().find(|open| has_number(&self.taken[*open]))
    }

    /// Sends the response to a request, and returns whether there was room. `valid` is true if it
    /// is one to an open request.
    fn respond(&mut self, index: usize, valid: bool, response: &P::Response) -> bool {
        let open = self.open.iter().position(|open| *open == index);
        let pushed = self.ring.push(response).is_ok();
        if pushed {
            match open.filter(|_| valid) {
                Some(place) => _ = self.open.swap_remove(place),
                None => self.lied = true,
            }
        }
        let _ = self.ring.publish();
        pushed
    }

    fn scribble(&mut self, input: &Input) {
        self.scribbled |= self.page.scribble(input, &INDICES);
    }

    /// True if an invalid response must have broken the device.
    fn is_caught(&self) -> bool {
        self.lied && !self.scribbled
    }
}

/// Lends the pages of a device. A backend may hold any of them.
struct Pages<'x, 'a> {
    table: GrantTable<'static, &'x Fake<'a>, ()>,
    free: u32,
}

impl<'x, 'a> Pages<'x, 'a> {
    fn new(xen: &'x Fake<'a>) -> Self {
        let refs = page::<GrantRefAllocator<1>>(REFS);
        // SAFETY: the page stays, and what was in it is not used any more.
        unsafe { refs.write(GrantRefAllocator::new()) };
        // SAFETY: the references stay, and one table uses them at a time.
        let refs = unsafe { refs.as_ref() };
        // SAFETY: the pages stay, and are accessed by handles alone; the references are the
        // table's.
        let table = unsafe { GrantTable::mapped(xen, (), page(TABLE), refs, 1) };
        let table = table.expect("there is room");
        Self { free: table.available(), table }
    }

    fn pages<const N: usize>(first: usize) -> [DevicePage<'static>; N] {
        std::array::from_fn(|index| {
            let (index, space) = (first + index, At((first + index) as u64));
            // SAFETY: the page stays, and is used by this value and by the backend as words.
            unsafe { Page::from_raw(&space, page(index)) }.expect("a low frame").into()
        })
    }

    /// Checks that every page returns once the backend holds none.
    fn check(&self, pages: impl IntoIterator<Item = DevicePage<'static>>) {
        (0..64).for_each(|reference| hold(reference, false));
        for page in pages {
            page.into_page(&self.table).expect("no page is in use");
        }
        assert_eq!(self.table.available(), self.free, "a grant is lost");
    }
}

/// Marks the page of a grant as used or as not used by the backend, as Xen does.
fn hold(reference: u32, holds: bool) {
    const READING: u16 = flag::READING.mask << flag::READING.shift;
    // SAFETY: the page stays, and is accessed by handles alone.
    let table = unsafe { GrantTableV1Page::from_ptr(page(TABLE)) };
    let Some(entry) = table.entries(reference as usize) else { return };
    let flags = entry.flags();
    if !holds {
        flags.fetch_and(!READING, SeqCst);
    } else if flags.load(SeqCst) & 3 == flag::kind::PERMIT_ACCESS.value {
        flags.fetch_or(READING, SeqCst);
    }
}

/// Holds the page of one of the first references, or releases all.
fn hold_any(input: &Input) {
    match input.below(16) {
        0 => (8..16).for_each(|reference| hold(reference, false)),
        choice => hold(choice as u32, true),
    }
}

/// Returns the page of a grant.
fn granted(reference: u32) -> Option<Shared> {
    // SAFETY: the page stays, and is accessed by handles alone.
    let table = unsafe { GrantTableV1Page::from_ptr(page(TABLE)) };
    let entry = table.entries(reference as usize)?;
    Some(entry.frame().get() as usize).filter(|frame| (FIRST..12).contains(frame)).map(Shared)
}

/// Checks that the backend's path can be one.
fn check_path(frontend: &Frontend<'_>) {
    let path = frontend.backend().as_str();
    assert!(path.starts_with('/') && !path.contains('\0'), "{path:?}");
}

/// A number that differs from request to request, which the backend writes to the pages of a read.
const fn filling(request: &BlkifRequest) -> u32 {
    (request.id >> 32) as u32
}

/// Writes to the pages of a read.
fn fill(request: &BlkifRequest) {
    if request.operation == BlkifOperation::READ {
        let pages = request.seg.iter().take(request.nr_segments.into());
        for page in pages.filter_map(|segment| granted(segment.gref)) {
            page.word(0).store(filling(request), SeqCst);
        }
    }
}

impl Backend<Blkif> {
    fn act(&mut self, input: &Input) {
        self.collect();
        match input.below(8) {
            0 => self.scribble(input),
            1 => hold_any(input),
            _ => {
                let Some(index) = self.choose(input) else { return };
                let request = self.taken[index];
                let mut response = BlkifResponse { id: request.id, ..BlkifResponse::ZEROED };
                (response.operation, response.status) = (request.operation, BlkifStatus::OKAY);
                match input.below(16) {
                    0 => response.id ^= 1 << input.below(64),
                    1 => response.id = self.taken[input.below(self.taken.len().min(256))].id,
                    2 => response.operation = BlkifOperation(input.byte()),
                    3 => response.status = BlkifStatus(input.u16() as i16),
                    4 => response.status = BlkifStatus::ERROR,
                    5 => response.status = BlkifStatus::EOPNOTSUPP,
                    _ => {}
                }
                let known = [BlkifStatus::OKAY, BlkifStatus::ERROR, BlkifStatus::EOPNOTSUPP];
                let named = self.named(|request| request.id == response.id);
                let index = named.unwrap_or(index);
                let valid = named.is_some()
                    && response.operation == self.taken[index].operation
                    && known.contains(&response.status);
                let done = valid && response.status == BlkifStatus::OKAY;
                if done {
                    fill(&self.taken[index]);
                }
                if self.respond(index, valid, &response) && done {
                    self.done.push(index);
                }
            }
        }
    }
}

fn block(input: &Input) {
    const SECTORS: u64 = 64;
    let backend = RefCell::new(Backend::<Blkif>::new(FIRST));
    // The backend acts once the device is connected.
    let connected = Cell::new(false);
    let mut server = server(input);
    let xen = Xen::new(|| {
        server();
        if connected.get() {
            backend.borrow_mut().act(input);
        }
    });
    let lent = Pages::new(&xen.fake);
    let mut pages = Pages::pages::<4>(FIRST);
    xen.with_store(2048, |store| {
        let device = "device/vbd/51712";
        let disk = BlockDevice::connect(&xen.fake, store, device, lent.table, &mut pages);
        let Ok(disk) = disk else { return };
        connected.set(true);
        check_path(disk.frontend());
        let mut disk = disk.with_wait(xen.wait());
        // The requests, each with its index in those that the backend read.
        let (mut ids, mut data, mut broken) = (Vec::new(), [0; 3 * 4096], false);
        for _ in 0..STEPS {
            let (sector, bytes) = (u64::from(input.byte()) % SECTORS, 512 * (1 + input.below(24)));
            let before = backend.borrow().taken.len();
            let id = match input.below(9) {
                0 => disk.submit_read(sector, bytes).map(|(id, length)| Some((id, length))),
                1 => disk.submit_write(sector, &data[..bytes]).map(|(id, _)| Some((id, 0))),
                2 => disk.submit_flush().map(|id| Some((id, 0))),
                3 if !ids.is_empty() => {
                    let (id, index, length) = ids[input.below(ids.len())];
                    let answer = disk.answer(id, &mut data);
                    let backend = backend.borrow();
                    if let (Ok(Some(())), false) = (answer, backend.scribbled) {
                        assert!(backend.done.contains(&index), "a request ended unanswered");
                        let expected = filling(&backend.taken[index]).to_ne_bytes();
                        let mut starts = data[..length].chunks(4096).map(|page| &page[..4]);
                        assert!(starts.all(|start| start == expected), "other data");
                    }
                    answer.map(|_| None)
                }
                4 if !ids.is_empty() => {
                    disk.cancel(ids.swap_remove(input.below(ids.len())).0);
                    Ok(None)
                }
                choice @ (5 | 6) => {
                    let moved = xen.patiently(40, || match choice {
                        5 => disk.read(sector, &mut data[..bytes]),
                        _ => disk.write(sector, &data[..bytes]),
                    });
                    let backend = backend.borrow();
                    if moved.is_ok() && !backend.scribbled {
                        let mut all = before..backend.taken.len();
                        assert!(all.all(|index| backend.done.contains(&index)), "unanswered");
                    }
                    moved.map(|()| None)
                }
                7 => xen.patiently(2, || disk.flush()).map(|()| None),
                _ => {
                    backend.borrow_mut().act(input);
                    Ok(None)
                }
            };
            let mut backend = backend.borrow_mut();
            backend.collect();
            match id {
                Ok(Some((id, length))) => {
                    ids.push((id, backend.taken.len().wrapping_sub(1), length))
                }
                Ok(None) => {}
                Err(BlockError::Broken) => broken = true,
                Err(error) => {
                    assert!(!matches!(error, BlockError::Grant(_) | BlockError::Event(_)));
                    let _ = (error.to_string(), format!("{error:?}"));
                }
            }
            assert!(backend.lied || backend.scribbled || !broken, "an honest backend was refused");
        }
        // One of these can be sent, if any request could.
        let unit = disk.info().sector_size;
        let errors = [disk.submit_read(0, unit).err(), disk.submit_flush().err()];
        let caught = errors.contains(&Some(BlockError::Broken));
        assert!(caught || !backend.borrow().is_caught(), "an invalid response was accepted");
        let _ = (format!("{disk:?}"), disk.close(store).is_ok());
    });
    lent.check(pages);
}

struct Tx;

impl Protocol for Tx {
    type Request = NetifTxRequest;
    type Response = NetifTxResponse;
}

impl Backend<Tx> {
    fn act(&mut self, input: &Input) {
        self.collect();
        if input.below(8) == 0 {
            self.scribble(input);
        }
        let Some(index) = self.choose(input) else { return };
        let request = self.taken[index];
        let mut response = NetifTxResponse { id: request.id, status: NetifStatus::OKAY };

        match input.below(16) {
            0 => response.id ^= 1 << input.below(16),
            4 => response.id = self.taken[input.below(self.taken.len().min(256))].id,
            1 => response.status = NetifStatus(input.u16() as i16),
            2 => response.status = NetifStatus::DROPPED,
            _ => {}
        }
        let known = [NetifStatus::OKAY, NetifStatus::ERROR, NetifStatus::DROPPED];
        let named = self.named(|request| request.id == response.id);
        let valid = named.is_some() && known.contains(&response.status);
        self.respond(named.unwrap_or(index), valid, &response);
    }
}

struct Rx;

impl Protocol for Rx {
    type Request = NetifRxRequest;
    type Response = NetifRxResponse;
}

impl Backend<Rx> {
    fn act(&mut self, input: &Input) {
        self.collect();
        if input.below(8) == 0 {
            self.scribble(input);
        }
        let Some(index) = self.choose(input) else { return };
        let request = self.taken[index];
        let status = NetifStatus(60 + i16::from(input.byte()));
        let mut response = NetifRxResponse { id: request.id, offset: 0, flags: 0, status };
        match input.below(16) {
            0 => response.id ^= 1 << input.below(16),
            4 => response.id = self.taken[input.below(self.taken.len().min(256))].id,
            1 => response.status = NetifStatus(input.u16() as i16),
            2 => response.offset = input.u16(),
            3 => response.flags = input.u16(),
            _ => {}
        }
        let refused = netif_rx_flags::MORE_DATA.is_set(response.flags)
            || netif_rx_flags::EXTRA_INFO.is_set(response.flags)
            || netif_rx_flags::GSO_PREFIX.is_set(response.flags);
        let end = i32::from(response.offset) + i32::from(response.status.0.max(0));
        let named = self.named(|request| request.id == response.id);
        let valid = named.is_some() && !refused && end <= 4096;
        // A frame without a checksum is lost.
        let usable = valid && !netif_rx_flags::CSUM_BLANK.is_set(response.flags);
        if self.respond(named.unwrap_or(index), valid, &response) && usable {
            self.done.push(index);
        }
    }
}

fn network(input: &Input) {
    const TX: usize = FIRST;
    const RX: usize = FIRST + 3;
    let tx = RefCell::new(Backend::<Tx>::new(TX));
    let rx = RefCell::new(Backend::<Rx>::new(RX));
    let xen = Xen::new(server(input));
    let lent = Pages::new(&xen.fake);
    let (mut tx_pages, mut rx_pages) = (Pages::pages::<3>(TX), Pages::pages::<3>(RX));
    xen.with_store(2048, |store| {
        let (device, pages) = ("device/vif/0", (&mut tx_pages, &mut rx_pages));
        let (xen, table) = (&xen.fake, lent.table);
        let Ok(mut net) = NetDevice::connect(xen, store, device, table, pages.0, pages.1) else {
            return;
        };
        check_path(net.frontend());
        let (mut frame, mut received, mut broken) = ([0; 1600], 0, false);
        for _ in 0..STEPS {
            let length = usize::from(input.u16()) % frame.len();
            let result = match input.below(6) {
                0 => match net.send(&frame[..length]) {
                    Err(NetError::FrameSize(size)) => {
                        assert!(size == length && !(14..=1514).contains(&length));
                        Ok(())
                    }
                    Err(NetError::Busy) => Ok(()),
                    sent => sent,
                },
                1 => net.can_send().map(|_| ()),
                2 => net.receive(&mut frame[..length]).map(|found| {
                    received += usize::from(found.is_some());
                    assert!(found.is_none_or(|found| (14..=length).contains(&found)));
                }),
                3 => {
                    tx.borrow_mut().act(input);
                    Ok(())
                }
                4 => {
                    rx.borrow_mut().act(input);
                    Ok(())
                }
                _ => {
                    hold_any(input);
                    Ok(())
                }
            };
            if let Err(error) = result {
                assert_eq!(error, NetError::Broken, "{error}");
                broken = true;
            }
            let (tx, rx) = (tx.borrow(), rx.borrow());
            let changed = tx.scribbled || rx.scribbled;
            assert!(tx.lied || rx.lied || changed || !broken, "an honest backend was refused");
            assert!(changed || received <= rx.done.len(), "a frame was received twice");
        }
        let sends = net.can_send();
        while let Ok(Some(_)) = net.receive(&mut frame) {}
        let caught = sends.and_then(|_| net.can_send()) == Err(NetError::Broken);
        let lied = tx.borrow().is_caught() || rx.borrow().is_caught();
        let changed = tx.borrow().scribbled || rx.borrow().scribbled;
        assert!(caught || changed || !lied, "an invalid response was accepted");
        let _ = (net.lost(), format!("{net:?}"), net.close(store).is_ok());
    });
    lent.check(tx_pages.into_iter().chain(rx_pages));
}
