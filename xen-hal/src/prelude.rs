//! The traits of this crate, and the names that nearly every kernel uses.
//!
//! ```
//! use xen_hal::prelude::*;
//!
//! fn stop_timer(xen: Xen<impl Hypercall + Copy>) -> Result<(), Error> {
//!     Ok(xen.vcpu(VcpuId(0)).stop_singleshot_timer()?)
//! }
//! # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| stop_timer(Xen::new(guest.xen())));
//! ```

pub use tock_registers::interfaces::{Readable, Writeable};

pub use crate::clock::{Clock, Instant, SystemTime};
pub use crate::event::{Channel, Port, PortFilter};
pub use crate::hypercall::{Commands, Errno, Hypercall};
pub use crate::platform::{
    AddressSpace, Counter, CurrentVcpu, Frame, Interrupts, PAGE_SIZE, VcpuId,
};
pub use crate::ring::Wait;
pub use crate::xenstore::Tree;
pub use crate::{Error, Xen};
