//! Tests both ends of a shared ring in one page, with honest and with hostile peers.

use super::{BackRing, FrontRing, Protocol, RingFullError, RingPage};
use crate::grant::PageMemory;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use proptest::prelude::*;
use std::boxed::Box;
use std::vec::Vec;

/// Requests of 12 bytes and responses of 4, as in the transmit ring of a network interface.
struct Small;

impl Protocol for Small {
    type Request = [u32; 3];
    type Response = u32;
}

/// Requests of 112 bytes and responses of 16, as in the ring of a disk.
struct Large;

impl Protocol for Large {
    type Request = [u64; 14];
    type Response = [u64; 2];
}

#[derive(Clone, Copy)]
struct Memory(NonNull<PageMemory>);

// SAFETY: the page is leaked, and used by the ends of one ring on one thread.
unsafe impl RingPage for Memory {
    fn page(&self) -> NonNull<PageMemory> {
        self.0
    }
}

impl Memory {
    fn new() -> Self {
        Self(NonNull::from(Box::leak(Box::new(PageMemory::new()))))
    }

    /// Returns a word of the page, for an end that breaks the protocol.
    fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < 1024);
        // SAFETY: the word lies within the page.
        let word = unsafe { self.0.cast::<AtomicU32>().add(index) };
        // SAFETY: the page is never freed, and all of it is accessed by atomics.
        unsafe { word.as_ref() }
    }
}

fn ring<P: Protocol>() -> (FrontRing<Memory, P>, BackRing<Memory, P>, Memory) {
    let memory = Memory::new();
    (0..1024).for_each(|word| memory.word(word).store(0xdead_beef, Ordering::Relaxed));
    (FrontRing::new(memory), BackRing::new(memory), memory)
}

#[test]
fn as_many_entries_fit_as_in_c() {
    assert_eq!(FrontRing::<Memory, Large>::ENTRIES, 32);
    assert_eq!(FrontRing::<Memory, Small>::ENTRIES, 256);
    struct Receive;
    impl Protocol for Receive {
        type Request = [u32; 2];
        type Response = [u16; 4];
    }
    assert_eq!(BackRing::<Memory, Receive>::ENTRIES, 256);
}

#[test]
fn entries_arrive_whole_and_in_order() {
    let (mut front, mut back, _) = ring::<Large>();
    let request = |number: u64| core::array::from_fn(|index| number << 8 | index as u64);
    // Often enough for the indices to pass the ring's end many times.
    let (mut asked, mut answered) = (0, 0);
    for round in 0..200_u64 {
        for _ in 0..=round % 32 {
            front.push(&request(asked)).unwrap();
            asked += 1;
        }
        assert!(front.publish());
        while let Some(taken) = back.pop() {
            assert_eq!(taken, request(answered));
            back.push(&[answered, !answered]).unwrap();
            answered += 1;
        }
        assert_eq!((back.push(&[0; 2]), back.outstanding()), (Err(RingFullError), 0));
        assert!(!back.rearm());
        assert!(back.publish());
        let first = answered - 1 - round % 32;
        for number in first..answered {
            assert_eq!(front.pop(), Some([number, !number]));
        }
        assert_eq!((front.pop(), front.rearm()), (None, false));
        assert_eq!((front.free(), front.outstanding()), (32, 0));
    }
}

#[test]
fn a_full_ring_takes_nothing_and_what_is_not_published_is_not_seen() {
    let (mut front, mut back, _) = ring::<Small>();
    for number in 0..256 {
        front.push(&[number; 3]).unwrap();
    }
    assert_eq!((front.push(&[0; 3]), front.free()), (Err(RingFullError), 0));
    assert_eq!(back.pop(), None);
    assert!(front.publish() && !front.publish());
    assert_eq!(back.pop(), Some([0; 3]));
    back.push(&7).unwrap();
    assert_eq!(front.pop(), None);
    let _ = back.publish();
    assert_eq!((front.pop(), front.free()), (Some(7), 1));
}

/// One step of one end.
#[derive(Clone, Debug)]
enum Turn {
    /// The frontend pushes so many requests and publishes them.
    Ask(u8),
    /// The frontend takes so many responses.
    Take(u8),
    /// The frontend takes all responses and sleeps if it may.
    FrontSleeps,
    /// The backend takes so many requests and answers as many.
    Answer(u8, u8),
    /// The backend answers all requests and sleeps if it may.
    BackSleeps,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        (0..40_u8).prop_map(Turn::Ask),
        (0..40_u8).prop_map(Turn::Take),
        Just(Turn::FrontSleeps),
        (0..40_u8, 0..40_u8).prop_map(|(take, answer)| Turn::Answer(take, answer)),
        Just(Turn::BackSleeps),
    ]
}

/// Two ends, each of which acts only while it does not sleep.
struct Conversation {
    front: FrontRing<Memory, Large>,
    back: BackRing<Memory, Large>,
    front_awake: bool,
    back_awake: bool,
    asked: u64,
    taken: Vec<u64>,
    responses: u64,
}

impl Conversation {
    fn turn(&mut self, turn: &Turn) {
        match *turn {
            Turn::Ask(count) if self.front_awake => {
                for _ in 0..count {
                    if self.front.push(&[self.asked; 14]).is_ok() {
                        self.asked += 1;
                    }
                }
                self.back_awake |= self.front.publish();
            }
            Turn::Take(count) if self.front_awake => {
                for _ in 0..count {
                    self.take();
                }
            }
            Turn::FrontSleeps if self.front_awake => {
                while self.take() {}
                self.front_awake = self.front.rearm();
            }
            Turn::Answer(take, answer) if self.back_awake => {
                (0..take).for_each(|_| self.taken.extend(self.back.pop().map(|r| r[13])));
                self.answer(answer.into());
            }
            Turn::BackSleeps if self.back_awake => {
                while let Some(request) = self.back.pop() {
                    self.taken.push(request[13]);
                }
                self.answer(usize::MAX);
                self.back_awake = self.back.rearm();
            }
            _ => {}
        }
    }

    fn take(&mut self) -> bool {
        let response = self.front.pop();
        if let Some([number, _]) = response {
            assert_eq!(number, self.responses);
            self.responses += 1;
        }
        response.is_some()
    }

    fn answer(&mut self, count: usize) {
        for number in self.taken.drain(..count.min(self.taken.len())) {
            self.back.push(&[number, 0]).unwrap();
        }
        self.front_awake |= self.back.publish();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A notification wakes a sleeping end that has work: finally every request has its response.
    #[test]
    fn no_end_sleeps_while_it_should_work(turns in prop::collection::vec(turn(), 0..60)) {
        let (front, back, _) = ring();
        let mut both = Conversation {
            front, back, front_awake: true, back_awake: true,
            asked: 0, taken: Vec::new(), responses: 0,
        };
        turns.iter().for_each(|turn| both.turn(turn));
        while both.front_awake || both.back_awake {
            both.turn(&Turn::BackSleeps);
            both.turn(&Turn::FrontSleeps);
        }
        prop_assert_eq!(both.responses, both.asked);
        prop_assert_eq!(both.front.outstanding(), 0);
    }

    /// With a backend that writes any value anywhere, there are never more responses than requests,
    /// and the frontend can always push as many requests as the ring has entries.
    #[test]
    fn a_hostile_backend_is_survived(
        acts in prop::collection::vec((0..6_u8, 0..4_usize, any::<u32>()), 0..80)
    ) {
        let (mut front, _, memory) = ring::<Small>();
        let (mut published, mut taken, mut pushed) = (0_usize, 0, 0);
        for (act, word, value) in acts {
            match act {
                0 => pushed += usize::from(front.push(&[value; 3]).is_ok()),
                1 => { let _ = front.publish(); published = pushed; }
                2 => taken += usize::from(front.pop().is_some()),
                3 => { let _ = front.rearm(); }
                // A number near the end's own index, or any number.
                4 => {
                    let index = (taken as u32).wrapping_add(value % 512);
                    memory.word(word).store(index, Ordering::Relaxed);
                }
                _ => memory.word(word).store(value, Ordering::Relaxed),
            }
            prop_assert!(taken <= published && pushed - taken <= 256);
            prop_assert_eq!(front.free() + front.outstanding(), 256);
        }
    }

    /// The same with a hostile frontend.
    #[test]
    fn a_hostile_frontend_is_survived(
        acts in prop::collection::vec((0..6_u8, 0..4_usize, any::<u32>()), 0..80)
    ) {
        let (_, mut back, memory) = ring::<Small>();
        let (mut taken, mut answered) = (0_usize, 0);
        for (act, word, value) in acts {
            match act {
                0 => taken += usize::from(back.pop().is_some()),
                1 => answered += usize::from(back.push(&value).is_ok()),
                2 => { let _ = back.publish(); }
                3 => { let _ = back.rearm(); }
                4 => {
                    let index = (taken as u32).wrapping_add(value % 512);
                    memory.word(word).store(index, Ordering::Relaxed);
                }
                _ => memory.word(word).store(value, Ordering::Relaxed),
            }
            prop_assert!(answered <= taken && taken - answered <= 256);
            prop_assert_eq!(back.outstanding(), taken - answered);
        }
    }
}

#[cfg(any(feature = "blk", feature = "net"))]
mod device_page {
    use super::super::DevicePage;
    use super::*;
    use crate::grant::{Access, GrantRefAllocator, GrantTable, Page};
    use crate::platform::{AddressSpace, Frame};
    use crate::testing::Script;
    use xen_pac::base::Domid;

    /// Maps every page to one frame.
    struct Space;

    // SAFETY: the script touches no frame.
    unsafe impl AddressSpace for Space {
        fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
            Some(Frame(7))
        }
    }

    #[test]
    fn a_page_that_a_driver_recovers_is_cleared() {
        let refs = Box::leak(Box::new(GrantRefAllocator::<1>::new()));
        let place = Memory::new().page().cast();
        // SAFETY: the page is leaked, and used by the table alone.
        let table = unsafe { GrantTable::mapped(Script::new(), Space, place, refs, 1) }.unwrap();
        let page = Page::new(&Space, Box::leak(Box::new(PageMemory::new()))).unwrap();
        page.copy_from(4000, b"secret").unwrap();
        let grant = table.lend(page, Domid(1), Access::ReadWrite).unwrap();
        let mut page = DevicePage::from(grant.defer());
        assert!(page.is_free(&table));
        let mut found = [1; 6];
        page.bytes().unwrap().copy_to(4000, &mut found).unwrap();
        assert_eq!(found, [0; 6]);
    }
}
