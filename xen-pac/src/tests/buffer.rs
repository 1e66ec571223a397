//! Buffers against a plain slice.

use proptest::prelude::*;

use super::block::with_sample;

proptest! {
    #![proptest_config(super::property_config())]

    #[test]
    fn a_copy_agrees_with_a_slice(offset in 0_usize..24, count in 0_usize..24, seed: [u8; 16]) {
        with_sample(|sample, _| {
            let bytes = sample.bytes();
            bytes.copy_from(0, &seed).unwrap();
            let mut model = seed;
            let new = [0xa5_u8; 24];
            let mut out = [0_u8; 24];
            match model.get_mut(offset..offset + count) {
                Some(part) => {
                    assert_eq!(bytes.copy_to(offset, &mut out[..count]), Ok(()));
                    assert_eq!(&out[..count], &*part);
                    part.copy_from_slice(&new[..count]);
                    assert_eq!(bytes.copy_from(offset, &new[..count]), Ok(()));
                }
                None => {
                    let error = bytes.copy_from(offset, &new[..count]).unwrap_err();
                    assert_eq!((error.offset(), error.count(), error.buffer_len()), (offset, count, 16));
                    assert_eq!(bytes.copy_to(offset, &mut out[..count]), Err(error));
                    assert_eq!(out, [0; 24]);
                }
            }
            let mut whole = [0; 16];
            bytes.copy_to(0, &mut whole).unwrap();
            assert_eq!(whole, model);
            assert_eq!((sample.consumed().load(), sample.clock().unchecked().scale), (0, 0));
        });
    }
}

#[test]
fn an_offset_that_wraps_around_is_out_of_bounds() {
    with_sample(|sample, _| {
        let error = sample.bytes().copy_to(usize::MAX, &mut [0; 2]).unwrap_err();
        assert_eq!(error.offset(), usize::MAX);
        assert!(sample.bytes().copy_from(17, &[]).is_err());
        assert_eq!(sample.bytes().copy_from(16, &[]), Ok(()));
        assert_eq!(sample.bytes().len(), 16);
        assert!(!sample.bytes().is_empty());
        assert_eq!(
            std::format!("{}", sample.bytes().copy_from(15, &[1, 2]).unwrap_err()),
            "2 bytes from offset 15 on are not within a buffer of 16 bytes"
        );
    });
}
