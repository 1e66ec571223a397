//! Each vCPU's segments. Interrupts and exceptions run on the interrupted stack: 32-bit code keeps
//! nothing below the stack pointer.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

use xen_hal::platform::VcpuId;

use crate::MAX_VCPUS;

/// The code segment's selector.
const CODE: u16 = 0x08;
/// The code segment's descriptor: 32 bits, all memory, privilege level 0.
const CODE_SEGMENT: u64 = 0x00cf_9b00_0000_ffff;
/// The data segments' descriptor.
const DATA_SEGMENT: u64 = 0x00cf_9300_0000_ffff;

/// The descriptor table of one vCPU.
type Area = [u64; 3];

struct Areas([UnsafeCell<Area>; MAX_VCPUS]);

// SAFETY: the tables are never written.
unsafe impl Sync for Areas {}

static AREAS: Areas =
    Areas([const { UnsafeCell::new([0, CODE_SEGMENT, DATA_SEGMENT]) }; MAX_VCPUS]);

/// The operand of `lgdt` and `lidt`.
#[repr(C, packed(2))]
pub(super) struct Pointer {
    limit: u16,
    base: u32,
}

impl Pointer {
    /// Creates a table of `size` bytes.
    pub(super) fn to(base: *mut u8, size: usize) -> Self {
        Self { limit: size as u16 - 1, base: base.expose_provenance() as u32 }
    }
}

/// An entry of the interrupt table. Interrupts stay off while its handler runs.
#[repr(transparent)]
pub(super) struct Gate([u32; 2]);

impl Gate {
    pub(super) const ZERO: Self = Self([0; 2]);

    pub(super) fn exception(handler: usize) -> Self {
        Self::interrupt(handler)
    }

    pub(super) fn interrupt(handler: usize) -> Self {
        const INTERRUPT_GATE: u32 = 0x8e00;
        let handler = handler as u32;
        Self([handler & 0xffff | u32::from(CODE) << 16, handler & 0xffff_0000 | INTERRUPT_GATE])
    }
}

global_asm!(
    // Only a far return loads the code segment.
    ".globl load_segments",
    "load_segments:",
    "    mov eax, [esp + 4]",
    "    lgdt [eax]",
    "    push 0x08",
    "    mov eax, offset segments_loaded",
    "    push eax",
    "    retf",
    "segments_loaded:",
    "    mov eax, 0x10",
    "    mov ds, eax",
    "    mov es, eax",
    "    mov ss, eax",
    "    mov fs, eax",
    "    mov gs, eax",
    "    ret",
);

unsafe extern "C" {
    /// Loads a descriptor table and its segments: code at selector 8, data at 0x10.
    fn load_segments(table: *const Pointer);
}

/// Loads the calling vCPU's own table and its segments.
///
/// # Safety
///
/// Must be called once on each vCPU, with its own number, which is below [`MAX_VCPUS`], and with
/// interrupts off.
pub(super) unsafe fn load(vcpu: VcpuId) {
    let pointer = Pointer::to(AREAS.0[vcpu.0 as usize].get().cast(), size_of::<Area>());
    // SAFETY: the table is static and describes flat segments, as those in use are.
    unsafe { load_segments(&raw const pointer) };
}

/// Returns the number of the calling vCPU, found by its descriptor table.
#[must_use]
pub fn current() -> VcpuId {
    let mut pointer = Pointer { limit: 0, base: 0 };
    // SAFETY: the instruction writes the six bytes of the pointer.
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut pointer, options(nostack, preserves_flags)) };
    let from_first = pointer.base as usize - AREAS.0.as_ptr().addr();
    VcpuId((from_first / size_of::<Area>()) as u32)
}
