//! Tests on a start info in one slice of memory.

use super::{COMMAND_LINE_MAX, StartInfo, StartInfoError, identity};
use crate::platform::PAGE_SIZE;
use proptest::prelude::*;
use std::vec::Vec;
use std::{format, vec};
use xen_pac::start_info::{HvmMemmapType, XEN_HVM_START_MAGIC_VALUE, start_flags};

/// Where the test's memory begins.
const BASE: u64 = 0x10_0000;

fn memory<'a>(bytes: &'a [u8]) -> impl Fn(u64, usize) -> Option<&'a [u8]> + Copy {
    move |address, length| {
        let first = usize::try_from(address.checked_sub(BASE)?).ok()?;
        bytes.get(first..first.checked_add(length)?)
    }
}

/// Returns a start info at the start of two pages, as fields of 32 bits; the command line at 0x100,
/// two modules at 0x200, a map of two ranges at 0x300, a module's bytes at 0x400.
fn image(version: u32) -> Vec<u8> {
    let mut image = vec![0; 2 * PAGE_SIZE];
    let at = |offset: u64| BASE + offset;
    let put = |image: &mut Vec<u8>, offset: usize, words: &[u64]| {
        for (index, word) in words.iter().enumerate() {
            image[offset + 8 * index..][..8].copy_from_slice(&word.to_le_bytes());
        }
    };
    let head = u64::from(version) << 32 | u64::from(XEN_HVM_START_MAGIC_VALUE);
    put(&mut image, 0, &[head, 2 << 32 | 3, at(0x200), at(0x100), 0xfc00_0000, at(0x300), 2]);
    image[0x100..0x10a].copy_from_slice(b"root=xvda\0");
    put(&mut image, 0x200, &[at(0x400), 5, at(0x100), 0, at(0x400), 0, 0, 0]);
    put(&mut image, 0x300, &[0, 0xa_0000, 1, 0xfeff_8000, 0x8000, 2]);
    image[0x400..0x405].copy_from_slice(b"hello");
    image
}

#[test]
fn everything_is_found() {
    let image = image(1);
    let info = StartInfo::read(BASE, memory(&image)).unwrap();
    assert_eq!((info.version(), info.rsdp()), (1, Some(0xfc00_0000)));
    assert!(info.flags().is_set(start_flags::INITDOMAIN));
    assert_eq!(info.command_line(), Ok(c"root=xvda"));

    let modules: Vec<_> = info.modules().unwrap().collect();
    assert_eq!(
        modules.iter().map(|module| module.data()).collect::<Vec<_>>(),
        [Ok(&b"hello"[..]), Ok(&[][..])]
    );
    assert_eq!((modules[0].address(), modules[0].size()), (BASE + 0x400, 5));
    assert_eq!(modules[0].command_line(), Ok(c"root=xvda"));
    assert_eq!(modules[1].command_line(), Ok(c""));

    let map: Vec<_> = info.memory_map().unwrap().unwrap().collect();
    assert_eq!(
        format!("{map:?}"),
        "[MapEntry(0x0 + 0xa0000: RAM), MapEntry(0xfeff8000 + 0x8000: RESERVED)]"
    );
    assert_eq!(map[0].kind(), HvmMemmapType::RAM);
}

#[test]
fn version_0_ends_before_the_memory_map() {
    // Its last byte is the last that can be read.
    let image = image(0);
    let info = StartInfo::read(BASE, memory(&image[..40])).unwrap();
    assert_eq!(info.version(), 0);
    assert!(info.memory_map().unwrap().is_none());
    let cut = StartInfo::read(BASE, memory(&image[..39])).unwrap_err();
    assert_eq!(cut, StartInfoError::Unreadable { address: BASE, length: 40 });
    // Version 1 without a map, and cut off within its fields.
    let mut without = self::image(1);
    without[48..52].fill(0);
    let info = StartInfo::read(BASE, memory(&without)).unwrap();
    assert!(info.memory_map().unwrap().is_none());
    let cut = StartInfo::read(BASE, memory(&without[..55])).unwrap_err();
    assert_eq!(cut, StartInfoError::Unreadable { address: BASE, length: 56 });
}

#[test]
fn what_is_damaged_is_an_error() {
    let mut image = image(1);
    let unreadable = |address, length| Some(StartInfoError::Unreadable { address, length });

    let modules = |image: &[u8]| StartInfo::read(BASE, memory(image)).unwrap().modules().err();
    image[12..16].fill(0xff);
    assert_eq!(modules(&image), unreadable(BASE + 0x200, 32 * u64::from(u32::MAX)));
    // A list at 0 of some modules.
    image[12..24].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(modules(&image), unreadable(0, 32));

    let data = |image: &[u8]| {
        let info = StartInfo::read(BASE, memory(image)).unwrap();
        info.modules().unwrap().next().unwrap().data().err()
    };
    let mut image = self::image(1);
    image[0x208..0x210].fill(0xff);
    assert_eq!(data(&image), unreadable(BASE + 0x400, u64::MAX));

    let map = |image: &[u8]| StartInfo::read(BASE, memory(image)).unwrap().memory_map().err();
    let mut image = self::image(1);
    image[40..48].fill(0xff);
    assert_eq!(map(&image), unreadable(u64::MAX, 48));

    image[0] ^= 1;
    let magic = XEN_HVM_START_MAGIC_VALUE ^ 1;
    assert_eq!(StartInfo::read(BASE, memory(&image)).unwrap_err(), StartInfoError::BadMagic(magic));
    assert_eq!(
        StartInfo::read(0, memory(&image)).unwrap_err(),
        StartInfoError::Unreadable { address: 0, length: 40 }
    );
}

#[test]
fn a_command_line_ends_or_is_an_error() {
    // It ends with the memory, on its last byte; and on the byte behind it.
    let mut image = image(1);
    image[0x100..].fill(b'x');
    let last = image.len() - 1;
    image[last] = 0;
    let info = StartInfo::read(BASE, memory(&image)).unwrap();
    assert_eq!(info.command_line().unwrap().count_bytes(), last - 0x100);
    image[last] = b'x';
    let info = StartInfo::read(BASE, memory(&image)).unwrap();
    assert!(matches!(info.command_line(), Err(StartInfoError::Unreadable { .. })));
    // The longest, and one byte more.
    image.resize(0x100 + COMMAND_LINE_MAX + 2, b'x');
    image[0x100 + COMMAND_LINE_MAX] = 0;
    let info = StartInfo::read(BASE, memory(&image)).unwrap();
    assert_eq!(info.command_line().unwrap().count_bytes(), COMMAND_LINE_MAX);
    image[0x100 + COMMAND_LINE_MAX] = b'x';
    image[0x101 + COMMAND_LINE_MAX] = 0;
    let info = StartInfo::read(BASE, memory(&image)).unwrap();
    assert_eq!(info.command_line(), Err(StartInfoError::UnterminatedCommandLine(BASE + 0x100)));
}

#[test]
fn an_identity_map_has_limits() {
    // SAFETY: with a limit of 0, nothing is read.
    let none = unsafe { identity(0) };
    assert_eq!(none(1, 1), None);
    let bytes = [1_u8, 2, 3];
    let first = bytes.as_ptr().expose_provenance() as u64;
    // SAFETY: only these bytes are read below the limit.
    let memory = unsafe { identity(first + 3) };
    assert_eq!(memory(first, 3), Some(&bytes[..]));
    assert_eq!([memory(first, 4), memory(0, 1), memory(u64::MAX, 2)], [None; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// With any content of the start info, nothing panics, and only its memory is read.
    #[test]
    fn any_start_info_is_read_or_refused(
        words in prop::collection::vec((0_usize..0x60, prop_oneof![
            any::<u32>(), 0..4_u32, Just(BASE as u32), (0..0x2000_u32).prop_map(|o| BASE as u32 + o)
        ]), 0..12),
    ) {
        let mut image = image(1);
        for (place, word) in words {
            // The header, the modules and the map.
            let offset = [0, 0x200, 0x300][place / 0x20] + place % 0x20 * 4;
            image[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
        }
        if let Ok(info) = StartInfo::read(BASE, memory(&image)) {
            let _ = info.command_line();
            for module in info.modules().into_iter().flatten() {
                let _ = (module.data(), module.command_line(), format!("{module:?}"));
            }
            for range in info.memory_map().into_iter().flatten().flatten() {
                let _ = range.end();
            }
            let _ = format!("{info:?}");
        }
    }
}
