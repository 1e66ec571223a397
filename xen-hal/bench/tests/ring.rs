//! A ring gives the same results and leaves the same page as its twin in C, whatever the backend
//! writes to it. Long copies are those of slices.

use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use xen_hal::grant::PageMemory;
use xen_hal::platform::PAGE_SIZE;
use xen_hal::ring::{FrontRing, Protocol};
use xen_hal_bench::fixture::{page, ring, twin_ring};
use xen_hal_bench::ring::{self as ours, Blk, Net, Ring, twin};
use xen_pac::access::Data;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Pushes a request whose words follow from this one.
    Push(u32),
    Pop,
    Publish,
    Rearm,
    /// The backend produces up to this many responses, or claims to.
    Answer(u32),
    /// The backend writes any word of the page.
    Write(usize, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u32>().prop_map(Step::Push),
        6 => Just(Step::Pop),
        2 => Just(Step::Publish),
        2 => Just(Step::Rearm),
        4 => (0..40_u32).prop_map(Step::Answer),
        1 => (0..1024_usize, any::<u32>()).prop_map(|(word, value)| Step::Write(word, value)),
        1 => (0..4_usize, any::<u32>()).prop_map(|(word, value)| Step::Write(word, value)),
    ]
}

/// A protocol with the functions that are compared.
struct Side<P: Protocol> {
    push: fn(&mut Ring<P>, &P::Request) -> bool,
    pop: fn(&mut Ring<P>, &mut P::Response) -> bool,
    twin_push: unsafe extern "C" fn(*mut twin::Front, *const P::Request) -> bool,
    twin_pop: unsafe extern "C" fn(*mut twin::Front, *mut P::Response) -> bool,
}

fn words<'a>(page: *mut PageMemory) -> &'a [AtomicU32] {
    // SAFETY: the page is leaked, and it is accessed between the calls only.
    unsafe { slice::from_raw_parts(page.cast(), PAGE_SIZE / 4) }
}

fn bytes<T: Data>(value: &T) -> &[u8] {
    // SAFETY: a type that is `Data` has no padding.
    unsafe { slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

fn value<T: Data>(first: u32) -> T {
    let mut value = T::ZEROED;
    for index in 0..size_of::<T>() / 4 {
        let word = first.wrapping_mul(index as u32 + 1);
        // SAFETY: the value has this word, and any bytes are a value of it.
        unsafe { (&raw mut value).cast::<u32>().add(index).write_unaligned(word) };
    }
    value
}

fn compare<P: Protocol>(side: &Side<P>, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut front, mut twin) = (ring::<P>(0, 0, true), twin_ring::<P>(0, 0, true));
    let pages = [front.memory().bytes().as_ptr().as_ptr(), twin.shared];
    for step in steps {
        match *step {
            Step::Push(first) => {
                let request = value::<P::Request>(first);
                // SAFETY: the page stays for ever.
                let pushed = unsafe { (side.twin_push)(&raw mut twin, &raw const request) };
                prop_assert_eq!((side.push)(&mut front, &request), pushed);
            }
            Step::Pop => {
                let [mut ours, mut theirs] = [P::Response::ZEROED; 2];
                let popped = (side.pop)(&mut front, &mut ours);
                // SAFETY: as above.
                prop_assert_eq!(popped, unsafe { (side.twin_pop)(&raw mut twin, &raw mut theirs) });
                prop_assert_eq!(bytes(&ours), bytes(&theirs));
            }
            // SAFETY: as above.
            Step::Publish => {
                prop_assert_eq!(front.publish(), unsafe { twin::twin_publish(&raw mut twin) })
            }
            // SAFETY: as above.
            Step::Rearm => {
                prop_assert_eq!(front.rearm(), unsafe { twin::twin_rearm(&raw mut twin) })
            }
            Step::Answer(count) => {
                let produced = twin.taken.wrapping_add(count);
                pages.iter().for_each(|page| words(*page)[2].store(produced, Ordering::Relaxed));
            }
            Step::Write(word, value) => {
                pages.iter().for_each(|page| words(*page)[word].store(value, Ordering::Relaxed));
            }
        }
        let [ours, theirs] = pages.map(|page| {
            words(page).iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>()
        });
        prop_assert_eq!(ours, theirs);
        let entries = FrontRing::<xen_hal::grant::Grant<'static>, P>::ENTRIES;
        let outstanding = twin.pushed.wrapping_sub(twin.taken) as usize;
        prop_assert_eq!((front.outstanding(), front.free()), (outstanding, entries - outstanding));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_disks_ring_is_that_of_c(steps in prop::collection::vec(step(), 1..300)) {
        let side = Side::<Blk> {
            push: |ring, request| ours::push_blk(ring, request).is_ok(),
            pop: ours::pop_blk,
            twin_push: twin::twin_push_blk,
            twin_pop: twin::twin_pop_blk,
        };
        compare(&side, &steps)?;
    }

    #[test]
    fn a_network_interfaces_ring_is_that_of_c(steps in prop::collection::vec(step(), 1..900)) {
        let side = Side::<Net> {
            push: |ring, request| ours::push_net(ring, request).is_ok(),
            pop: ours::pop_net,
            twin_push: twin::twin_push_net,
            twin_pop: twin::twin_pop_net,
        };
        compare(&side, &steps)?;
    }

    #[test]
    fn copies_are_those_of_slices(
        copies in prop::collection::vec((0..=PAGE_SIZE, 0..=PAGE_SIZE, any::<u8>()), 1..8),
    ) {
        let (page, mut model) = (page(1), vec![0; PAGE_SIZE]);
        for (offset, count, first) in copies {
            let bytes: Vec<u8> = (0..count).map(|at| first.wrapping_add((at * 7) as u8)).collect();
            let place = model.get_mut(offset..offset + count);
            prop_assert_eq!(page.copy_from(offset, &bytes).is_ok(), place.is_some());
            if let Some(place) = place {
                place.copy_from_slice(&bytes);
            }
            let (mut all, mut part) = ([0; PAGE_SIZE], vec![0; count]);
            page.copy_to(0, &mut all).unwrap();
            prop_assert!(all[..] == model[..]);
            match page.copy_to(offset, &mut part) {
                Ok(()) => prop_assert!(part[..] == model[offset..offset + count]),
                Err(_) => prop_assert!(offset + count > PAGE_SIZE),
            }
        }
    }
}

#[test]
fn a_page_is_copied_as_in_c() {
    let (page, from) = (page(1), core::array::from_fn(|at| (at * 31 >> 3) as u8));
    let (mut out, mut twin) = ([0; PAGE_SIZE], [1; PAGE_SIZE]);
    ours::copy_in(&page, &from).unwrap();
    ours::copy_out(&page, &mut out).unwrap();
    // SAFETY: neither overlaps the other.
    unsafe { twin::twin_copy(twin.as_mut_ptr(), from.as_ptr(), PAGE_SIZE) };
    assert!(out == from && twin == from);
}
