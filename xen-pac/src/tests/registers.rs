//! Each kind of register does what it says, at its own place.

use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use proptest::prelude::*;
use tock_registers::interfaces::{ReadWriteable, Readable};

use super::block::{ClockSnapshot, Sample, flags, with_sample};
use crate::access::{Bits, Buffer, OwnIndex, PeerIndex, ReadOnly, ReadWrite, Word};
use crate::shared_info::{self, SharedInfo};

#[test]
fn handles_are_copy_and_may_go_to_other_threads() {
    fn free<T: Copy + Send + Sync>() {}
    free::<Bits<'static, u8>>();
    free::<Bits<'static, u16, flags::Register>>();
    free::<ReadOnly<'static, i64>>();
    free::<ReadWrite<'static, usize>>();
    free::<OwnIndex<'static>>();
    free::<PeerIndex<'static>>();
    free::<Buffer<'static>>();
    free::<Sample<'static>>();
    assert_eq!(size_of::<Bits<'_, u8>>(), size_of::<*const u8>());
    assert_eq!(size_of::<Option<Sample<'_>>>(), size_of::<*const u8>());
}

/// Compiles only while `Bits` and `ReadOnly` lack `Writeable`: with it, two implementations would
/// fit and the `_` would be ambiguous.
#[test]
fn what_must_not_be_written_has_no_plain_write() {
    use tock_registers::interfaces::Writeable;
    trait Lacks<Witness> {
        const YES: bool = true;
    }
    struct IsWriteable;
    impl<T: ?Sized> Lacks<()> for T {}
    impl<T: ?Sized + Writeable> Lacks<IsWriteable> for T {}
    const {
        assert!(<Bits<'_, u32> as Lacks<_>>::YES);
        assert!(<Bits<'_, u16, flags::Register> as Lacks<_>>::YES);
        assert!(<ReadOnly<'_, u32> as Lacks<_>>::YES);
        assert!(<ReadWrite<'_, u32> as Lacks<IsWriteable>>::YES);
    }
}

#[test]
fn an_element_beyond_the_end_is_none() {
    with_sample(|sample, _| {
        for index in 0..Sample::WORDS_COUNT {
            assert!(sample.words(index).is_some());
        }
        assert!(sample.words(Sample::WORDS_COUNT).is_none());
        assert!(sample.words(usize::MAX).is_none());
        assert!(sample.clocks(2).is_some());
        assert!(sample.clocks(3).is_none());
    });
}

#[test]
fn elements_are_distinct_places() {
    with_sample(|sample, _| {
        for index in 0..4 {
            sample.words(index).unwrap().fetch_or(1 << index, Ordering::Relaxed);
        }
        let words = [0, 1, 2, 3].map(|index| sample.words(index).unwrap().get());
        assert_eq!(words, [1, 2, 4, 8]);
        assert_eq!(sample.produced().load(), 0);
        assert_eq!(sample.wide().get(), 0);
    });
}

#[test]
fn a_word_is_read_by_its_fields() {
    with_sample(|sample, _| {
        sample.flags().fetch_or(0b110, Ordering::Relaxed);
        assert_eq!(sample.flags().read(flags::KIND), 2);
        assert!(sample.flags().is_set(flags::READONLY));
        sample.flags().fetch_and(!flags::READONLY.val(1).value, Ordering::Relaxed);
        assert!(!sample.flags().is_set(flags::READONLY));
        assert!(sample.flags().matches_all(flags::KIND.val(2)));
    });
}

#[test]
fn a_plain_word_can_be_modified_as_on_any_chip() {
    use tock_registers::fields::Field;
    const MIDDLE: Field<u32, ()> = Field::<u32, ()>::new(0xff, 8);
    with_sample(|sample, _| {
        sample.limit().set(0xdead_beef);
        sample.limit().modify(MIDDLE.val(0x12));
        assert_eq!(sample.limit().get(), 0xdead_12ef);
        assert_eq!(sample.limit().read(MIDDLE), 0x12);
        assert_eq!(sample.flags().get(), 0);
        assert_eq!(sample.wide().get(), 0);
    });
}

#[test]
fn compare_exchange_changes_nothing_when_the_word_has_moved() {
    with_sample(|sample, _| {
        let flags = sample.flags();
        flags.fetch_or(5, Ordering::Relaxed);
        assert_eq!(flags.compare_exchange(4, 0, Ordering::AcqRel, Ordering::Acquire), Err(5));
        assert_eq!(flags.get(), 5);
        assert_eq!(flags.compare_exchange(5, 0, Ordering::AcqRel, Ordering::Acquire), Ok(5));
        assert_eq!(flags.get(), 0);
    });
}

#[test]
fn each_side_sees_what_the_other_published() {
    with_sample(|sample, _| {
        sample.produced().publish(7);
        assert_eq!(sample.produced().other_side().load(), 7);
        sample.consumed().other_side().publish(u32::MAX);
        assert_eq!(sample.consumed().load(), u32::MAX);
        sample.offset().other_side().set(-5);
        assert_eq!(sample.offset().get(), -5);
        assert_eq!(sample.pending().get(), 0);
    });
}

#[test]
fn a_snapshot_gives_what_was_published() {
    let value = ClockSnapshot {
        scale: 1,
        base: u64::MAX - 2,
        start: 3,
        shift: -4,
        tail: [1, 2, 3, 4, 5, 6, 7],
    };
    with_sample(|sample, _| {
        sample.clocks(1).unwrap().publish_with(&value, || {});
        assert_eq!(sample.clocks(1).unwrap().snapshot_with(|| 9), (value, 9));
        assert_ne!(sample.clocks(0).unwrap().snapshot_with(|| ()).0, value);
        assert_ne!(sample.clocks(2).unwrap().snapshot_with(|| ()).0, value);
        sample.clock().publish_with(&value, || {});
        sample.limit().set(77);
        assert_eq!(sample.inner().0, (value.base, 77));
    });
}

#[test]
fn debug_output_shows_the_value() {
    with_sample(|sample, _| {
        sample.pending().fetch_or(1, Ordering::Relaxed);
        sample.limit().set(31);
        assert_eq!(
            std::format!("{:?} {:?} {:?}", sample.pending(), sample.limit(), sample.bytes()),
            "Bits(0x1) ReadWrite(0x1f) Buffer(16 bytes)"
        );
    });
}

/// The volatile and the relaxed access of a width read what either of them wrote.
fn both_ways<T: Word>(values: &[T]) {
    // Neighbours on both sides show an access that is too wide.
    let guard = values[0];
    for &value in values {
        let mut memory = [guard, T::default(), guard];
        let place = (&raw mut memory).cast::<T>().wrapping_add(1);
        // SAFETY: the middle element of the array, which nothing else accesses.
        unsafe { place.write_volatile(value) };
        // SAFETY: as above.
        assert_eq!(unsafe { T::read_relaxed(place) }, value);
        // SAFETY: as above.
        unsafe { T::write_relaxed(place, T::default()) };
        // SAFETY: as above.
        assert_eq!(unsafe { T::read_volatile(place) }, T::default());
        // SAFETY: as above.
        unsafe { T::write_relaxed(place, value) };
        // SAFETY: as above.
        assert_eq!(unsafe { T::read_volatile(place) }, value);
        assert_eq!(memory, [guard, value, guard]);
    }
}

#[test]
fn every_width_both_ways() {
    both_ways(&[u8::MAX, 0, 1, 0x80]);
    both_ways(&[u16::MAX, 0, 1, 0x1234, 0x8000]);
    both_ways(&[u32::MAX, 0, 1, 0x1234_5678, 0x8000_0000]);
    both_ways(&[u64::MAX, 0, 1, 0x1234_5678_9abc_def0, 1 << 63, 1 << 32]);
    both_ways(&[usize::MAX, 0, 1]);
    both_ways(&[i8::MIN, -1, 0, i8::MAX]);
    both_ways(&[i16::MIN, -1, 0, i16::MAX]);
    both_ways(&[i32::MIN, -1, 0, i32::MAX]);
    both_ways(&[i64::MIN, -1, 0, i64::MAX, 0x1234_5678_9abc_def0]);
    both_ways(&[isize::MIN, -1, 0, isize::MAX]);
}

std::thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn each_access_calls_it() {
    let hook: fn() = || CALLS.set(CALLS.get() + 1);
    assert!(crate::access::before_each(hook) && crate::access::before_each(hook));
    assert!(!crate::access::before_each(|| panic!("the first hook stays")));
    let page = std::boxed::Box::leak(std::boxed::Box::new(shared_info::raw::SharedInfo::ZEROED));
    // SAFETY: the page is leaked, and used by this handle alone.
    let shared = unsafe { SharedInfo::from_ptr(NonNull::from(page)) };
    let vcpu = shared.vcpu_info(0).unwrap();
    let during = |work: &dyn Fn()| {
        let before = CALLS.get();
        work();
        CALLS.get() - before
    };
    assert_eq!(during(&|| _ = vcpu.evtchn_upcall_pending().swap(0, Ordering::AcqRel)), 1);
    // The counter, five fields, and the counter again.
    assert_eq!(during(&|| _ = vcpu.time().snapshot()), 7);
}

proptest! {
    #![proptest_config(super::property_config())]

    #[test]
    fn bit_operations_agree_with_plain_arithmetic(start: u16, bits: u16) {
        with_sample(|sample, _| {
            let flags = sample.flags();
            let _ = flags.swap(start, Ordering::Relaxed);
            assert_eq!(flags.fetch_or(bits, Ordering::Relaxed), start);
            assert_eq!(flags.fetch_and(!bits, Ordering::Relaxed), start | bits);
            assert_eq!(flags.fetch_xor(bits, Ordering::Relaxed), start & !bits);
            assert_eq!(flags.swap(start, Ordering::Relaxed), (start & !bits) ^ bits);
            assert_eq!(flags.load(Ordering::Acquire), start);
        });
    }

    #[test]
    fn a_wide_word_keeps_every_bit(value: u64) {
        with_sample(|sample, _| {
            sample.wide().set(value);
            assert_eq!(sample.wide().get(), value);
            assert_eq!(sample.limit().get(), 0);
            assert_eq!(sample.words(0).unwrap().get(), 0);
        });
    }
}
