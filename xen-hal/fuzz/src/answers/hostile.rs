//! A hypervisor whose answers, and what it writes to the arguments, are the input.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use xen_hal::Xen;
use xen_pac::access::Data;
use xen_pac::command::Command;
use xen_pac::grant_table::command::Copy;

use super::arguments::{self, Place};
use crate::fake::Fake;
use crate::input::Input;

/// The hypervisor, and what it did.
pub(super) struct Hostile<'i> {
    pub(super) fake: Fake<'i>,
    log: Rc<Log>,
}

#[derive(Default)]
struct Log {
    calls: RefCell<Vec<Call>>,
    /// The memory to which copies may go.
    buffer: Cell<(usize, usize)>,
}

/// One call, as it was answered.
#[derive(Clone, Debug)]
pub(super) struct Call {
    number: u32,
    command: usize,
    pub(super) answer: isize,
    /// The bytes of the argument before and after.
    before: Vec<u8>,
    after: Vec<u8>,
    /// What was written to the lists that the argument points to.
    pub(super) lists: Vec<Vec<u8>>,
}

impl<'i> Hostile<'i> {
    pub(super) fn new(input: &'i Input) -> Self {
        let log = Rc::new(Log::default());
        let own = log.clone();
        let fake = Fake(Box::new(move |number, arguments| own.answer(input, number, arguments)));
        Self { fake, log }
    }

    /// The operations under this hypervisor.
    pub(super) fn hal(&self) -> Xen<&Fake<'i>> {
        Xen::new(&self.fake)
    }

    /// Allows copies to this memory from now on.
    pub(super) fn expect_copies_to(&self, bytes: &[u8]) {
        let first = bytes.as_ptr().addr();
        self.log.buffer.set((first, first + bytes.len()));
    }

    /// The calls of a command since the last look.
    pub(super) fn calls<C: Command>(&self, _: C) -> Vec<Call> {
        let is = |call: &Call| (call.number, call.command) == (C::HYPERCALL, C::NUMBER as usize);
        let (these, others) = self.log.calls.take().into_iter().partition(is);
        self.log.calls.replace(others);
        these
    }

    /// The arguments of the calls of a command since the last look: before and after each call.
    pub(super) fn asked_and_told<C: Command>(&self, command: C) -> Vec<(C::Argument, C::Argument)> {
        let calls = self.calls(command).into_iter();
        calls.flat_map(|call| values(&call.before).into_iter().zip(values(&call.after))).collect()
    }

    /// The arguments of the calls of a command since the last look, after each call.
    pub(super) fn told<C: Command>(&self, command: C) -> Vec<C::Argument> {
        self.asked_and_told(command).into_iter().map(|(_, told)| told).collect()
    }
}

impl Log {
    fn answer(&self, input: &Input, number: u32, arguments: &[usize]) -> isize {
        let Some(argument) = arguments::argument(number, arguments) else {
            panic!("unexpected hypercall {number} with {arguments:x?}")
        };
        let before = read(argument);
        // SAFETY: nothing was written to it yet.
        let behind = unsafe { arguments::behind(number, arguments, argument) };
        // A copy has to go to the buffer that was passed for it.
        let ((from, to), copies) = (self.buffer.get(), arguments::is::<Copy>(number, arguments));
        for place in behind.iter().filter(|place| copies && !place.is_empty()) {
            let (first, count) = (place.cast::<u8>().addr(), place.len());
            let within = from <= first && first + count <= to;
            assert!(within, "a copy of {count} bytes to {first:#x} is not for {from:#x}..{to:#x}");
        }
        let lists = behind.into_iter().map(|place| scribble(input, place)).collect();
        let after = scribble(input, argument);
        let answer = match input.byte() {
            0..0x60 => 0,
            error @ 0x60..0xa0 => -isize::from(error - 0x5f),
            count @ 0xa0..0xe0 => isize::from(count - 0xa0),
            _ => input.number() as isize,
        };
        let command = arguments[0];
        self.calls.borrow_mut().push(Call { number, command, answer, before, after, lists });
        answer
    }
}

/// Writes to memory that is the hypervisor's for the call: nothing, all of it, or a few bytes.
/// Returns what it holds then.
fn scribble(input: &Input, place: Place) -> Vec<u8> {
    let mut bytes = read(place);
    match input.byte() % 8 {
        _ if bytes.is_empty() => return bytes,
        0 | 1 => (),
        2 => bytes.fill(0),
        // All ones are an error in words of any width.
        3 => bytes.fill(if input.byte() % 2 == 0 { 0xff } else { input.byte() }),
        4 => {
            let written = input.bytes(bytes.len());
            bytes[..written.len()].copy_from_slice(written);
        }
        changes => {
            for _ in 4..changes {
                let at = usize::from(input.u16()) % bytes.len();
                let written = input.number().to_le_bytes();
                bytes[at..].iter_mut().zip(written).for_each(|(byte, new)| *byte = new);
            }
        }
    }
    // SAFETY: the call lends the place to the hypervisor for as long as it lasts.
    unsafe { (*place).copy_from_slice(&bytes) };
    bytes
}

fn read(place: Place) -> Vec<u8> {
    if place.is_empty() {
        return Vec::new();
    }
    // SAFETY: as in `scribble`, and nothing of the place is uninitialised.
    unsafe { &*place }.to_vec()
}

/// Bytes as values.
pub(super) fn values<T: Data>(bytes: &[u8]) -> Vec<T> {
    let chunks = bytes.chunks_exact(size_of::<T>().max(1));
    // SAFETY: any bytes are a value of such a type, and there are as many as one has.
    chunks.map(|bytes| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }).collect()
}
