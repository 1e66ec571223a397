//! The aarch64 part: the Image header, the MMU, exceptions, the interrupt controller and PSCI.

mod device_tree;
mod entry;
mod exceptions;
mod gic;
pub mod interrupts;
pub mod vcpus;

use core::arch::asm;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use arm_pl011_uart::{PL011Registers, Uart, UniqueMmioPointer};
use dtoolkit::fdt::Fdt;
use xen_hal::console::EmergencyConsole;
use xen_hal::hypercall::{Hvc, Hypercall};
use xen_hal::platform::VcpuId;
use xen_hal::sched::Sched;
use xen_pac::sched::ShutdownReason;

use crate::{Failure, secondary as secondaries};

/// The counter of clocks and timers.
pub type Counter = xen_hal::platform::VirtualCounter;

/// Returns the hypercall backend.
#[must_use]
pub const fn backend() -> Hvc {
    Hvc
}

pub(crate) const fn find_xen() -> Option<Hvc> {
    Some(Hvc)
}

/// What Xen left in memory.
#[derive(Clone, Copy)]
pub(crate) struct BootInfo {
    pub(crate) device_tree: Fdt<'static>,
}

impl BootInfo {
    pub(crate) fn command_line(&self) -> &'static str {
        device_tree::command_line(self.device_tree).unwrap_or_default()
    }

    pub(crate) fn each_memory_range(
        &self,
        _xen: &impl Hypercall,
        each: impl FnMut(u64, u64, bool),
    ) -> Result<(), Failure> {
        device_tree::each_memory_range(self.device_tree, each)
            .ok_or(Failure::new("reading the device tree", "it describes no memory"))
    }
}

/// The address of the UART, or 0.
static UART: AtomicUsize = AtomicUsize::new(0);

/// Continues the entry in Rust: the MMU and the caches are on, the stack is set, `.bss` is zero and
/// interrupts are off.
extern "C" fn start(device_tree: usize) -> ! {
    // SAFETY: Xen put the device tree there and does not touch it again.
    let tree = unsafe { Fdt::from_raw(ptr::with_exposed_provenance(device_tree)) };
    let Ok(tree) = tree else { panic!("expected a device tree at {device_tree:#x}, found none") };
    let Some(platform) = device_tree::Platform::read(tree) else {
        panic!("expected a GIC and a timer in the device tree, found one of them missing");
    };
    UART.store(platform.uart, Ordering::Relaxed);
    // SAFETY: the device tree describes the registers, which the entry mapped as device memory.
    // Only the runtime uses them.
    unsafe { gic::prepare(&platform) };
    gic::enable_for(VcpuId(0));
    crate::start(BootInfo { device_tree: tree })
}

/// Continues the entry of a secondary vCPU in Rust, in the state of [`start`].
extern "C" fn secondary() -> ! {
    let vcpu = vcpus::current();
    gic::enable_for(vcpu);
    secondaries::run(vcpu);
    stop()
}

/// How often the UART is asked whether it takes a byte, or has sent all: its reader may be gone.
const ATTEMPTS: u32 = 1_000_000;

/// Whether Xen permits its console: 0 until Xen was asked.
static CONSOLE: AtomicU8 = AtomicU8::new(0);
const PERMITTED: u8 = 1;
const REFUSED: u8 = 2;

/// Returns whether Xen permits its console to the domain. It refuses it to a domain that the
/// toolstack created.
fn has_console() -> bool {
    let mut answer = CONSOLE.load(Ordering::Relaxed);
    if answer == 0 {
        let probed = EmergencyConsole::new(Hvc).probe();
        answer = if probed.is_ok() { PERMITTED } else { REFUSED };
        CONSOLE.store(answer, Ordering::Relaxed);
    }
    answer == PERMITTED
}

/// Writes to Xen's console or, if Xen refuses it, to the UART.
pub(crate) fn write_console(bytes: &[u8]) {
    if has_console() {
        // An error cannot be reported anywhere.
        let _ = EmergencyConsole::new(Hvc).write_all(bytes);
        return;
    }
    let Some(mut uart) = uart() else { return };
    for byte in bytes {
        if (0..ATTEMPTS).all(|_| uart.is_tx_fifo_full()) {
            return;
        }
        uart.write_word(*byte);
    }
}

pub(crate) fn read_console() -> Option<u8> {
    uart()?.read_word().ok().flatten()
}

/// Returns the UART, if there is one.
fn uart() -> Option<Uart<'static>> {
    let registers =
        ptr::with_exposed_provenance_mut::<PL011Registers>(UART.load(Ordering::Relaxed));
    // SAFETY: the device tree describes the registers there, which are mapped as device memory. The
    // data register is the only one whose access changes anything, and Xen serialises accesses.
    Some(Uart::new(unsafe { UniqueMmioPointer::new(NonNull::new(registers)?) }))
}

/// Ends the emulator by a semihosting call, with the exit status that `isa-debug-exit` gives on
/// x86. In a domain that the toolstack created, the emulator runs on: the function waits until dom0
/// has read the UART's text, because a shutdown discards the rest.
pub(crate) fn exit_emulator(status: u8) {
    if !has_console() {
        if let Some(uart) = uart() {
            (0..ATTEMPTS).any(|_| !uart.is_busy());
        }
        return;
    }
    #[cfg(feature = "semihosting")]
    semihosting::process::exit(2 * i32::from(status) + 1);
    #[cfg(not(feature = "semihosting"))]
    let _ = status;
}

/// Powers the machine off by PSCI, which has no other reasons; for these, ends the domain. Returns
/// if there is no Xen, or Xen refuses.
pub(crate) fn shut_down(reason: ShutdownReason) {
    if reason == ShutdownReason::POWEROFF {
        let _ = smccc::psci::system_off::<smccc::Hvc>();
    }
    let _ = find_xen().map(|xen| Sched::new(xen).shutdown(reason));
}

/// Stops the processor permanently.
pub(crate) fn stop() -> ! {
    // The call does not return unless the firmware refuses it.
    let _ = smccc::psci::cpu_off::<smccc::Hvc>();
    loop {
        // SAFETY: the instructions touch no memory, and interrupts stay off.
        unsafe { asm!("msr daifset, #15", "wfi", options(nomem, nostack)) };
    }
}
