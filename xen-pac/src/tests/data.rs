//! Tests which types are data, and the macros of unions and encoders.

use crate::access::{self, Block, Data, FieldError, Handle, Part, hold, reaches_beyond};
use crate::base::Virq;
use crate::shared_info::{VcpuTimeInfo, raw};

#[repr(C)]
#[derive(Clone, Copy)]
union Either {
    word: u32,
    parts: [u8; 4],
}

access::data!(union Either { word: u32, parts: [u8; 4] });

impl Either {
    const fn parts(&self) -> [u8; 4] {
        access::union_member!(self, parts)
    }
}

#[test]
fn zeroed_is_all_zero() {
    assert_eq!(<u64 as Data>::ZEROED, 0);
    assert_eq!(<[i8; 3] as Data>::ZEROED, [0; 3]);
    assert!(<Handle<u8> as Data>::ZEROED.is_null());
    assert_eq!(raw::SharedInfo::ZEROED.evtchn_pending[5], 0);
    assert_eq!(Either::ZEROED.parts(), [0; 4]);
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Pointing {
    value: usize,
    list: [Handle<u32>; 2],
}

access::data!(Pointing { value: usize, list: [Handle<u32>; 2] });

#[repr(C)]
#[derive(Clone, Copy)]
struct Open {
    len: u32,
    bytes: [u8; 0],
}

access::data!(Open { len: u32, bytes: [u8; 0] });

#[test]
fn what_reaches_beyond_itself_is_known() {
    const { assert!(Pointing::REACHES_BEYOND && Open::REACHES_BEYOND) };
    const { assert!(<[Open; 3]>::REACHES_BEYOND) };
    const {
        assert!(
            !Either::REACHES_BEYOND
                && !raw::SharedInfo::REACHES_BEYOND
                && !<[u8; 16]>::REACHES_BEYOND
                && !<() as Data>::REACHES_BEYOND
        );
    };
    assert!(Pointing { value: 0, list: Data::ZEROED }.list[1].is_null());
    assert_eq!(Open { len: 4, bytes: [] }.len, 4);
}

#[test]
fn a_unions_members_share_their_bytes() {
    const EITHER: Either = Either { word: 0x0403_0201 };
    const PARTS: [u8; 4] = EITHER.parts();
    assert_eq!(PARTS, [1, 2, 3, 4]);
}

const fn encode(pin: u8) -> Result<u64, FieldError> {
    Ok(access::in_range!("pin", pin, 1, 3) << 4)
}

#[test]
fn a_value_outside_its_field_is_refused() {
    const IN: Result<u64, FieldError> = encode(3);
    assert_eq!(IN, Ok(0x30));
    assert!(encode(1).is_ok());
    let error = encode(4).unwrap_err();
    assert_eq!((error.field(), error.value(), error.bounds()), ("pin", 4, (1, 3)));
    assert_eq!(std::format!("{error}"), "pin: expected a value from 1 to 3, found 4");
    assert!(encode(0).is_err());
}

#[test]
fn errors_are_errors() {
    fn error<T: core::error::Error + Copy + Send + Sync + 'static>(_: T) {}
    error(FieldError::new("pin", 4, 0, 3));
    error(access::DecodeError::new(1));
    assert_eq!(access::DecodeError::new(0x77).value(), 0x77);
    assert!(std::format!("{}", access::DecodeError::new(0x77)).starts_with("0x77 is not a value"));
}

#[test]
fn a_handle_keeps_its_pointer() {
    let mut value = 5_u32;
    let handle = Handle::from_ptr(&raw mut value);
    // SAFETY: the pointer is that of a live variable.
    unsafe { handle.as_ptr().write(6) };
    assert_eq!(value, 6);
    assert_eq!(Handle::from_const(&raw const value), handle);
    assert_ne!(handle, Handle::default());
    assert!(!handle.is_null());
    assert_eq!(Some(&handle).cloned(), Some(handle));
    assert_eq!(std::format!("{handle:?}"), std::format!("{:?}", &raw const value));
    assert_eq!(size_of::<Handle<u64>>(), size_of::<usize>());
}

#[test]
fn a_value_is_shown_by_its_name_or_number() {
    let shown = |value: Virq| std::format!("{value:?} {value} {value:>7}");
    assert_eq!(shown(Virq::TIMER), "Virq::TIMER TIMER   TIMER");
    assert_eq!(shown(Virq(99)), "Virq(99) 99      99");
}

/// The assertions that are evaluated at compile time elsewhere.
#[test]
fn padding_is_refused() {
    let fails = |check: fn()| std::panic::catch_unwind(check).is_err();
    assert!(fails(|| hold(false, "it does not hold")));
    let filled = |size| move || reaches_beyond(&[Part::of::<u32>()], false, size, "padding");
    assert!(!filled(4)());
    for size in [3, 5] {
        assert!(std::panic::catch_unwind(filled(size)).is_err(), "4 bytes in {size}");
    }
}

#[test]
fn an_update_that_was_cut_off_is_followed_by_another() {
    super::block!(time, VcpuTimeInfo);
    let block = Block::new(time.as_ptr());
    let version = || access::location!(block, version);
    version().write(3);
    access::update(version(), || assert_eq!(version().read(), 3));
    assert_eq!(version().read(), 4);
    assert_eq!(std::format!("{block:?}"), std::format!("{:?}", time.as_ptr()));
}
