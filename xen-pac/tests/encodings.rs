//! Compares the encoding of the event callback with independent formulas, and with those of
//! OpenBSD's `xenreg.h`.
#![allow(missing_docs, reason = "a test")]

use proptest::prelude::*;
use xen_pac::hvm::{CallbackVia, CallbackViaVariant};

/// The values of the macros of `xenreg.h`: the kind in bits 63:56, and a line, or a device's slot
/// and pin.
mod xenreg {
    pub(super) const fn gsi(gsi: u64) -> u64 {
        gsi & 0xffff_ffff
    }

    pub(super) const fn pci_intx(slot: u64, pin: u64) -> u64 {
        1 << 56 | (slot & 0x1f) << 11 | pin & 3
    }

    #[cfg(not(target_arch = "aarch64"))]
    pub(super) const fn vector(vector: u64) -> u64 {
        2 << 56 | vector & 0xffff_ffff
    }
}

/// Encodes the decoded variant again.
fn rebuilt(via: CallbackVia) -> Option<CallbackVia> {
    match via.variant() {
        CallbackViaVariant::None => Some(CallbackVia::NONE),
        CallbackViaVariant::Gsi { gsi } => CallbackVia::gsi(gsi).ok(),
        CallbackViaVariant::PciIntx { domain, bus, devfn, pin } => {
            CallbackVia::pci_intx(domain, bus, devfn, pin).ok()
        }
        #[cfg(not(target_arch = "aarch64"))]
        CallbackViaVariant::Vector { vector } => CallbackVia::vector(vector).ok(),
        #[cfg(target_arch = "aarch64")]
        CallbackViaVariant::Ppi { number, edge, low_level } => {
            CallbackVia::ppi(number, edge, low_level).ok()
        }
    }
}

/// Whether Xen documents the word as a callback, computed independently of the decoder.
fn is_documented(word: u64) -> bool {
    let [b0, b1, .., kind] = word.to_le_bytes();
    match kind {
        0 => word <= 255,
        1 => word & 0xfc == 0 && word.to_le_bytes()[6] == 0,
        #[cfg(not(target_arch = "aarch64"))]
        2 => b1 == 0 && word << 8 >> 24 == 0 && b0 >= 32,
        #[cfg(target_arch = "aarch64")]
        2 => b1 < 4 && word << 8 >> 24 == 0 && (16..32).contains(&b0),
        _ => false,
    }
}

/// Words, many of which are valid or nearly valid.
fn words() -> impl Strategy<Value = u64> {
    let kind = prop_oneof![Just(0_u64), Just(1), Just(2), 0..256_u64];
    let rest = prop_oneof![
        0..256_u64,
        0..0x1000_u64,
        any::<u64>().prop_map(|word| word & 0xffff_ffff_ff03),
        any::<u64>().prop_map(|word| word >> 8)
    ];
    (kind, rest).prop_map(|(kind, rest)| kind << 56 | rest)
}

proptest! {
    #[test]
    fn what_decodes_is_what_is_documented(word in words()) {
        match CallbackVia::decode(word) {
            Ok(via) => {
                prop_assert!(is_documented(word), "{word:#x} was decoded");
                prop_assert_eq!(via.encode(), word);
                prop_assert_eq!(rebuilt(via), Some(via));
            }
            Err(error) => {
                prop_assert!(!is_documented(word), "{word:#x} was refused");
                prop_assert_eq!(error.value(), word);
            }
        }
    }

    #[test]
    fn a_pin_is_built_if_and_only_if_it_fits(domain: u16, bus: u16, devfn: u8, pin: u8) {
        match CallbackVia::pci_intx(domain, bus, devfn, pin) {
            Ok(via) => {
                prop_assert!(pin < 4);
                let function = u64::from(devfn) * 0x100 + u64::from(pin);
                let place = u64::from(domain) * 0x1_0000_0000 + u64::from(bus) * 0x1_0000;
                let word = 0x0100_0000_0000_0000 + place + function;
                prop_assert_eq!(via.encode(), word);
                prop_assert_eq!(CallbackVia::decode(word), Ok(via));
                let variant = CallbackViaVariant::PciIntx { domain, bus, devfn, pin };
                prop_assert_eq!(via.variant(), variant);
            }
            Err(error) => {
                prop_assert!(pin > 3);
                prop_assert_eq!((error.field(), error.bounds()), ("pin", (0, 3)));
                prop_assert_eq!(error.value(), u64::from(pin));
            }
        }
    }

    #[test]
    fn a_line_is_built_if_and_only_if_xen_would_keep_it(
        gsi in prop_oneof![0..300_u64, any::<u64>()],
    ) {
        match CallbackVia::gsi(gsi) {
            Ok(via) => {
                prop_assert!((1..=255).contains(&gsi));
                prop_assert_eq!(via.encode(), xenreg::gsi(gsi));
                prop_assert_eq!(CallbackVia::decode(gsi), Ok(via));
            }
            Err(error) => prop_assert!(!(1..=255).contains(&gsi), "{error}"),
        }
    }
}

#[test]
fn the_slots_of_xenreg_are_the_same_words() {
    for slot in 0..32 {
        for pin in 0..4 {
            let via = CallbackVia::pci_intx(0, 0, slot << 3, pin).unwrap();
            assert_eq!(via.encode(), xenreg::pci_intx(u64::from(slot), u64::from(pin)));
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
#[test]
fn every_vector_is_that_of_xenreg_or_refused() {
    for vector in 0..=u8::MAX {
        match CallbackVia::vector(vector) {
            Ok(via) => {
                assert!(vector >= 32);
                assert_eq!(via.encode(), xenreg::vector(u64::from(vector)));
                assert_eq!(CallbackVia::decode(via.encode()), Ok(via));
                assert_eq!(via.variant(), CallbackViaVariant::Vector { vector });
            }
            Err(error) => assert!(vector < 32 && error.value() == u64::from(vector)),
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn every_private_interrupt_comes_back() {
    for (number, edge, low_level) in (0..=u8::MAX)
        .flat_map(|number| (0..4).flat_map(move |edge| (0..4).map(move |low| (number, edge, low))))
    {
        match CallbackVia::ppi(number, edge, low_level) {
            Ok(via) => {
                assert!((16..32).contains(&number) && edge < 2 && low_level < 2);
                assert_eq!(
                    via.encode(),
                    2 << 56 | u64::from(low_level) << 9 | u64::from(edge) << 8 | u64::from(number)
                );
                assert_eq!(via.variant(), CallbackViaVariant::Ppi { number, edge, low_level });
            }
            Err(error) => {
                assert!(!(16..32).contains(&number) || edge > 1 || low_level > 1, "{error}")
            }
        }
    }
}

#[test]
fn no_callback_is_zero() {
    assert_eq!(CallbackVia::NONE.encode(), 0);
    assert_eq!(CallbackVia::decode(0), Ok(CallbackVia::NONE));
    assert_eq!(CallbackVia::NONE.variant(), CallbackViaVariant::None);
}
