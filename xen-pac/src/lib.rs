//! The Xen guest ABI with types: registers in shared memory, arguments and numbers of hypercalls,
//! constants, encodings.
//!
//! This crate is for kernel engineers who want only the registers. It makes no hypercalls, holds no
//! state, and needs neither an allocator nor the standard library. `xen-hal` builds on it. The code
//! is generated from the description in `abi-yaml`. Every offset, size and constant of the
//! description is compared with what C compilers measure in Xen's own headers, for each release and
//! each of `x86_64`, `x86` and `aarch64`.
//!
//! Each module covers one subject of the headers ([`shared_info`], [`event_channel`],
//! [`grant_table`], [`hvm`], [`memory`], [`version`], ...) with the same kinds of items:
//!
//! # Blocks: memory that the other side changes
//!
//! A block's handle is a pointer with a lifetime, `Copy` and without state. Its layout is a struct
//! of the module `raw`, to which no reference ever exists. Creating the handle is the only unsafe
//! step: the caller guarantees that the memory is mapped.
//!
//! ```
//! use core::ptr::NonNull;
//! use core::sync::atomic::Ordering;
//! use xen_pac::shared_info::{SharedInfo, raw};
//!
//! # let mut memory = Box::new(raw::SharedInfo::ZEROED);
//! # let page: NonNull<raw::SharedInfo> = NonNull::from(&mut *memory);
//! // SAFETY: the page stays mapped, and only Xen and such handles access it.
//! let shared = unsafe { SharedInfo::from_ptr(page) };
//!
//! let vcpu = shared.vcpu_info(0).ok_or("no such vCPU")?;
//! vcpu.evtchn_upcall_pending().swap(0, Ordering::AcqRel);
//! let selector = vcpu.evtchn_pending_sel().swap(0, Ordering::AcqRel);
//! assert_eq!(selector, 0);
//! assert!(shared.vcpu_info(999).is_none()); // every index is checked
//! # Ok::<(), &str>(())
//! ```
//!
//! # Bits: words in which both sides change bits
//!
//! The fields of a [`Bits`](access::Bits) register are read as those of any register of
//! `tock-registers`. Only atomic read-modify-writes change it. A plain write or `modify` would lose
//! simultaneous changes by the other side, so neither compiles.
//!
//! ```
//! use core::sync::atomic::Ordering;
//! use tock_registers::interfaces::Readable;
//! use xen_pac::grant_table::{GrantEntryV1, grant_entry_flags, raw};
//!
//! # let mut memory = raw::GrantEntryV1::ZEROED;
//! # // SAFETY: the memory outlives the handle and is accessed through it only.
//! # let entry = unsafe { GrantEntryV1::from_ptr(core::ptr::NonNull::from(&mut memory)) };
//! entry.flags().fetch_or(grant_entry_flags::kind::PERMIT_ACCESS.value, Ordering::Release);
//!
//! // Revokes the grant, if the peer does not use the page.
//! let flags = entry.flags().extract();
//! let (reading, writing) = (grant_entry_flags::READING, grant_entry_flags::WRITING);
//! assert!(!flags.is_set(reading) && !flags.is_set(writing));
//! let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
//! assert!(entry.flags().compare_exchange(flags.get(), 0, success, failure).is_ok());
//! ```
//!
//! # Plain registers, buffers and ring indices
//!
//! Only the other side writes a [`ReadOnly`](access::ReadOnly) register. The guest writes a
//! [`ReadWrite`](access::ReadWrite) register; several threads may do so at once. A
//! [`Buffer`](access::Buffer) is copied and never borrowed. A ring has two indices: the guest
//! publishes [its own](access::OwnIndex) and loads [the peer's](access::PeerIndex). The peer's can
//! be any number; [`RingIndex`](access::RingIndex) checks it.
//!
//! ```
//! use xen_pac::access::RingIndex;
//! use xen_pac::console_ring::{XenconsInterface, raw};
//! # use xen_pac::grant_table::{GrantEntryV1, raw as grant};
//!
//! # let mut entry = grant::GrantEntryV1::ZEROED;
//! # // SAFETY: the memory outlives the handle and is accessed through it only.
//! # let entry = unsafe { GrantEntryV1::from_ptr(core::ptr::NonNull::from(&mut entry)) };
//! entry.frame().set(0x1234);
//! assert_eq!(entry.frame().get(), 0x1234);
//!
//! # let mut memory = raw::XenconsInterface::ZEROED;
//! # // SAFETY: the memory outlives the handle and is accessed through it only.
//! # let ring = unsafe { XenconsInterface::from_ptr(core::ptr::NonNull::from(&mut memory)) };
//! let (output, produced) = (ring.output(), ring.out_prod().load());
//! let indices = RingIndex::new(output.len(), produced, ring.out_cons().load())?;
//! let message = b"hi";
//! if indices.free() >= message.len() {
//!     output.copy_from_wrapping(produced, message)?;
//!     ring.out_prod().publish(produced.wrapping_add(message.len() as u32));
//! }
//! # assert_eq!(ring.out_prod().load(), 2);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Snapshots: fields that belong together
//!
//! Xen updates the clock's fields under a version counter. A snapshot is repeated until no update
//! overlaps it, and its closure runs inside it. Read the time stamp counter in the closure, with an
//! ordered instruction (`lfence; rdtsc`, or `isb; mrs`) in an `asm!` without `nomem`: the compiler
//! then keeps it between the two loads of the version.
//!
//! ```
//! use xen_pac::shared_info::{VcpuTimeInfo, pvclock_flags, raw};
//!
//! # let mut memory = raw::VcpuTimeInfo::ZEROED;
//! # // SAFETY: the memory outlives the handle and is accessed through it only.
//! # let time = unsafe { VcpuTimeInfo::from_ptr(core::ptr::NonNull::from(&mut memory)) };
//! # let read_counter = || 0_u64;
//! let (values, ticks) = time.snapshot_with(|| read_counter());
//! let since_update = ticks.wrapping_sub(values.tsc_timestamp);
//! assert_eq!(since_update, 0);
//! assert!(!values.flags().is_set(pvclock_flags::TSC_STABLE));
//! ```
//!
//! # Encodings: words with a discriminant
//!
//! Encoders and decoders are `const fn`s. An encoder rejects a field that is out of range, and a
//! decoder rejects what Xen does not define.
//!
//! ```
//! use xen_pac::hvm::{CallbackVia, CallbackViaVariant};
//!
//! let via = CallbackVia::pci_intx(0, 0, 3 << 3, 1)?;
//! assert_eq!(via.encode(), 0x0100_0000_0000_1801);
//! assert!(CallbackVia::pci_intx(0, 0, 0, 4).is_err()); // there are four pins
//! match CallbackVia::decode(0x0100_0000_0000_1801)?.variant() {
//!     CallbackViaVariant::PciIntx { devfn, pin, .. } => assert_eq!((devfn >> 3, pin), (3, 1)),
//!     other => panic!("{other:?}"),
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Arguments and commands
//!
//! An argument struct has C's layout, with its padding named and zeroed, so no byte of the guest
//! leaks. `new` takes the fields that Xen reads, and zeroes those that Xen writes. Each command of
//! a hypercall is a type with its argument, the shape of the call, and the meaning of the result
//! ([`command::Command`]), so a call with a wrong argument does not compile.
//!
//! ```
//! use xen_pac::base::Domid;
//! use xen_pac::command::{Command, SafeCommand};
//! use xen_pac::event_channel::{EvtchnAllocUnbound, command::AllocUnbound};
//! use xen_pac::hypercall::HypercallNr;
//!
//! fn describe<C: SafeCommand>(_: C, _argument: &C::Argument) -> (HypercallNr, u32, &'static str) {
//!     (HypercallNr(C::HYPERCALL), C::NUMBER, C::NAME)
//! }
//!
//! let argument = EvtchnAllocUnbound::new(Domid::SELF, Domid(0));
//! let (hypercall, number, name) = describe(AllocUnbound, &argument);
//! assert_eq!((hypercall, number), (HypercallNr::EVENT_CHANNEL_OP, 6));
//! assert_eq!(name, "EVTCHNOP_alloc_unbound");
//! ```
//!
//! # Enumerations: numbers with names
//!
//! A later Xen can return a number without a name here. An enumeration is therefore a newtype with
//! named constants that keeps unknown values.
//!
//! ```
//! use xen_pac::base::Virq;
//!
//! assert_eq!(format!("{} {:?}", Virq::TIMER, Virq::TIMER), "TIMER Virq::TIMER");
//! assert_eq!(Virq(77).name(), None);
//! assert_eq!(format!("{}", Virq(77)), "77");
//! ```
//!
//! # Releases
//!
//! If the headers of some releases lack an item, its documentation names the releases that have it.
//! Whether the *hypervisor* supports it can only be checked at run time; [`release::Release`]
//! compares releases.
//!
//! A program names the oldest release that it supports in the environment variable
//! `XEN_PAC_OLDEST`, for instance in its `.cargo/config.toml`. What that release does not have is
//! then hidden in the documentation and deprecated: the compiler reports each use, with the release
//! that introduced the item. With `#![deny(deprecated)]`, such a use is an error. Where the program
//! checks the running release first, `#[allow(deprecated)]` permits it. What newer headers dropped
//! is always deprecated.
//!
//! ```toml
//! [env]
//! XEN_PAC_OLDEST = "4.13"
//! ```
//!
//! # The feature `simulated`
//!
//! This feature is for `xen-sim`, and for tests in which the other side is a thread of the same
//! process. Reads of memory that the other side writes become relaxed atomics. Handles get the
//! other side's methods (`publish_snapshot`, `other_side`). `access::before_each` installs a
//! function that is called before each access, in which a simulator can run the other side. The
//! crate then needs std. Guests must not enable it.
#![no_std]

#[cfg(any(test, orderings, feature = "simulated"))]
extern crate std;

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
compile_error!(
    "expected a target of x86_64, x86 or aarch64, for which xen-pac describes Xen's guest ABI"
);

#[cfg(all(target_arch = "x86_64", not(target_pointer_width = "64")))]
compile_error!(
    "expected 64-bit pointers, found x32: Xen has no ABI for it; build for x86_64 or for x86 (i686)"
);

#[cfg(all(target_arch = "aarch64", not(target_pointer_width = "64")))]
compile_error!(
    "expected 64-bit pointers, found an ILP32 variant of aarch64: Xen has no ABI for it"
);

#[cfg(target_endian = "big")]
compile_error!(
    "expected a little-endian target: Xen's guest ABI is little-endian on every architecture"
);

#[cfg(target_arch = "x86")]
const _: () = assert!(
    align_of::<u64>() == 4,
    "expected 64-bit integers aligned to 4 bytes, as C aligns them on i386: use an i686 target \
     with the System V ABI"
);

// On any other architecture the message above must be the only one.
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod access;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod command;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
#[rustfmt::skip]
#[allow(clippy::needless_update, reason = "padding depends on the architecture")]
mod generated;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod release;

#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub use generated::*;

#[cfg(test)]
mod tests;
