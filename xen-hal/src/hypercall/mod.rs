//! Reaching the hypervisor.
//!
//! [`Hypercall`] is the seam: everything in this crate is generic over it, and takes an owned backend, a reference, or a `&dyn Hypercall`. There is one backend for
//! each way in.
//!
//! | backend | processor | the sequence |
//! |---|---|---|
//! | `Vmcall` | x86 and x86_64: Intel, Centaur, Zhaoxin | `vmcall` |
//! | `Vmmcall` | x86 and x86_64: AMD, Hygon | `vmmcall` |
//!
//! ```
//! use xen_hal::hypercall::{Errno, Hypercall, outcome};
//!
//! fn reach(xen: &dyn Hypercall, number: u32) -> Result<usize, Errno> {
//!     // SAFETY: the caller of this example passes the number of a hypercall that takes no memory and changes nothing.
//!     outcome(unsafe { xen.call1(number, 0) })
//! }
//! ```

mod convention;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod entry;
mod errno;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod vmcall;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod vmmcall;
#[cfg(target_arch = "x86")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use convention::Hypercall;
pub use errno::{Errno, outcome};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use {vmcall::Vmcall, vmmcall::Vmmcall};
