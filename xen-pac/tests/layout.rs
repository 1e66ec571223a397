//! Compares the shared page's registers with the offsets that a C compiler computes from Xen's
//! headers.
#![allow(missing_docs, reason = "a test")]

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tock_registers::interfaces::Readable;
use xen_pac::base::XenUlong;
use xen_pac::shared_info::{SharedInfo, SharedInfoWallclock, VcpuTimeInfoSnapshot};

/// Offsets from the start of the page; those of a vCPU from the start of its block.
#[allow(clippy::struct_field_names, reason = "they are all offsets")]
struct Offsets {
    vcpu_size: usize,
    pending_sel: usize,
    time: usize,
    pending: usize,
    mask: usize,
    wallclock: usize,
    sec_hi: usize,
    vcpus: usize,
}

#[cfg(target_arch = "x86_64")]
const AT: Offsets = Offsets {
    vcpu_size: 64,
    pending_sel: 8,
    time: 32,
    pending: 2048,
    mask: 2560,
    wallclock: 3072,
    sec_hi: 3084,
    vcpus: 32,
};
#[cfg(target_arch = "x86")]
const AT: Offsets = Offsets {
    vcpu_size: 64,
    pending_sel: 4,
    time: 32,
    pending: 2048,
    mask: 2176,
    wallclock: 2304,
    sec_hi: 2340,
    vcpus: 32,
};
#[cfg(target_arch = "aarch64")]
const AT: Offsets = Offsets {
    vcpu_size: 48,
    pending_sel: 8,
    time: 16,
    pending: 48,
    mask: 560,
    wallclock: 1072,
    sec_hi: 1084,
    vcpus: 1,
};

const WORD: usize = size_of::<XenUlong>();

#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; 4096]>);

fn word(bytes: &[u8], offset: usize) -> XenUlong {
    XenUlong::from_le_bytes(bytes[offset..offset + WORD].try_into().unwrap())
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// A page of arbitrary bytes in which no update is in progress, because a snapshot would wait for
/// it.
fn page_bytes() -> impl Strategy<Value = Box<[u8; 4096]>> {
    any::<u64>().prop_map(|seed| {
        let mut state = seed | 1;
        let mut bytes = Box::new([0; 4096]);
        for byte in bytes.iter_mut() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        for vcpu in 0..AT.vcpus {
            bytes[vcpu * AT.vcpu_size + AT.time] &= !1;
        }
        bytes[AT.wallclock] &= !1;
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_register_reads_its_own_bytes(bytes in page_bytes()) {
        let page = Page(UnsafeCell::new(*bytes));
        let start = NonNull::new(page.0.get()).unwrap().cast();
        // SAFETY: the page outlives the handle, is larger than the block and aligned to 4096, and
        // is touched through handles only.
        let shared = unsafe { SharedInfo::from_ptr(start) };

        prop_assert!(shared.vcpu_info(AT.vcpus).is_none());
        for index in 0..AT.vcpus {
            let vcpu = shared.vcpu_info(index).unwrap();
            let at = index * AT.vcpu_size;
            prop_assert_eq!(vcpu.evtchn_upcall_pending().get(), bytes[at]);
            #[cfg(not(target_arch = "aarch64"))]
            prop_assert_eq!(vcpu.evtchn_upcall_mask().get(), bytes[at + 1]);
            prop_assert_eq!(vcpu.evtchn_pending_sel().get(), word(&bytes[..], at + AT.pending_sel));
            let time = at + AT.time;
            let expected = VcpuTimeInfoSnapshot {
                tsc_timestamp: u64_at(&bytes[..], time + 8),
                system_time: u64_at(&bytes[..], time + 16),
                tsc_to_system_mul: u32_at(&bytes[..], time + 24),
                tsc_shift: bytes[time + 28] as i8,
                flags: bytes[time + 29],
            };
            prop_assert_eq!(vcpu.time().snapshot(), expected);
        }
        for index in 0..SharedInfo::EVTCHN_PENDING_COUNT {
            let pending = word(&bytes[..], AT.pending + index * WORD);
            let mask = word(&bytes[..], AT.mask + index * WORD);
            prop_assert_eq!(shared.evtchn_pending(index).unwrap().get(), pending);
            prop_assert_eq!(shared.evtchn_mask(index).unwrap().get(), mask);
        }
        prop_assert!(shared.evtchn_pending(WORD * 8).is_none());
        prop_assert!(shared.evtchn_mask(WORD * 8).is_none());
        let wallclock = shared.wallclock();
        prop_assert_eq!(wallclock.sec, u32_at(&bytes[..], AT.wallclock + 4));
        prop_assert_eq!(wallclock.nsec, u32_at(&bytes[..], AT.wallclock + 8));
        prop_assert_eq!(wallclock.sec_hi, u32_at(&bytes[..], AT.sec_hi));
    }

    #[test]
    fn what_the_other_side_publishes_is_read(
        bytes in page_bytes(),
        tsc_timestamp: u64,
        system_time: u64,
        tsc_to_system_mul: u32,
        tsc_shift: i8,
        flags: u8,
        wall: [u32; 3],
    ) {
        let page = Page(UnsafeCell::new(*bytes));
        let start = NonNull::new(page.0.get()).unwrap().cast();
        // SAFETY: as above.
        let shared = unsafe { SharedInfo::from_ptr(start) };
        let time = VcpuTimeInfoSnapshot {
            tsc_timestamp, system_time, tsc_to_system_mul, tsc_shift, flags,
        };
        let [sec, nsec, sec_hi] = wall;
        let wallclock = SharedInfoWallclock { sec, nsec, sec_hi };
        let vcpu = shared.vcpu_info(AT.vcpus - 1).unwrap();
        vcpu.time().publish_snapshot(&time);
        shared.publish_wallclock(&wallclock);
        prop_assert_eq!(vcpu.time().snapshot_with(|| 5), (time, 5));
        prop_assert_eq!(shared.wallclock(), wallclock);

        let mut expected = *bytes;
        let at = (AT.vcpus - 1) * AT.vcpu_size + AT.time;
        for (offset, value) in [
            (at, &(u32_at(&bytes[..], at).wrapping_add(2)).to_le_bytes()[..]),
            (at + 8, &tsc_timestamp.to_le_bytes()),
            (at + 16, &system_time.to_le_bytes()),
            (at + 24, &tsc_to_system_mul.to_le_bytes()),
            (at + 28, &tsc_shift.to_le_bytes()),
            (at + 29, &[flags]),
            (AT.wallclock, &(u32_at(&bytes[..], AT.wallclock).wrapping_add(2)).to_le_bytes()),
            (AT.wallclock + 4, &sec.to_le_bytes()),
            (AT.wallclock + 8, &nsec.to_le_bytes()),
            (AT.sec_hi, &sec_hi.to_le_bytes()),
        ] {
            expected[offset..offset + value.len()].copy_from_slice(value);
        }
        prop_assert!(page.0.into_inner() == expected);
    }

    #[test]
    fn a_change_of_bits_touches_no_other_byte(bytes in page_bytes(), port in 0..WORD * WORD * 64) {
        let page = Page(UnsafeCell::new(*bytes));
        let start = NonNull::new(page.0.get()).unwrap().cast();
        // SAFETY: as above.
        let shared = unsafe { SharedInfo::from_ptr(start) };
        let (index, bit) = (port / (WORD * 8), 1 << (port % (WORD * 8)));
        shared.evtchn_pending(index).unwrap().fetch_xor(bit, Ordering::Relaxed);

        let mut expected = *bytes;
        expected[AT.pending + port / 8] ^= 1 << (port % 8);
        prop_assert!(page.0.into_inner() == expected);
    }
}

#[test]
fn a_command_says_whether_xen_honours_it_on_this_architecture() {
    use xen_pac::command::Command;
    use xen_pac::{grant_table, hvm, vcpu};
    let arm = cfg!(target_arch = "aarch64");
    const { assert!(vcpu::command::RegisterVcpuInfo::HONOURED) };
    assert_eq!(vcpu::command::Up::HONOURED, !arm);
    assert_eq!(hvm::command::GetTime::HONOURED, !arm);
    assert_eq!(grant_table::command::CacheFlush::HONOURED, arm);
}
