//! The parts of a line. A value that differs between runs is written as the name of its kind.

use core::fmt::{self, Write};

use xen_hal::event::{Binding, Port, Status};
use xen_hal::grant::{GrantError, GrantRef};
use xen_hal::hvm::ParameterError;
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::VcpuError;
use xen_hal::version::{CommandError, Text};
use xen_pac::base::{Domid, Virq};
use xen_pac::features::Feature;
use xen_pac::grant_table::GrantStatus;
use xen_pac::hvm::HvmParam;
use xen_pac::release::Release;
use xen_pac::vcpu::Runstate;

/// A part of a line.
pub trait Token {
    /// Writes the token. `me` is the number of the domain that runs the scenario.
    ///
    /// # Errors
    ///
    /// The formatter's errors.
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result;
}

/// An address, or a frame's number. The text names only the kind, and whether it is 0.
#[derive(Clone, Copy, Debug)]
pub struct Address<T>(pub T);

/// A time. The text names only the kind.
#[derive(Clone, Copy, Debug)]
pub struct Time;

impl<T: Copy + Into<u64>> Token for Address<T> {
    fn write(&self, f: &mut fmt::Formatter<'_>, _: Domid) -> fmt::Result {
        f.write_str(if self.0.into() == 0 { "<null>" } else { "<addr>" })
    }
}

impl Token for Time {
    fn write(&self, f: &mut fmt::Formatter<'_>, _: Domid) -> fmt::Result {
        f.write_str("<time>")
    }
}

impl Token for &str {
    fn write(&self, f: &mut fmt::Formatter<'_>, _: Domid) -> fmt::Result {
        f.write_str(self)
    }
}

impl Token for () {
    fn write(&self, f: &mut fmt::Formatter<'_>, _: Domid) -> fmt::Result {
        f.write_str("ok")
    }
}

impl Token for bool {
    fn write(&self, f: &mut fmt::Formatter<'_>, _: Domid) -> fmt::Result {
        f.write_str(if *self { "yes" } else { "no" })
    }
}

/// An answer is written as what it brought, or as the error's name.
impl<T: Token, E: Token> Token for Result<T, E> {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        match self {
            Ok(value) => value.write(f, me),
            Err(error) => error.write(f, me),
        }
    }
}

impl<T: Token> Token for Option<T> {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        match self {
            Some(value) => value.write(f, me),
            None => f.write_str("none"),
        }
    }
}

/// Values that are written by their `Display`, behind the name of their kind.
macro_rules! shown {
    ($($format:literal: $($kind:ty),*;)*) => {$($(
        impl Token for $kind {
            fn write(&self, f: &mut fmt::Formatter<'_>, _: Domid) -> fmt::Result {
                write!(f, $format, self)
            }
        }
    )*)*};
}

shown! {
    "{}": u8, u16, u32, u64, usize, i16, Errno, Feature, HvmParam, Runstate, GrantStatus, GrantRef;
    "port {}": Port;
    "vCPU {}": VcpuId;
    "VIRQ {}": Virq;
    "Xen {}": Release;
}

impl Token for Domid {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        if *self == me { f.write_str("this domain") } else { write!(f, "domain {self}") }
    }
}

impl Token for GrantError {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        match self {
            Self::Errno(errno) | Self::VersionRefused { errno, .. } => errno.write(f, me),
            Self::Status(status) => status.write(f, me),
            _ => f.write_str("refused before Xen was asked"),
        }
    }
}

impl Token for ParameterError {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        match (self, self.errno()) {
            (Self::Removed(_), _) => f.write_str("retired, not asked for"),
            (_, Some(errno)) => errno.write(f, me),
            _ => f.write_str("a value that its type does not have"),
        }
    }
}

impl Token for VcpuError {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        match (self, self.errno()) {
            (Self::Taken, _) => f.write_str("taken"),
            (_, Some(errno)) => errno.write(f, me),
            _ => f.write_str("refused before Xen was asked"),
        }
    }
}

impl Token for CommandError {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        match self.errno() {
            Some(errno) => errno.write(f, me),
            None => f.write_str("refused before Xen was asked"),
        }
    }
}

impl Token for Status {
    fn write(&self, f: &mut fmt::Formatter<'_>, me: Domid) -> fmt::Result {
        match self.binding {
            Binding::Closed => f.write_str("closed")?,
            Binding::Unbound { remote } => {
                f.write_str("unbound for ")?;
                remote.write(f, me)?;
            }
            Binding::Interdomain { remote, port } => {
                write!(f, "interdomain with port {} of ", port.0)?;
                remote.write(f, me)?;
            }
            Binding::Pirq(number) => write!(f, "PIRQ {number}")?,
            Binding::Virq(virq) => write!(f, "VIRQ {virq}")?,
            Binding::Ipi => f.write_str("IPI")?,
            _ => f.write_str("something unknown")?,
        }
        write!(f, ", notifies vCPU {}", self.vcpu.0)
    }
}

/// A text that Xen wrote, of which only printable characters are shown.
impl<const N: usize> Token for Text<N> {
    fn write(&self, f: &mut fmt::Formatter<'_>, _: Domid) -> fmt::Result {
        f.write_char('"')?;
        write!(f, "{self}")?;
        f.write_char('"')
    }
}
