//! Each vCPU's descriptor tables: its segments, and the stacks for interrupts and exceptions.
//!
//! Exceptions have a stack of their own, by the processor's interrupt stack table. Interrupts use
//! the stack of what they interrupt, except on hosted targets: their code may keep data below the
//! stack pointer (the red zone), where an interrupt on the same stack would overwrite it, so
//! interrupts have a stack of their own there.
//!
//! That stack is a risk under QEMU, whose emulation of SVM can deliver an interrupt a second time
//! while its handler runs (`stubs_64.rs`). The second frame then replaces the first one, and the
//! handler returns to itself for ever. Use a target without a red zone, `x86_64-unknown-none`.

use core::arch::asm;
use core::cell::UnsafeCell;

use xen_hal::platform::VcpuId;

use crate::MAX_VCPUS;

/// The code segment's selector.
const CODE: u16 = 0x08;
/// The data segments' selector.
const DATA: u16 = 0x10;
/// The task state's selector.
const TASK: u16 = 0x18;

/// The entry of the interrupt stack table for exceptions.
const EXCEPTION_STACK: usize = 1;
/// The entry of the interrupt stack table for interrupts, on hosted targets.
const INTERRUPT_STACK: usize = 2;
/// True if code has a red zone.
const IS_HOSTED: bool = cfg!(not(target_os = "none"));

/// The code segment's descriptor: 64 bits, privilege level 0.
pub(super) const CODE_SEGMENT: u64 = 0x00af_9b00_0000_ffff;
/// The data segments' descriptor.
pub(super) const DATA_SEGMENT: u64 = 0x00cf_9300_0000_ffff;

/// The task state segment, of which 64-bit mode uses the stacks only.
#[repr(C, packed(4))]
struct TaskState {
    reserved_0: u32,
    privilege_stacks: [u64; 3],
    reserved_1: u64,
    interrupt_stacks: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Stack([u8; 16 * 1024]);

/// The tables and stacks of one vCPU.
#[repr(C, align(16))]
struct Area {
    segments: [u64; 5],
    task: TaskState,
    exceptions: Stack,
    interrupts: [Stack; IS_HOSTED as usize],
}

impl Area {
    const NEW: Self = Self {
        segments: [0; 5],
        task: TaskState {
            reserved_0: 0,
            privilege_stacks: [0; 3],
            reserved_1: 0,
            interrupt_stacks: [0; 7],
            reserved_2: 0,
            reserved_3: 0,
            io_map: 0,
        },
        exceptions: Stack([0; 16 * 1024]),
        interrupts: [const { Stack([0; 16 * 1024]) }; IS_HOSTED as usize],
    };
}

struct Areas([UnsafeCell<Area>; MAX_VCPUS]);

// SAFETY: each vCPU touches its own area only, once, in `load`.
unsafe impl Sync for Areas {}

static AREAS: Areas = Areas([const { UnsafeCell::new(Area::NEW) }; MAX_VCPUS]);

/// The operand of `lgdt` and `lidt`.
#[repr(C, packed(2))]
pub(super) struct Pointer {
    limit: u16,
    base: u64,
}

impl Pointer {
    /// Creates a table of `size` bytes.
    pub(super) fn to(base: *mut u8, size: usize) -> Self {
        Self { limit: size as u16 - 1, base: base.expose_provenance() as u64 }
    }
}

/// An entry of the interrupt table. Interrupts stay off while its handler runs.
#[repr(transparent)]
pub(super) struct Gate([u64; 2]);

impl Gate {
    pub(super) const ZERO: Self = Self([0; 2]);

    pub(super) fn exception(handler: usize) -> Self {
        Self::new(handler, EXCEPTION_STACK)
    }

    pub(super) fn interrupt(handler: usize) -> Self {
        Self::new(handler, if IS_HOSTED { INTERRUPT_STACK } else { 0 })
    }

    fn new(handler: usize, stack: usize) -> Self {
        const INTERRUPT_GATE: u64 = 0x8e << 40;
        let (handler, stack) = (handler as u64, stack as u64);
        let low = handler & 0xffff
            | u64::from(CODE) << 16
            | stack << 32
            | INTERRUPT_GATE
            | (handler >> 16 & 0xffff) << 48;
        Self([low, handler >> 32])
    }
}

/// Loads the calling vCPU's own tables, and its code segment, which a secondary vCPU starts
/// without.
///
/// # Safety
///
/// Must be called once on each vCPU, with its own number, which is below [`MAX_VCPUS`], and with
/// interrupts off.
pub(super) unsafe fn load(vcpu: VcpuId) {
    let area = AREAS.0[vcpu.0 as usize].get();
    // SAFETY: the area is this vCPU's, and not in use before the instructions below.
    let area = unsafe { &mut *area };
    let end =
        |stack: &Stack| (&raw const *stack).expose_provenance() as u64 + size_of::<Stack>() as u64;
    let mut stacks = [0; 7];
    stacks[EXCEPTION_STACK - 1] = end(&area.exceptions);
    if let Some(stack) = area.interrupts.first() {
        stacks[INTERRUPT_STACK - 1] = end(stack);
    }
    area.task.interrupt_stacks = stacks;
    area.task.io_map = size_of::<TaskState>() as u16;
    let [task_low, task_high] = task_descriptor((&raw const area.task).addr() as u64);
    area.segments = [0, CODE_SEGMENT, DATA_SEGMENT, task_low, task_high];
    let pointer = Pointer::to((&raw mut area.segments).cast(), size_of_val(&area.segments));
    // SAFETY: the table and all that it refers to are static. Only a far return loads the code
    // segment.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "ltr {task:x}",
            pointer = in(reg) &raw const pointer,
            code = const CODE,
            scratch = out(reg) _,
            data = in(reg) u32::from(DATA),
            task = in(reg) TASK,
        );
    }
}

/// Returns the number of the calling vCPU, found by its descriptor table.
#[must_use]
pub fn current() -> VcpuId {
    let mut pointer = Pointer { limit: 0, base: 0 };
    // SAFETY: the instruction writes the ten bytes of the pointer.
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut pointer, options(nostack, preserves_flags)) };
    let from_first = pointer.base as usize - AREAS.0.as_ptr().addr();
    VcpuId((from_first / size_of::<Area>()) as u32)
}

/// Returns the descriptor of an available 64-bit task state at `base`.
const fn task_descriptor(base: u64) -> [u64; 2] {
    const AVAILABLE: u64 = 0x89 << 40;
    let limit = size_of::<TaskState>() as u64 - 1;
    [limit | (base & 0xff_ffff) << 16 | AVAILABLE | (base >> 24 & 0xff) << 56, base >> 32]
}
