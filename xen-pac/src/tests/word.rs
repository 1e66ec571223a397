//! The volatile and the relaxed access of every width read what either of them wrote.

use crate::access::Word;

fn both_ways<T: Word>(values: &[T]) {
    // Neighbours on both sides show an access that is too wide.
    let guard = values[0];
    for &value in values {
        let mut memory = [guard, T::default(), guard];
        let place = (&raw mut memory).cast::<T>().wrapping_add(1);
        // SAFETY: the middle element of the array, which nobody else touches.
        unsafe { T::write_volatile(place, value) };
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
