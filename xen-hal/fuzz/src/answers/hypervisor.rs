//! A hypervisor whose answers, and what it writes to the arguments, are the input.

use std::cell::{Cell, RefCell};

use xen_hal::hypercall::Hypercall;
use xen_pac::access::Data;
use xen_pac::command::Command;

use super::arguments::{self, Place};
use crate::input::Input;

/// The hypervisor, and what it did.
#[derive(Debug)]
pub(super) struct Hostile<'i> {
    input: &'i Input,
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
    pub(super) const fn new(input: &'i Input) -> Self {
        Self { input, calls: RefCell::new(Vec::new()), buffer: Cell::new((0, 0)) }
    }

    /// Says to which memory copies may go from now on.
    pub(super) fn expect_copies_to(&self, bytes: &[u8]) {
        let first = bytes.as_ptr().addr();
        self.buffer.set((first, first + bytes.len()));
    }

    /// The calls of a command since the last look.
    pub(super) fn calls<C: Command>(&self, _: C) -> Vec<Call> {
        let (these, others) =
            self.calls.take().into_iter().partition(|call| {
                call.number == C::HYPERCALL.0 && call.command == C::NUMBER as usize
            });
        self.calls.replace(others);
        these
    }

    fn answer(&self, number: u32, arguments: &[usize]) -> isize {
        let Some(argument) = arguments::argument(number, arguments) else {
            panic!("nobody expected hypercall {number} with {arguments:x?}")
        };
        let before = read(argument);
        // SAFETY: nothing was written to it yet.
        let behind = unsafe { arguments::behind(number, arguments, argument) };
        behind.iter().for_each(|place| self.check(number, arguments, *place));
        let lists = behind.into_iter().map(|place| self.scribble(place)).collect();
        let after = self.scribble(argument);
        let answer = self.any_answer();
        self.calls.borrow_mut().push(Call {
            number,
            command: arguments[0],
            answer,
            before,
            after,
            lists,
        });
        answer
    }

    /// A copy has to go to the buffer that was passed for it.
    fn check(&self, number: u32, arguments: &[usize], place: Place) {
        let (first, end) = (place.first.addr(), place.first.addr() + place.length);
        let (from, to) = self.buffer.get();
        let copies = arguments::is::<xen_pac::grant_table::command::Copy>(number, arguments);
        assert!(
            !copies || place.length == 0 || from <= first && end <= to,
            "a copy of {} bytes to {first:#x} is not for {from:#x}..{to:#x}",
            place.length
        );
    }

    /// Writes to memory that is the hypervisor's for the call: nothing, all of it, or a few bytes.
    /// Gives what is there then.
    fn scribble(&self, place: Place) -> Vec<u8> {
        let mut bytes = read(place);
        match self.input.byte() % 8 {
            _ if bytes.is_empty() => (),
            0 | 1 => (),
            2 => bytes.fill(0),
            // All ones are an error in words of any width.
            3 => bytes.fill(if self.input.byte() % 2 == 0 { 0xff } else { self.input.byte() }),
            4 => {
                let written = self.input.bytes(bytes.len());
                bytes[..written.len()].copy_from_slice(written);
            }
            changes => {
                for _ in 4..changes {
                    let at = usize::from(self.input.u16()) % bytes.len();
                    let written = self.input.number().to_le_bytes();
                    bytes[at..].iter_mut().zip(written).for_each(|(byte, new)| *byte = new);
                }
            }
        }
        if !bytes.is_empty() {
            // SAFETY: the call gave the place away for as long as it lasts.
            unsafe { place.first.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        bytes
    }

    fn any_answer(&self) -> isize {
        match self.input.byte() {
            0..0x60 => 0,
            error @ 0x60..0xa0 => -isize::from(error - 0x5f),
            count @ 0xa0..0xe0 => isize::from(count - 0xa0),
            _ => self.input.number() as isize,
        }
    }
}

impl Call {
    /// The arguments after the call. Their bytes are a value, whatever they are.
    pub(super) fn arguments<T: Data>(&self) -> Vec<T> {
        values(&self.after)
    }

    /// The arguments before.
    pub(super) fn asked<T: Data>(&self) -> Vec<T> {
        values(&self.before)
    }
}

fn read(place: Place) -> Vec<u8> {
    if place.length == 0 {
        return Vec::new();
    }
    // SAFETY: the call gave the place away for as long as it lasts, and nothing of it is
    // uninitialised.
    unsafe { std::slice::from_raw_parts(place.first, place.length) }.to_vec()
}

/// Bytes as values.
pub(super) fn values<T: Data>(bytes: &[u8]) -> Vec<T> {
    // SAFETY: any bytes are a value of such a type, and there are as many as one has.
    bytes
        .chunks_exact(size_of::<T>())
        .map(|bytes| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
        .collect()
}

// SAFETY: the answers lie, but name no memory: the operations that use what an answer names are
// given memory that is there.
unsafe impl Hypercall for Hostile<'_> {
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
        self.answer(number, &[a, b, c, d, e])
    }
}
