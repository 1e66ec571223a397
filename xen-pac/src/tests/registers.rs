//! Tests each kind of register, and that it accesses only its own word.

use core::cell::Cell;
use core::sync::atomic::Ordering;

use proptest::prelude::*;
use tock_registers::fields::Field;
use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};

use super::block;
use crate::access::{
    self, Bits, Block, Buffer, OwnIndex, PeerIndex, ReadOnly, ReadWrite, RingIndex, Word,
};
use crate::console_ring::XenconsInterface;
use crate::grant_table::{GrantEntryV1, grant_entry_flags};
use crate::grant_table_v2::GrantEntryV2FullPage;
use crate::shared_info::{SharedInfo, SharedInfoWallclock};
use crate::vcpu::VcpuRunstateInfo;

#[test]
fn handles_are_copy_and_may_go_to_other_threads() {
    fn free<T: Copy + Send + Sync>() {}
    free::<Bits<'static, u8>>();
    free::<Bits<'static, u16, grant_entry_flags::Register>>();
    free::<ReadOnly<'static, i64>>();
    free::<ReadWrite<'static, usize>>();
    free::<OwnIndex<'static>>();
    free::<PeerIndex<'static>>();
    free::<Buffer<'static>>();
    free::<SharedInfo<'static>>();
    free::<RingIndex>();
    assert_eq!(size_of::<Bits<'_, u8>>(), size_of::<*const u8>());
    assert_eq!(size_of::<Option<SharedInfo<'_>>>(), size_of::<*const u8>());
}

/// Compiles only while `Bits` and `ReadOnly` lack `Writeable`: with it, two implementations would
/// fit and the `_` would be ambiguous.
#[test]
fn what_must_not_be_written_has_no_plain_write() {
    trait Lacks<Witness> {
        const YES: bool = true;
    }
    struct IsWriteable;
    impl<T: ?Sized> Lacks<()> for T {}
    impl<T: ?Sized + Writeable> Lacks<IsWriteable> for T {}
    const {
        assert!(<Bits<'_, u32> as Lacks<_>>::YES);
        assert!(<Bits<'_, u16, grant_entry_flags::Register> as Lacks<_>>::YES);
        assert!(<ReadOnly<'_, u32> as Lacks<_>>::YES);
        assert!(<ReadWrite<'_, u32> as Lacks<IsWriteable>>::YES);
    }
}

#[test]
fn elements_are_distinct_places_and_none_beyond_the_end() {
    block!(shared, SharedInfo);
    for index in 0..SharedInfo::EVTCHN_PENDING_COUNT {
        shared.evtchn_pending(index).unwrap().fetch_or(index as _, Ordering::Relaxed);
    }
    for index in 0..SharedInfo::EVTCHN_PENDING_COUNT {
        assert_eq!(shared.evtchn_pending(index).unwrap().get(), index as _);
        assert_eq!(shared.evtchn_mask(index).unwrap().get(), 0);
    }
    assert!(shared.evtchn_pending(SharedInfo::EVTCHN_PENDING_COUNT).is_none());
    assert!(shared.evtchn_pending(usize::MAX).is_none());
    assert!(shared.vcpu_info(SharedInfo::VCPU_INFO_COUNT - 1).is_some());
    assert!(shared.vcpu_info(SharedInfo::VCPU_INFO_COUNT).is_none());
}

#[test]
fn a_word_is_read_by_its_fields() {
    block!(entry, GrantEntryV1);
    entry.flags().fetch_or(0b110, Ordering::Relaxed);
    assert_eq!(entry.flags().read(grant_entry_flags::KIND), 2);
    assert!(entry.flags().is_set(grant_entry_flags::READONLY));
    entry.flags().fetch_and(!grant_entry_flags::READONLY.val(1).value, Ordering::Relaxed);
    assert!(!entry.flags().is_set(grant_entry_flags::READONLY));
    assert!(entry.flags().matches_all(grant_entry_flags::kind::ACCEPT_TRANSFER));
}

#[test]
fn a_plain_word_can_be_modified_as_on_any_chip() {
    const MIDDLE: Field<u32, ()> = Field::<u32, ()>::new(0xff, 8);
    block!(entry, GrantEntryV1);
    entry.frame().set(0xdead_beef);
    entry.frame().modify(MIDDLE.val(0x12));
    assert_eq!(entry.frame().get(), 0xdead_12ef);
    assert_eq!(entry.frame().read(MIDDLE), 0x12);
    assert_eq!((entry.flags().get(), entry.domid().get()), (0, 0));
}

#[test]
fn compare_exchange_changes_nothing_when_the_word_has_moved() {
    block!(entry, GrantEntryV1);
    let flags = entry.flags();
    flags.fetch_or(5, Ordering::Relaxed);
    assert_eq!(flags.compare_exchange(4, 0, Ordering::AcqRel, Ordering::Acquire), Err(5));
    assert_eq!(flags.get(), 5);
    assert_eq!(flags.compare_exchange(5, 0, Ordering::AcqRel, Ordering::Acquire), Ok(5));
    assert_eq!(flags.get(), 0);
}

#[test]
fn each_side_sees_what_the_other_published() {
    block!(console, XenconsInterface);
    console.out_prod().publish(7);
    assert_eq!(console.out_prod().other_side().load(), 7);
    console.out_cons().other_side().publish(u32::MAX);
    assert_eq!(console.out_cons().load(), u32::MAX);
    assert_eq!((console.in_cons().load(), console.in_prod().load()), (0, 0));
    block!(runstate, VcpuRunstateInfo);
    runstate.state().other_side().set(5);
    assert_eq!((runstate.state().get(), runstate.state_entry_time().get()), (5, 0));
}

#[test]
fn a_snapshot_gives_what_was_published() {
    block!(shared, SharedInfo);
    let wallclock = SharedInfoWallclock { sec: 1, nsec: 2, sec_hi: 3 };
    shared.publish_wallclock(&wallclock);
    assert_eq!(shared.wallclock(), wallclock);
    let times = |index| shared.vcpu_info(index).unwrap().time().snapshot();
    assert_eq!(times(0), times(SharedInfo::VCPU_INFO_COUNT - 1));
    assert_eq!(times(0).system_time, 0);
}

mod raw {
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(super) struct Odd {
        pub(super) version: u32,
        pub(super) shift: i8,
        pub(super) tail: [u8; 3],
        pub(super) wide: u64,
    }

    crate::access::data!(Odd { version: u32, shift: i8, tail: [u8; 3], wide: u64 });
}

/// Tests fields that no described snapshot has: an array, and a field at an odd offset.
#[test]
fn a_snapshot_can_hold_arrays() {
    let page = super::Page::<raw::Odd>::zeroed();
    let block = Block::new(page.as_ptr());
    access::update(access::location!(block, version), || {
        access::store!(block, shift, -4_i8);
        access::store!(block, tail, [1_u8, 2, 3]);
        access::store!(block, wide, u64::MAX - 2);
    });
    let found: (i8, [u8; 3], u64) = access::consistent(access::location!(block, version), || {
        (access::load!(block, shift), access::load!(block, tail), access::load!(block, wide))
    });
    assert_eq!(found, (-4, [1, 2, 3], u64::MAX - 2));
}

#[test]
fn debug_output_shows_the_value() {
    block!(entry, GrantEntryV1);
    block!(console, XenconsInterface);
    entry.flags().fetch_or(1, Ordering::Relaxed);
    entry.frame().set(31);
    assert_eq!(
        std::format!("{:?} {:?} {:?}", entry.flags(), entry.frame(), console.input()),
        "Bits(0x1) ReadWrite(0x1f) Buffer(1024 bytes)"
    );
}

/// Tests that the volatile and the relaxed access of a width read each other's writes.
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
    assert!(access::before_each(hook) && access::before_each(hook));
    assert!(!access::before_each(|| panic!("the first hook stays")));
    block!(shared, SharedInfo);
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
        block!(entry, GrantEntryV1);
        let flags = entry.flags();
        let _ = flags.swap(start, Ordering::Relaxed);
        assert_eq!(flags.fetch_or(bits, Ordering::Relaxed), start);
        assert_eq!(flags.fetch_and(!bits, Ordering::Relaxed), start | bits);
        assert_eq!(flags.fetch_xor(bits, Ordering::Relaxed), start & !bits);
        assert_eq!(flags.swap(start, Ordering::Relaxed), (start & !bits) ^ bits);
        assert_eq!(flags.load(Ordering::Acquire), start);
    }

    #[test]
    fn a_wide_word_keeps_every_bit(value: u64) {
        block!(entry, GrantEntryV2FullPage);
        entry.frame().set(value);
        assert_eq!(entry.frame().get(), value);
        assert_eq!(entry.hdr().domid().get(), 0);
    }
}
