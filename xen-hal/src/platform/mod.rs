//! What the rest of this crate needs from the machine and from the guest's kernel, besides
//! hypercalls: three small traits, and their implementations for bare guests.
//!
//! | trait | question | implementations |
//! |---|---|---|
//! | [`AddressSpace`] | which guest frame holds this pointer's page? | [`IdentityMap`] |
//! | [`Counter`] | what does the clock's counter read now? | `Tsc` on x86, `VirtualCounter` on aarch64 |
//! | [`Interrupts`] | keep interrupts off this vCPU for a moment | `LocalInterrupts` |
//!
//! A kernel with page tables of its own implements the first; a simulator implements them all.
//!
//! ```
//! use core::ptr::NonNull;
//! use xen_hal::platform::{AddressSpace, Frame, IdentityMap};
//!
//! // SAFETY: nothing in this example maps the page; in a guest, one that runs with virtual addresses equal to physical ones makes this promise.
//! let space = unsafe { IdentityMap::new() };
//! let pointer = NonNull::new(0x12_3456 as *mut u8).unwrap();
//! assert_eq!(space.frame_of(pointer), Some(Frame(0x123)));
//! ```

mod address_space;
#[cfg(target_arch = "aarch64")]
mod arm;
mod counter;
mod interrupts;
mod vcpu_id;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

pub use address_space::{AddressSpace, Frame, IdentityMap, PAGE_SHIFT, PAGE_SIZE};
#[cfg(target_arch = "aarch64")]
pub use arm::{LocalInterrupts, VirtualCounter};
pub use counter::Counter;
pub use interrupts::Interrupts;
pub use vcpu_id::VcpuId;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use x86::{LocalInterrupts, Tsc};
