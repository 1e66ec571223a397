//! Each target once on fixed inputs, without a fuzzer.

use crate::{answers, bytes, clock, devices, dispatch, drivers, revoke};

const TARGETS: [fn(&[u8]); 7] =
    [answers::run, bytes::run, clock::run, devices::run, dispatch::run, drivers::run, revoke::run];

/// Bytes without a pattern, the same each time.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) | 1;
    let step = |_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..600).map(step).collect()
}

#[test]
fn the_targets_find_nothing_in_plain_inputs() {
    for target in TARGETS {
        target(&[]);
        for byte in 0..=u8::MAX {
            target(&[byte; 200]);
        }
    }
}

#[test]
fn the_targets_find_nothing_in_noise() {
    for target in TARGETS {
        (0..300).map(noise).for_each(|input| target(&input));
    }
}
