//! The machine itself: which outcomes of the usual litmus tests it has.

use std::cell::Cell;

use xen_pac::access::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};
use xen_pac::access::atomic::{AtomicU32, AtomicU64, fence};

use crate::explore::{Scenario, check, explore};
use crate::machine::Bounds;

/// Two places of memory, and what the threads have read.
struct Cells {
    places: [AtomicU64; 2],
    read: [Cell<u32>; 4],
}

impl Cells {
    fn at(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the place is one of the two, aligned, and only atomics access it.
        unsafe { AtomicU32::from_ptr(std::ptr::from_ref(&self.places[index]).cast_mut().cast()) }
    }

    fn store(&self, index: usize, value: u32, order: Ordering) {
        self.at(index).store(value, order);
    }

    /// Loads a place, and notes the value.
    fn load(&self, note: usize, index: usize, order: Ordering) {
        self.read[note].set(self.at(index).load(order));
    }

    fn read(&self) -> [u32; 4] {
        [0, 1, 2, 3].map(|note| self.read[note].get())
    }

    fn now(&self, index: usize) -> u32 {
        self.at(index).load(Relaxed)
    }
}

/// Checks whether an execution has the weak outcome.
fn litmus(
    name: &str,
    expected: bool,
    cells: &Cells,
    weak: &dyn Fn() -> bool,
    threads: &[&dyn Fn()],
) {
    let outcome = explore(
        &Scenario {
            reset: &|| {
                cells.places.iter().for_each(|place| place.store(0, Relaxed));
                cells.read.iter().for_each(|read| read.set(9));
            },
            threads,
            end: &|| check(!weak(), "weak"),
            bounds: Bounds { preemptions: 3, late: 1, repeats: 9, accesses: [99; 4] },
        },
        None,
    );
    assert!(outcome.complete || outcome.failure.is_some(), "{name} is too large");
    assert_eq!(outcome.failure.is_some(), expected, "{name}");
}

#[test]
fn the_machine_has_the_outcomes_of_armv8() {
    let c = &Cells { places: Default::default(), read: Default::default() };
    for (weak, store, load) in
        [(true, Relaxed, Relaxed), (true, Release, Acquire), (false, SeqCst, SeqCst)]
    {
        let neither = || c.read()[..2] == [0, 0];
        litmus(
            &format!("store buffering, {store:?} and {load:?}"),
            weak,
            c,
            &neither,
            &[&|| (c.store(0, 1, store), c.load(0, 1, load)).1, &|| {
                (c.store(1, 1, store), c.load(1, 0, load)).1
            }],
        );
        let swap = if store == Release { AcqRel } else { store };
        litmus(
            &format!("store buffering by a swap, {swap:?} and {load:?}"),
            weak,
            c,
            &neither,
            &[
                &|| {
                    c.at(0).swap(1, swap);
                    c.load(0, 1, load);
                },
                &|| {
                    c.at(1).fetch_or(1, Release);
                    fence(SeqCst);
                    c.load(1, 0, Relaxed);
                },
            ],
        );
    }
    for (weak, order) in [(true, AcqRel), (false, SeqCst)] {
        let name = format!("store buffering with fences, {order:?}");
        litmus(
            &name,
            weak,
            c,
            &|| c.read()[..2] == [0, 0],
            &[
                &|| {
                    c.store(0, 1, Relaxed);
                    fence(order);
                    c.load(0, 1, Relaxed);
                },
                &|| {
                    c.store(1, 1, Relaxed);
                    fence(order);
                    c.load(1, 0, Relaxed);
                },
            ],
        );
    }
    for (release, acquire) in
        [(AcqRel, AcqRel), (Release, Acquire), (Release, Relaxed), (Acquire, Acquire)]
    {
        let weak = release == Acquire || acquire == Relaxed;
        let name = format!("message passing with fences, {release:?} and {acquire:?}");
        litmus(
            &name,
            weak,
            c,
            &|| c.read()[..2] == [1, 0],
            &[
                &|| {
                    c.store(0, 1, Relaxed);
                    fence(release);
                    c.store(1, 1, Relaxed);
                },
                &|| {
                    c.load(0, 1, Relaxed);
                    if acquire != Relaxed {
                        fence(acquire);
                    }
                    c.load(1, 0, Relaxed);
                },
            ],
        );
        let weak = acquire == Relaxed;
        let name = format!("load buffering with fences, {acquire:?}");
        litmus(
            &name,
            weak,
            c,
            &|| c.read()[..2] == [1, 1],
            &[
                &|| {
                    c.load(0, 1, Relaxed);
                    if acquire != Relaxed {
                        fence(acquire);
                    }
                    c.store(0, 1, Relaxed);
                },
                &|| {
                    c.load(1, 0, Relaxed);
                    if acquire != Relaxed {
                        fence(acquire);
                    }
                    c.store(1, 1, Relaxed);
                },
            ],
        );
    }
    for (store, load) in
        [(Relaxed, Relaxed), (Release, Relaxed), (Relaxed, Acquire), (Release, Acquire)]
    {
        let ordered = (store, load) == (Release, Acquire);
        litmus(
            &format!("message passing, {store:?} and {load:?}"),
            !ordered,
            c,
            &|| c.read()[..2] == [1, 0],
            &[&|| (c.store(0, 1, Relaxed), c.store(1, 1, store)).1, &|| {
                (c.load(0, 1, load), c.load(1, 0, Relaxed)).1
            }],
        );
        let relaxed = (store, load) == (Relaxed, Relaxed);
        litmus(
            &format!("load buffering, {store:?} and {load:?}"),
            relaxed,
            c,
            &|| c.read()[..2] == [1, 1],
            &[&|| (c.load(0, 1, load), c.store(0, 1, store)).1, &|| {
                (c.load(1, 0, load), c.store(1, 1, store)).1
            }],
        );
        let overwritten = || c.read()[0] == 1 && c.now(0) == 2;
        litmus(
            &format!("a store after a load, {store:?} and {load:?}"),
            !ordered && load == Relaxed || store == Relaxed,
            c,
            &overwritten,
            &[&|| (c.store(0, 2, Relaxed), c.store(1, 1, store)).1, &|| {
                (c.load(0, 1, load), c.store(0, 1, Relaxed)).1
            }],
        );
    }
    for (weak, order) in [(true, Relaxed), (false, Release)] {
        litmus(
            &format!("two stores each, {order:?}"),
            weak,
            c,
            &|| c.now(0) == 1 && c.now(1) == 1,
            &[&|| (c.store(0, 1, Relaxed), c.store(1, 2, order)).1, &|| {
                (c.store(1, 1, Relaxed), c.store(0, 2, order)).1
            }],
        );
    }
    litmus(
        "coherence",
        false,
        c,
        &|| c.read()[..2] == [2, 1],
        &[&|| (c.store(0, 1, Relaxed), c.store(0, 2, Relaxed)).1, &|| {
            (c.load(0, 0, Relaxed), c.load(1, 0, Relaxed)).1
        }],
    );
    // Acquires suffice, because a write is seen by all other threads at once.
    for (weak, order) in [(true, Relaxed), (false, Acquire)] {
        litmus(
            &format!("two observers, {order:?}"),
            weak,
            c,
            &|| c.read() == [1, 0, 1, 0],
            &[
                &|| c.store(0, 1, Relaxed),
                &|| c.store(1, 1, Relaxed),
                &|| (c.load(0, 0, order), c.load(1, 1, order)).1,
                &|| (c.load(2, 1, order), c.load(3, 0, order)).1,
            ],
        );
    }
    let halves = || {
        // SAFETY: as in `Cells::at`.
        unsafe {
            AtomicU32::from_ptr(std::ptr::from_ref(&c.places[0]).cast_mut().cast::<u32>().add(1))
        }
    };
    litmus(
        "a word sees its halves in order",
        false,
        c,
        &|| c.read()[0] > 1,
        &[&|| (c.store(0, 1, Relaxed), halves().store(1, Release)).1, &|| {
            let both = c.places[0].load(Relaxed);
            c.read[0].set(if both >> 32 == 1 && both as u32 == 0 { 2 } else { 0 });
        }],
    );
}
