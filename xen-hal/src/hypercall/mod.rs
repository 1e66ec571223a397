//! Reaching the hypervisor.
//!
//! [`Hypercall`] is the seam: everything in this crate is generic over it, and takes an owned
//! backend, a reference, or a `&dyn Hypercall`. There is one backend for each way in, and `detect`
//! chooses among them at run time.
//!
//! | backend | processor | the sequence |
//! |---|---|---|
//! | `Vmcall` | x86 and x86_64: Intel, Centaur, Zhaoxin | `vmcall` |
//! | `Vmmcall` | x86 and x86_64: AMD, Hygon | `vmmcall` |
//! | `HypercallPage` | x86 and x86_64: any | a call into a page that Xen filled in |
//! | `Hvc` | aarch64 | `hvc` |
//!
//! [`Commands`] adds the typed calls:
//!
//! ```
//! use xen_hal::hypercall::{Commands, Errno, Hypercall};
//! use xen_pac::version::command;
//!
//! fn release(xen: &impl Hypercall) -> Result<(usize, usize), Errno> {
//!     let version = xen.call(command::Version, ())?;
//!     Ok((version >> 16, version & 0xffff))
//! }
//! ```

mod backend;
mod call;
mod entry;
mod errno;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod cpuid;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod detect;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod page;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod vmcall;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod vmmcall;
#[cfg(target_arch = "x86")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod xen_cpuid;

#[cfg(target_arch = "aarch64")]
mod hvc;

pub use backend::Hypercall;
pub use call::{Answer, Arguments, CallShape, Commands, UncheckedArguments};
pub use errno::{Errno, check};

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use {
    cpuid::Registers,
    detect::{AnyBackend, DetectError, detect, detect_with_page},
    page::{HypercallPage, PageError},
    vmcall::Vmcall,
    vmmcall::Vmmcall,
    xen_cpuid::XenCpuid,
};

#[cfg(target_arch = "aarch64")]
pub use hvc::{AnyBackend, DetectError, Hvc, detect};
