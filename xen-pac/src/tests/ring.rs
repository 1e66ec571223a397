//! Compares buffers with a slice, and ring indices with counters that never wrap.

use proptest::prelude::*;

use super::block;
use crate::access::{EventRing, RingError, RingIndex};
use crate::console_ring::XenconsInterface;
use crate::{cameraif, displif, fbif, kbdif, sndif};

proptest! {
    #![proptest_config(super::property_config())]

    #[test]
    fn a_copy_agrees_with_a_slice(
        offset in 1000_usize..1048,
        count in 0_usize..48,
        seed: [u8; 32],
    ) {
        block!(console, XenconsInterface);
        let bytes = console.input();
        let (mut model, new, mut out) = ([0; 1024], [0xa5_u8; 48], [0_u8; 48]);
        model[992..].copy_from_slice(&seed);
        bytes.copy_from(992, &seed).unwrap();
        match model.get_mut(offset..offset + count) {
            Some(part) => {
                assert_eq!(bytes.copy_to(offset, &mut out[..count]), Ok(()));
                assert_eq!(&out[..count], &*part);
                part.copy_from_slice(&new[..count]);
                assert_eq!(bytes.copy_from(offset, &new[..count]), Ok(()));
            }
            None => {
                let error = bytes.copy_from(offset, &new[..count]).unwrap_err();
                let told = (error.offset(), error.count(), error.buffer_len());
                assert_eq!(told, (offset, count, 1024));
                assert_eq!(bytes.copy_to(offset, &mut out[..count]), Err(error));
                assert_eq!(out, [0; 48]);
            }
        }
        let mut whole = [0; 1024];
        bytes.copy_to(0, &mut whole).unwrap();
        assert_eq!(whole, model);
        let mut neighbour = [1; 2048];
        console.output().copy_to(0, &mut neighbour).unwrap();
        assert_eq!((neighbour, console.in_cons().load()), ([0; 2048], 0));
    }

    /// `produced` and `consumed` count all slots so far; the indices are their low bits.
    #[test]
    fn indices_agree_with_counters(order in 0..32_u32, consumed: u64, used: u64, at: u32) {
        let (size, used) = (1_usize << order, used % ((1 << order) + 1));
        let produced = consumed.wrapping_add(used);
        let indices = RingIndex::new(size, produced as u32, consumed as u32).unwrap();
        prop_assert_eq!(indices, RingIndex::clamped(size, produced as u32, consumed as u32));
        prop_assert_eq!((indices.used(), indices.free()), (used as usize, size - used as usize));
        prop_assert_eq!(
            (indices.producer(), indices.consumer()),
            (produced as u32, consumed as u32)
        );
        prop_assert_eq!(indices.wrap(at), at as usize % size);
    }

    #[test]
    fn a_peer_can_store_any_index(size: usize, order in 0..40_u32, own: u32, peer: u32) {
        for size in [size, 1_usize.checked_shl(order).unwrap_or(0)] {
            for (producer, consumer) in [(own, peer), (peer, own)] {
                let clamped = RingIndex::clamped(size, producer, consumer);
                match RingIndex::new(size, producer, consumer) {
                    Ok(indices) => prop_assert_eq!(indices, clamped),
                    Err(error) => {
                        prop_assert_eq!(error, RingError { size, producer, consumer });
                        let possible = size.is_power_of_two() && size <= 1 << 31;
                        let slots = if possible { size } else { 0 };
                        prop_assert_eq!((clamped.used(), clamped.free()), (slots, 0));
                        prop_assert!(!possible || clamped.wrap(peer) < size);
                    }
                }
            }
        }
    }

    #[test]
    fn a_copy_goes_around_the_end(index: u32, count in 0_usize..1100) {
        block!(console, XenconsInterface);
        let bytes = console.input();
        let seed: [u8; 1024] = core::array::from_fn(|at| at as u8);
        bytes.copy_from(0, &seed).unwrap();
        let (mut model, mut out) = (seed, [0; 1100]);
        let new: [u8; 1100] = core::array::from_fn(|at| at as u8 ^ 0xa5);
        let result = bytes.copy_to_wrapping(index, &mut out[..count]);
        assert_eq!(result, bytes.copy_from_wrapping(index, &new[..count]));
        assert_eq!(result.is_ok(), count <= 1024);
        for at in 0..if count <= 1024 { count } else { 0 } {
            let place = (index as usize + at) % 1024;
            assert_eq!(out[at], seed[place]);
            model[place] = new[at];
        }
        let mut whole = [0; 1024];
        bytes.copy_to(0, &mut whole).unwrap();
        assert_eq!(whole, model);
    }
}

#[test]
fn an_offset_that_wraps_around_is_out_of_bounds() {
    block!(console, XenconsInterface);
    let bytes = console.input();
    assert_eq!(bytes.copy_to(usize::MAX, &mut [0; 2]).unwrap_err().offset(), usize::MAX);
    assert!(bytes.copy_from(1025, &[]).is_err());
    assert_eq!(bytes.copy_from(1024, &[]), Ok(()));
    assert_eq!(bytes.len(), 1024);
    assert!(!bytes.is_empty());
    assert_eq!(bytes.copy_to_wrapping(5, &mut [0; 1024]), Ok(()));
    let indices = std::format!("{:?} {:?}", console.in_cons(), console.in_prod());
    assert_eq!(indices, "OwnIndex(0) PeerIndex(0)");
    assert_eq!(RingIndex::clamped(5, 9, 8).used(), 0);
    assert_eq!(
        std::format!("{}", bytes.copy_from(1023, &[1, 2]).unwrap_err()),
        "expected a range within 1024 bytes, found 2 bytes from offset 1023 on"
    );
}

/// Tests the ring of the crate's front page with the indices of a hostile peer, and at its last
/// byte.
#[test]
fn the_console_takes_a_message_at_its_end_and_none_from_a_bad_peer() {
    block!(ring, XenconsInterface);
    let print = |message: &[u8]| {
        let (output, produced) = (ring.output(), ring.out_prod().load());
        let indices = RingIndex::new(output.len(), produced, ring.out_cons().load()).ok()?;
        if indices.free() < message.len() {
            return None;
        }
        output.copy_from_wrapping(produced, message).ok()?;
        ring.out_prod().publish(produced.wrapping_add(message.len() as u32));
        Some(indices.wrap(produced))
    };
    ring.out_cons().other_side().publish(5);
    assert_eq!(print(b"hi"), None);

    let last = ring.output().len() as u32 - 1;
    ring.out_prod().publish(last);
    ring.out_cons().other_side().publish(last);
    assert_eq!(print(b"hi"), Some(last as usize));
    let (mut first, mut end) = ([0], [0]);
    ring.output().copy_to(0, &mut first).unwrap();
    ring.output().copy_to(last as usize, &mut end).unwrap();
    assert_eq!((&end, &first), (b"h", b"i"));
    let error = RingIndex::new(2048, 0, 5).unwrap_err();
    assert_eq!(
        std::format!("{error}"),
        "ring indices: expected at most 2048 slots in use, found 4294967291: producer 0, consumer 5"
    );
}

/// Checks the ring of events whose start, length and bytes are those of a header.
fn lies_in_its_page<E>([start, len, bytes]: [u32; 3]) {
    let (ring, event) = (EventRing::new::<E>(start, len).unwrap(), size_of::<E>());
    assert_eq!(ring.len(), len as usize);
    assert_eq!(ring.offset(0), start as usize);
    // The rest is too small for another event.
    let end = ring.offset(len - 1) + event;
    assert!(end <= (start + bytes) as usize && end + event > (start + bytes) as usize);
    assert_eq!(ring.offset(len), start as usize);
    assert_eq!(ring.offset(u32::MAX), start as usize + (u32::MAX % len) as usize * event);
    assert_eq!(ring.used(3, u32::MAX), Some(4));
    assert_eq!([ring.used(len, 0), ring.used(len + 1, 0)], [Some(len as usize), None]);
    assert_eq!(ring.used(0, 1), None);
}

#[test]
fn the_rings_of_events_lie_in_their_pages() {
    macro_rules! ring {
        ($file:ident::$event:ident, $start:ident, $len:ident, $bytes:ident) => {
            lies_in_its_page::<$file::$event>([$file::$start, $file::$len, $file::$bytes]);
        };
    }
    ring!(kbdif::XenkbdInEvent, XENKBD_IN_RING_OFFS, XENKBD_IN_RING_LEN, XENKBD_IN_RING_SIZE);
    ring!(kbdif::XenkbdOutEvent, XENKBD_OUT_RING_OFFS, XENKBD_OUT_RING_LEN, XENKBD_OUT_RING_SIZE);
    ring!(fbif::XenfbInEvent, XENFB_IN_RING_OFFS, XENFB_IN_RING_LEN, XENFB_IN_RING_SIZE);
    ring!(fbif::XenfbOutEvent, XENFB_OUT_RING_OFFS, XENFB_OUT_RING_LEN, XENFB_OUT_RING_SIZE);
    ring!(displif::XendisplEvt, XENDISPL_IN_RING_OFFS, XENDISPL_IN_RING_LEN, XENDISPL_IN_RING_SIZE);
    ring!(sndif::XensndEvt, XENSND_IN_RING_OFFS, XENSND_IN_RING_LEN, XENSND_IN_RING_SIZE);
    ring!(
        cameraif::XencameraEvt,
        XENCAMERA_IN_RING_OFFS,
        XENCAMERA_IN_RING_LEN,
        XENCAMERA_IN_RING_SIZE
    );
    assert_eq!(EventRing::new::<()>(0, 1), None);
    assert_eq!(EventRing::new::<[u8; 4097]>(0, 1), None);
    for (start, len) in [(0, 0), (0, 65), (1, 64), (4097, 1), (u32::MAX, 2), (0, u32::MAX)] {
        assert_eq!(EventRing::new::<[u8; 64]>(start, len), None);
    }
    assert_eq!(EventRing::new::<[u8; 64]>(0, 64).map(EventRing::len), Some(64));
}
