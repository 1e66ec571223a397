//! A block made by hand, with a field of every kind, and memory to put it into.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use crate::access::{self, Bits, Block, Buffer, OwnIndex, PeerIndex, ReadOnly, ReadWrite};

pub(super) mod raw {
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(in crate::tests) struct Clock {
        pub(in crate::tests) version: u32,
        pub(in crate::tests) scale: u32,
        pub(in crate::tests) base: u64,
        pub(in crate::tests) start: u64,
        pub(in crate::tests) shift: i8,
        pub(in crate::tests) tail: [u8; 7],
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(in crate::tests) struct Sample {
        pub(in crate::tests) pending: u8,
        pub(in crate::tests) offset: i8,
        pub(in crate::tests) flags: u16,
        pub(in crate::tests) limit: u32,
        pub(in crate::tests) wide: u64,
        pub(in crate::tests) words: [usize; 4],
        pub(in crate::tests) produced: u32,
        pub(in crate::tests) consumed: u32,
        pub(in crate::tests) bytes: [u8; 16],
        pub(in crate::tests) clock: Clock,
        pub(in crate::tests) clocks: [Clock; 3],
    }

    crate::access::data!(Clock {
        version: u32,
        scale: u32,
        base: u64,
        start: u64,
        shift: i8,
        tail: [u8; 7]
    });
    crate::access::data!(Sample {
        pending: u8,
        offset: i8,
        flags: u16,
        limit: u32,
        wide: u64,
        words: [usize; 4],
        produced: u32,
        consumed: u32,
        bytes: [u8; 16],
        clock: Clock,
        clocks: [Clock; 3],
    });
}

/// The fields of the sample's word.
pub(super) mod flags {
    use tock_registers::RegisterLongName;
    use tock_registers::fields::Field;

    pub(in crate::tests) struct Register;
    impl RegisterLongName for Register {}

    pub(in crate::tests) const KIND: Field<u16, Register> = Field::<u16, Register>::new(3, 0);
    pub(in crate::tests) const READONLY: Field<u16, Register> = Field::<u16, Register>::new(1, 2);
}

#[derive(Clone, Copy)]
pub(super) struct Clock<'a> {
    pub(super) ptr: Block<'a, raw::Clock>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockSnapshot {
    pub(super) scale: u32,
    pub(super) base: u64,
    pub(super) start: u64,
    pub(super) shift: i8,
    pub(super) tail: [u8; 7],
}

impl Clock<'_> {
    /// # Safety
    /// As for any block.
    pub(super) const unsafe fn from_ptr(ptr: NonNull<raw::Clock>) -> Self {
        Self { ptr: Block::new(ptr) }
    }

    pub(super) fn snapshot_with<T>(self, mut read: impl FnMut() -> T) -> (ClockSnapshot, T) {
        access::consistent(access::location!(self.ptr, version), || (self.unchecked(), read()))
    }

    /// What nobody should do: the fields without a look at the counter.
    pub(super) fn unchecked(self) -> ClockSnapshot {
        ClockSnapshot {
            scale: access::load!(self.ptr, scale),
            base: access::load!(self.ptr, base),
            start: access::load!(self.ptr, start),
            shift: access::load!(self.ptr, shift),
            tail: access::load!(self.ptr, tail),
        }
    }

    /// The other side's update, with something that it does inside the window.
    pub(super) fn publish_with(self, value: &ClockSnapshot, inside: impl FnOnce()) {
        access::update(access::location!(self.ptr, version), || {
            access::Store::store(access::location!(self.ptr, scale), value.scale);
            access::Store::store(access::location!(self.ptr, base), value.base);
            inside();
            access::Store::store(access::location!(self.ptr, start), value.start);
            access::Store::store(access::location!(self.ptr, shift), value.shift);
            access::Store::store(access::location!(self.ptr, tail), value.tail);
        });
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    ptr: Block<'a, raw::Sample>,
}

impl<'a> Sample<'a> {
    pub(super) const WORDS_COUNT: usize = 4;

    /// # Safety
    /// As for any block.
    pub(super) const unsafe fn from_ptr(ptr: NonNull<raw::Sample>) -> Self {
        Self { ptr: Block::new(ptr) }
    }

    pub(super) fn pending(self) -> Bits<'a, u8> {
        access::field!(self.ptr, Bits, pending)
    }

    pub(super) fn offset(self) -> ReadOnly<'a, i8> {
        access::field!(self.ptr, ReadOnly, offset)
    }

    pub(super) fn flags(self) -> Bits<'a, u16, flags::Register> {
        access::field!(self.ptr, Bits, flags)
    }

    pub(super) fn limit(self) -> ReadWrite<'a, u32> {
        access::field!(self.ptr, ReadWrite, limit)
    }

    pub(super) fn wide(self) -> ReadWrite<'a, u64> {
        access::field!(self.ptr, ReadWrite, wide)
    }

    pub(super) fn words(self, index: usize) -> Option<Bits<'a, usize>> {
        access::element!(self.ptr, Bits, words, index)
    }

    pub(super) fn produced(self) -> OwnIndex<'a> {
        access::field!(self.ptr, OwnIndex, produced)
    }

    pub(super) fn consumed(self) -> PeerIndex<'a> {
        access::field!(self.ptr, PeerIndex, consumed)
    }

    pub(super) fn bytes(self) -> Buffer<'a> {
        access::field!(self.ptr, Buffer, bytes)
    }

    pub(super) fn clock(self) -> Clock<'a> {
        access::nested!(self.ptr, Clock, clock)
    }

    pub(super) fn clocks(self, index: usize) -> Option<Clock<'a>> {
        access::nested_element!(self.ptr, Clock, clocks, index)
    }

    /// Snapshot over fields of a nested raw struct, as a block's `arch` part has them.
    pub(super) fn inner(self) -> ((u64, u32), ()) {
        access::consistent(access::location!(self.ptr, clock.version), || {
            let base = access::load!(self.ptr, clock.base);
            #[cfg(all())]
            let limit = access::load!(self.ptr, limit);
            #[cfg(any())]
            let limit = access::load!(self.ptr, clock.scale);
            ((base, limit), ())
        })
    }
}

/// Memory for a block, which both sides may change.
#[repr(C, align(4096))]
pub(super) struct Page<T>(UnsafeCell<T>);

// SAFETY: the tests touch the memory through register handles only, whose accesses are atomic.
unsafe impl<T> Sync for Page<T> {}

impl<T: access::Data> Page<T> {
    pub(super) fn zeroed() -> Self {
        Self(UnsafeCell::new(T::ZEROED))
    }

    pub(super) fn as_ptr(&self) -> NonNull<T> {
        NonNull::new(self.0.get()).expect("a cell has an address")
    }
}

/// Runs a test on a sample whose bytes are all zero.
pub(super) fn with_sample(test: impl FnOnce(Sample<'_>, &Page<raw::Sample>)) {
    let page = Page::zeroed();
    // SAFETY: the page lives longer than the handle, and is touched through handles only.
    let sample = unsafe { Sample::from_ptr(page.as_ptr()) };
    test(sample, &page);
}
