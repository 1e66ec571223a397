//! Typed access to everything that a Xen guest shares with its hypervisor: registers in shared
//! memory, the arguments and numbers of hypercalls, constants, encodings.
//!
//! For kernel engineers who want the registers and nothing else. The crate makes no hypercall and
//! holds no state; it needs no allocator and no standard library. `xen-hal` builds on it. What is
//! generated comes from the description in `abi-yaml`, whose every offset, size and constant is
//! compared with what a C compiler makes of Xen's own headers, for each release from 4.4 to 4.20 on
//! `x86_64`, `x86` and `aarch64`.
//!
//! There is a module for each subject of the headers ([`shared_info`], [`event_channel`],
//! [`grant_table`], [`hvm`], [`memory`], [`version`], ...). In each of them the same kinds of
//! things are found:
//!
//! # Blocks: memory that the other side changes
//!
//! A block's handle is a pointer with a lifetime, `Copy` and free of state. Making one is the only
//! unsafe step: whoever does promises that the memory is there.
//!
//! ```
//! use core::ptr::NonNull;
//! use core::sync::atomic::Ordering;
//! use xen_pac::shared_info::{SharedInfo, raw};
//!
//! # let mut memory = Box::new(raw::SharedInfo::ZEROED);
//! # let page: NonNull<raw::SharedInfo> = NonNull::from(&mut *memory);
//! // SAFETY: the page is mapped for good, and nothing but Xen and such handles touches it.
//! let shared = unsafe { SharedInfo::from_ptr(page) };
//!
//! let vcpu = shared.vcpu_info(0).ok_or("no such vCPU")?;
//! vcpu.evtchn_upcall_pending().swap(0, Ordering::AcqRel);
//! let selector = vcpu.evtchn_pending_sel().swap(0, Ordering::AcqRel);
//! assert_eq!(selector, 0);
//! assert!(shared.vcpu_info(999).is_none()); // an index is checked, never trusted
//! # Ok::<(), &str>(())
//! ```
//!
//! # Bits: words of which both sides change bits
//!
//! [`Bits`](access::Bits) reads as any register of `tock-registers` does, by field; it is changed
//! by atomic read-modify-writes only. A plain write, or `modify`, would lose what the other side
//! did in between, so neither compiles.
//!
//! ```
//! use core::sync::atomic::Ordering;
//! use tock_registers::interfaces::Readable;
//! use xen_pac::grant_table::{GrantEntryV1, grant_entry_flags, raw};
//!
//! # let mut memory = raw::GrantEntryV1::ZEROED;
//! # // SAFETY: the memory outlives the handle and is touched through it only.
//! # let entry = unsafe { GrantEntryV1::from_ptr(core::ptr::NonNull::from(&mut memory)) };
//! entry.flags().fetch_or(grant_entry_flags::kind::PERMIT_ACCESS.value, Ordering::Release);
//!
//! // Taken back only while nobody uses the page.
//! let flags = entry.flags().extract();
//! let in_use = flags.is_set(grant_entry_flags::READING) || flags.is_set(grant_entry_flags::WRITING);
//! assert!(!in_use && entry.flags().matches_all(grant_entry_flags::kind::PERMIT_ACCESS));
//! assert!(entry.flags().compare_exchange(flags.get(), 0, Ordering::AcqRel, Ordering::Acquire).is_ok());
//! ```
//!
//! # Plain registers, buffers and ring indices
//!
//! [`ReadWrite`](access::ReadWrite) and [`ReadOnly`](access::ReadOnly) are volatile. A
//! [`Buffer`](access::Buffer) is copied and never borrowed. Of a ring's indices we publish [our
//! own](access::OwnIndex) and load [the peer's](access::PeerIndex).
//!
//! ```
//! use xen_pac::console_ring::{XenconsInterface, raw};
//! # use xen_pac::grant_table::{GrantEntryV1, raw as grant};
//!
//! # let mut entry = grant::GrantEntryV1::ZEROED;
//! # // SAFETY: the memory outlives the handle and is touched through it only.
//! # let entry = unsafe { GrantEntryV1::from_ptr(core::ptr::NonNull::from(&mut entry)) };
//! entry.frame().set(0x1234);
//! assert_eq!(entry.frame().get(), 0x1234);
//!
//! # let mut memory = raw::XenconsInterface::ZEROED;
//! # // SAFETY: the memory outlives the handle and is touched through it only.
//! # let ring = unsafe { XenconsInterface::from_ptr(core::ptr::NonNull::from(&mut memory)) };
//! let produced = ring.out_prod().load();
//! let free = ring.output().len() - produced.wrapping_sub(ring.out_cons().load()) as usize;
//! assert!(free >= 2);
//! ring.output().copy_from(produced as usize % ring.output().len(), b"hi")?;
//! ring.out_prod().publish(produced.wrapping_add(2));
//! # Ok::<(), xen_pac::access::OutOfBounds>(())
//! ```
//!
//! # Snapshots: fields that are only right together
//!
//! Xen updates the clock's values under a version counter. A snapshot is read again until no update
//! fell into it, and what the closure reads belongs to the same moment: the time stamp counter must
//! be read there. Have it read by an ordered instruction (`lfence; rdtsc`, or `isb; mrs`) in an
//! `asm!` without `nomem`, which the compiler keeps between the two looks at the version.
//!
//! ```
//! use xen_pac::shared_info::{VcpuTimeInfo, pvclock_flags, raw};
//!
//! # let mut memory = raw::VcpuTimeInfo::ZEROED;
//! # // SAFETY: the memory outlives the handle and is touched through it only.
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
//! Encoders and decoders are `const fn`s. What is out of range cannot be built, and what Xen does
//! not define is not decoded.
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
//! An argument struct has C's layout with its padding named and zeroed, so no byte of ours leaks.
//! `new` takes what Xen reads; the rest is what Xen answers. Each command of a hypercall is a type
//! that says which argument it takes, how it is called, and what its answer means
//! ([`command::Command`]): a hypercall cannot be given the wrong one.
//!
//! ```
//! use xen_pac::base::Domid;
//! use xen_pac::command::{Command, SafeCommand};
//! use xen_pac::event_channel::{EvtchnAllocUnbound, command::AllocUnbound};
//! use xen_pac::hypercall::Hypercall;
//!
//! fn describe<C: SafeCommand>(_: C, _argument: &C::Argument) -> (Hypercall, u32, &'static str) {
//!     (C::HYPERCALL, C::NUMBER, C::NAME)
//! }
//!
//! let argument = EvtchnAllocUnbound::new(Domid::SELF, Domid(0));
//! assert_eq!(describe(AllocUnbound, &argument), (Hypercall::EVENT_CHANNEL_OP, 6, "EVTCHNOP_alloc_unbound"));
//! ```
//!
//! # Enumerations: numbers with names
//!
//! Xen may always answer with a number that is newer than this crate. So an enumeration is a
//! newtype with named constants, which keeps what it does not know.
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
//! An item that is not in every release says so. What the *hypervisor* does is asked for at run
//! time; [`release::Release`] compares.
//!
//! Where documentation speaks of the *seed header*, it means OpenBSD's `xenreg.h`, with which this
//! project began: it says there in what that header differs from Xen's own, for whoever has code
//! that was written against it.
//!
//! # The feature `simulated`
//!
//! For programs in which the other side is a thread and no hypervisor (tests, simulators,
//! `examples/host`). Plain registers become relaxed atomics, which may race between threads, and
//! handles get the other side's half: `publish_snapshot`, `other_side`; and `access::before_each`
//! has a function called before each access, in which a simulator can run that side. The crate then
//! needs std. A guest has no use for it.
#![no_std]

#[cfg(any(test, feature = "simulated"))]
extern crate std;

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
compile_error!(
    "xen-pac describes Xen's guest ABI for x86_64, x86 and aarch64; this target's architecture is none of them"
);

#[cfg(all(target_arch = "x86_64", not(target_pointer_width = "64")))]
compile_error!(
    "xen-pac does not support x32: Xen has no ABI for 64-bit code with 32-bit pointers; build for x86_64 or for x86 (i686)"
);

#[cfg(all(target_arch = "aarch64", not(target_pointer_width = "64")))]
compile_error!(
    "xen-pac does not support the ILP32 variants of aarch64: Xen's ABI has 64-bit pointers there"
);

#[cfg(target_endian = "big")]
compile_error!(
    "xen-pac supports little-endian targets only: Xen's guest ABI is little-endian on every architecture, and big-endian aarch64 would misread every field"
);

#[cfg(target_arch = "x86")]
const _: () = assert!(
    align_of::<u64>() == 4,
    "xen-pac lays out memory as C does on i386, where a 64-bit integer is aligned to 4 bytes; this target aligns it otherwise (use an i686 target with the System V ABI)"
);

// On any other architecture the message above is to be the only one.
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod access;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod command;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
#[rustfmt::skip]
mod generated;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub mod release;

#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
pub use generated::*;

#[cfg(test)]
mod tests;
