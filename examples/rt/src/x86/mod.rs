//! The x86 part: PVH entry in 32-bit mode, for 32-bit guests without paging and for 64-bit guests.

#[cfg_attr(target_arch = "x86", path = "descriptors_32.rs")]
#[cfg_attr(target_arch = "x86_64", path = "descriptors_64.rs")]
mod descriptors;
mod dispatch;
#[cfg_attr(target_arch = "x86", path = "entry_32.rs")]
#[cfg_attr(target_arch = "x86_64", path = "entry_64.rs")]
mod entry;
pub mod interrupts;
pub mod local_apic;
#[cfg_attr(target_arch = "x86", path = "stubs_32.rs")]
#[cfg_attr(target_arch = "x86_64", path = "stubs_64.rs")]
mod stubs;
pub mod vcpus;

use core::arch::{asm, global_asm};

use xen_hal::hypercall::{AnyBackend, Hypercall, detect_with_page};
use xen_hal::memory::{MapEntry, Memory};
use xen_hal::platform::VcpuId;
use xen_hal::sched::Sched;
use xen_hal::start_info::{self, StartInfo};
use xen_pac::console::XEN_HVM_DEBUGCONS_IOPORT;
use xen_pac::elf_note::ElfNote;
use xen_pac::sched::ShutdownReason;
use xen_pac::start_info::HvmMemmapType;

use crate::{Failure, Page, secondary as secondaries};

/// The counter that Xen's clock interpolates with.
pub type Counter = xen_hal::platform::Tsc;

// The ELF note by which Xen finds the PVH entry: the length of the owner's name, the length of the
// value, the type, the name, and the value, a 32-bit physical address.
global_asm!(
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".globl xen_note",
    "xen_note:",
    ".long 4",
    ".long 4",
    ".long {kind}",
    ".asciz \"Xen\"",
    ".long pvh_entry",
    ".popsection",
    kind = const ElfNote::PHYS32_ENTRY.0,
);

/// Returns the hypercall backend of this processor.
///
/// # Panics
///
/// If this is not a Xen guest, which the runtime checks before the main function.
#[must_use]
pub fn backend() -> AnyBackend {
    match find_xen() {
        Some(xen) => xen,
        None => panic!("expected a Xen guest, found no Xen"),
    }
}

pub(crate) fn find_xen() -> Option<AnyBackend> {
    let code = HYPERCALL_PAGE.as_ptr();
    // SAFETY: the page is mapped to itself, all memory is executable, and nothing else uses the
    // page. Filled again, it holds the same code.
    unsafe { detect_with_page(code, code.addr().get() as u64) }.ok()
}

/// What Xen left in memory.
#[derive(Clone, Copy)]
pub(crate) struct BootInfo {
    pub(crate) start_info: StartInfo<ReadMemory>,
}

/// Returns memory by its address and length, or `None` if the guest cannot read it.
pub type ReadMemory = fn(u64, usize) -> Option<&'static [u8]>;

/// Returns memory below 4 GiB by its address.
fn memory(address: u64, length: usize) -> Option<&'static [u8]> {
    // SAFETY: the entry mapped that memory to itself. Only what Xen stored there is read, and the
    // runtime does not write to it.
    let read = unsafe { start_info::identity(1 << 32) };
    read(address, length)
}

impl BootInfo {
    pub(crate) fn command_line(&self) -> &'static str {
        let text = self.start_info.command_line();
        text.ok().and_then(|text| text.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn each_memory_range(
        &self,
        xen: &impl Hypercall,
        mut each: impl FnMut(u64, u64, bool),
    ) -> Result<(), Failure> {
        // 20 KiB of the stack's 64.
        let mut buffer = [MapEntry::EMPTY; MapEntry::BUFFER_LENGTH];
        let map = Memory::new(xen)
            .memory_map(&mut buffer)
            .map_err(|_| Failure::new("reading the memory map", "Xen has none"))?;
        for entry in map {
            each(entry.address(), entry.length(), entry.kind() == HvmMemmapType::RAM);
        }
        Ok(())
    }
}

/// The hypercall page, for processors whose hypercall instruction is unknown.
static HYPERCALL_PAGE: Page = Page::new();

/// Continues the entry in Rust: memory is mapped to itself, the stack is set, `.bss` is zero and
/// interrupts are off.
extern "C" fn start(start_info: usize) -> ! {
    // SAFETY: this is the first vCPU, interrupts are off, and no other vCPU runs yet.
    unsafe { descriptors::load(VcpuId(0)) };
    // SAFETY: as above.
    unsafe { interrupts::prepare() };
    // SAFETY: the descriptor tables are loaded.
    unsafe { interrupts::load() };
    match StartInfo::read(start_info as u64, memory as ReadMemory) {
        Ok(start_info) => crate::start(BootInfo { start_info }),
        Err(error) => panic!("at {start_info:#x}: {error}"),
    }
}

/// Continues the entry of a secondary vCPU in Rust, in the state of [`start`].
extern "C" fn secondary(vcpu: u32) -> ! {
    let vcpu = VcpuId(vcpu);
    // SAFETY: this vCPU has just started, with interrupts off.
    unsafe { descriptors::load(vcpu) };
    // SAFETY: the descriptor tables are loaded.
    unsafe { interrupts::load() };
    loop {
        secondaries::run(vcpu);
        vcpus::rest(vcpu);
    }
}

pub(crate) fn write_console(bytes: &[u8]) {
    for byte in bytes {
        // SAFETY: the port belongs to Xen, which takes the byte and touches nothing of the guest.
        unsafe {
            asm!("out dx, al", in("dx") XEN_HVM_DEBUGCONS_IOPORT, in("al") *byte,
                options(nomem, nostack, preserves_flags));
        }
    }
}

pub(crate) fn read_console() -> Option<u8> {
    let mut byte = [0];
    let read = xen_hal::console::EmergencyConsole::new(find_xen()?).read(&mut byte);
    (read == Ok(1)).then_some(byte[0])
}

/// Writes the status to the device `isa-debug-exit` of QEMU, which then exits with `2 * status +
/// 1`, and of Bochs, whose BIOS port panics with the status as its line. Elsewhere the port is
/// unused.
pub(crate) fn exit_emulator(status: u8) {
    const PORT: u16 = 0x501;
    // SAFETY: the write ends the emulator or does nothing.
    unsafe {
        asm!("out dx, ax", in("dx") PORT, in("ax") u16::from(status),
            options(nomem, nostack, preserves_flags));
    }
}

/// Ends the domain. Returns if there is no Xen, or Xen refuses.
pub(crate) fn shut_down(reason: ShutdownReason) {
    let _ = find_xen().map(|xen| Sched::new(xen).shutdown(reason));
}

/// Stops the processor permanently.
pub(crate) fn stop() -> ! {
    loop {
        // SAFETY: the instructions touch no memory, and interrupts stay off.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
