//! Hypercalls: the backends that enter Xen, and typed calls over them.
//!
//! A backend is one way to enter Xen, and implements [`Hypercall`]. Every handle of this crate
//! takes a backend by value, by reference, or as `&dyn Hypercall`. `detect` selects one at run
//! time.
//!
//! | backend | processor | the sequence |
//! |---|---|---|
//! | `Vmcall` | x86 and x86_64: Intel, Centaur, Zhaoxin | `vmcall` |
//! | `Vmmcall` | x86 and x86_64: AMD, Hygon | `vmmcall` |
//! | `HypercallPage` | x86 and x86_64: any | a call into a page that Xen filled in |
//! | `Hvc` | aarch64 | `hvc` |
//! | [`Installed`] | any | that of the backend that was passed to [`install`] |
//! | [`FaultInjector`] | any | that of another backend, of which some calls fail |
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
//! # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
//! #     assert_eq!(release(&guest.xen()).map(|(major, _)| major), Ok(4));
//! # });
//! ```

mod backend;
mod call;
mod error;
mod fault;
mod install;

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

pub use backend::Hypercall;
pub use call::{Answer, Arguments, CallShape, Commands, UncheckedArguments};
pub use error::{DetectError, Errno, check};
pub use fault::{Fault, FaultInjector};
pub use install::{Installed, install, install_custom, installed};

#[cfg(target_arch = "aarch64")]
pub use arm::{AnyBackend, Hvc, detect};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use x86::{AnyBackend, HypercallPage, Vmcall, Vmmcall, detect, detect_with_page};
