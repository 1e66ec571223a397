//! Hypercalls through a page that is code of this process: each slot loads its number, as Xen's do;
//! then what arrived is noted, and every argument register given up.
//!
//! It is a test of optimised code: only there do values stay in registers that a hypercall must be
//! known to change.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::arch::global_asm;
use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::Mutex;

use xen_hal::hypercall::{Errno, Hypercall, HypercallPage};

/// What the argument registers hold after a hypercall, as a debug build of Xen leaves them.
const POISON: u64 = 0xdead_f00d_dead_f00d;

global_asm!(
    ".pushsection .text.fake_xen, \"ax\", @progbits",
    ".balign 4096",
    "fake_page:",
    ".set fake_slot, 0",
    ".rept 128",
    "mov eax, offset fake_slot",
    "jmp fake_xen",
    ".balign 32, 0xcc",
    ".set fake_slot, fake_slot + 1",
    ".endr",
    "fake_xen:",
    "mov [rip + fake_seen], rax",
    "mov [rip + fake_seen + 8], rdi",
    "mov [rip + fake_seen + 16], rsi",
    "mov [rip + fake_seen + 24], rdx",
    "mov [rip + fake_seen + 32], r10",
    "mov [rip + fake_seen + 40], r8",
    "movabs rdi, {poison}",
    "mov rsi, rdi",
    "mov rdx, rdi",
    "mov r10, rdi",
    "mov r8, rdi",
    "mov rax, -38",
    "ret",
    ".popsection",
    ".pushsection .bss.fake_xen, \"aw\", @nobits",
    ".balign 8",
    "fake_seen: .skip 48",
    ".popsection",
    poison = const POISON,
);

unsafe extern "C" {
    static fake_page: u8;
    static fake_seen: [usize; 6];
}

/// Held while a test makes hypercalls: there is one place that records them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn page() -> HypercallPage {
    // SAFETY: the page lies in the program's code, and each of its slots keeps the convention.
    unsafe { HypercallPage::filled(NonNull::from(&fake_page)) }
}

fn seen() -> [usize; 6] {
    // SAFETY: only the page's code writes there, and none who runs it goes on meanwhile.
    unsafe { (&raw const fake_seen).read_volatile() }
}

#[test]
fn each_argument_is_in_its_register_and_each_number_has_its_slot() {
    let _alone = ONE_AT_A_TIME.lock();
    let xen = page();
    let call = |count: usize, number: u32, [a, b, c, d, e]: [usize; 5]| {
        // SAFETY: the page takes anything.
        unsafe {
            match count {
                0 => xen.call0(number),
                1 => xen.call1(number, a),
                2 => xen.call2(number, a, b),
                3 => xen.call3(number, a, b, c),
                4 => xen.call4(number, a, b, c, d),
                _ => xen.call5(number, a, b, c, d, e),
            }
        }
    };
    for number in 0..128 {
        for count in 0..=5 {
            let arguments =
                [1, 2, 3, 4, 5].map(|argument| argument << 60 | (number as usize) << 8 | count);
            assert_eq!(call(count, number, arguments), -38);
            let [told, registers @ ..] = seen();
            assert_eq!((told, &registers[..count]), (number as usize, &arguments[..count]));
        }
    }
}

/// More values than there are registers, all needed after the hypercalls: one that stays in a
/// register which the hypervisor changes is wrong afterwards.
#[test]
fn the_caller_loses_nothing() {
    let _alone = ONE_AT_A_TIME.lock();
    let xen = page();
    let values: [usize; 14] = std::array::from_fn(|index| black_box(index * 0x1001));
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = values;
    for _ in 0..2 {
        // SAFETY: the page takes anything.
        assert_eq!(unsafe { xen.call5(1, a, b, c, d, e) }, -38);
        // SAFETY: as above.
        assert_eq!(unsafe { xen.call0(2) }, -38);
    }
    assert_eq!(
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n],
        std::array::from_fn(|index| index * 0x1001)
    );
}

#[test]
fn a_number_beyond_the_page_reaches_nobody() {
    let _alone = ONE_AT_A_TIME.lock();
    let before = seen();
    // SAFETY: the page takes anything.
    assert_eq!(unsafe { page().call1(128, 7) }, -(Errno::ENOSYS.number() as isize));
    assert_eq!(seen(), before);
}
