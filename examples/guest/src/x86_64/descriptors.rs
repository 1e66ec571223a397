//! Each vCPU's descriptor tables: its segments, and the stacks that it switches to when it is
//! interrupted.
//!
//! The compiler's code may keep data below the stack pointer (the red zone), where an interrupt on
//! the same stack would overwrite it. So interrupts and exceptions each get a stack of their own,
//! by the processor's interrupt stack table.

use core::arch::asm;
use core::cell::UnsafeCell;

use xen_hal::platform::VcpuId;

/// How many vCPUs the runtime can start.
pub const MAX_VCPUS: usize = 2;

/// The code segment's selector.
pub(super) const CODE: u16 = 0x08;
/// The selector of every data segment.
const DATA: u16 = 0x10;
/// The task state's selector.
const TASK: u16 = 0x18;

/// Which entry of the interrupt stack table exceptions use.
pub(super) const EXCEPTION_STACK: u8 = 1;
/// Which entry interrupts use.
pub(super) const INTERRUPT_STACK: u8 = 2;

/// The code segment's descriptor: 64 bits, privilege level 0.
const CODE_SEGMENT: u64 = 0x00af_9b00_0000_ffff;
/// The data segment's.
const DATA_SEGMENT: u64 = 0x00cf_9300_0000_ffff;

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

/// What one vCPU has for itself.
#[repr(C, align(16))]
struct Area {
    segments: [u64; 5],
    task: TaskState,
    exceptions: Stack,
    interrupts: Stack,
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
        interrupts: Stack([0; 16 * 1024]),
    };
}

struct Areas([UnsafeCell<Area>; MAX_VCPUS]);

// SAFETY: each vCPU touches its own area, once, in `load`.
unsafe impl Sync for Areas {}

static AREAS: Areas = Areas([const { UnsafeCell::new(Area::NEW) }; MAX_VCPUS]);

/// What `lgdt` and `lidt` take: a table's last byte, counted from its first, and where it is.
#[repr(C, packed(2))]
pub(super) struct Pointer {
    pub(super) limit: u16,
    pub(super) base: u64,
}

/// Loads the calling vCPU's own tables, and its code segment, which a secondary vCPU starts
/// without.
///
/// # Panics
///
/// For a vCPU beyond [`MAX_VCPUS`].
///
/// # Safety
///
/// Once on each vCPU, by its own number, with interrupts off.
pub(super) unsafe fn load(vcpu: VcpuId) {
    let area = AREAS.0[vcpu.0 as usize].get();
    // SAFETY: nobody else touches this vCPU's area, and it is loaded only below.
    let area = unsafe { &mut *area };
    let end = |stack: &Stack| (&raw const *stack).addr() as u64 + size_of::<Stack>() as u64;
    let mut stacks = [0; 7];
    stacks[usize::from(EXCEPTION_STACK) - 1] = end(&area.exceptions);
    stacks[usize::from(INTERRUPT_STACK) - 1] = end(&area.interrupts);
    area.task.interrupt_stacks = stacks;
    area.task.io_map = size_of::<TaskState>() as u16;
    let [task_low, task_high] = task_descriptor((&raw const area.task).addr() as u64);
    area.segments = [0, CODE_SEGMENT, DATA_SEGMENT, task_low, task_high];
    let pointer = Pointer {
        limit: size_of_val(&area.segments) as u16 - 1,
        base: (&raw const area.segments).expose_provenance() as u64,
    };
    // SAFETY: the table and all that it refers to are static. A far return is the one way to load
    // the code segment.
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

/// The number of the calling vCPU, by whose tables it uses.
#[must_use]
pub fn current() -> VcpuId {
    let mut pointer = Pointer { limit: 0, base: 0 };
    // SAFETY: the instruction writes the ten bytes of the pointer.
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut pointer, options(nostack, preserves_flags)) };
    let from_first = pointer.base as usize - AREAS.0.as_ptr().addr();
    VcpuId((from_first / size_of::<Area>()) as u32)
}

/// The two words that describe an available 64-bit task state at `base`.
const fn task_descriptor(base: u64) -> [u64; 2] {
    const AVAILABLE: u64 = 0x89 << 40;
    let limit = size_of::<TaskState>() as u64 - 1;
    [limit | (base & 0xff_ffff) << 16 | AVAILABLE | (base >> 24 & 0xff) << 56, base >> 32]
}
