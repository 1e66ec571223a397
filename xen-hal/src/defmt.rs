//! Implements `defmt::Format` for errors, small values and handles, with the text of `Display` or
//! `Debug`.

use defmt::{Debug2Format, Display2Format, Format, Formatter, write};

use crate::clock::{Instant, SystemTime, UnsafePvClockError};
use crate::console::ConsoleError;
use crate::event::{Channel, Port};
use crate::grant::{
    Grant, GrantError, GrantInUseError, GrantRef, LendError, MapError, Mapping, UnmapError,
};
use crate::hvm::ParameterError;
use crate::hypercall::{DetectError, Errno, Hypercall};
use crate::memory::MemoryError;
use crate::platform::{Frame, VcpuId};
use crate::ring::RingFullError;
use crate::xenbus::XenbusError;
use crate::xenstore::StoreError;

macro_rules! format {
    ($by:ident: $($type:ty),* $(,)?) => {$(
        impl Format for $type {
            fn format(&self, f: Formatter<'_>) {
                write!(f, "{}", $by(self));
            }
        }
    )*};
}

format! {
    Display2Format:
    crate::Error, ConsoleError, DetectError, Errno, GrantError, GrantInUseError<'_>, LendError,
    MapError<'_>, MemoryError, ParameterError, RingFullError, StoreError, UnsafePvClockError,
    VcpuId, XenbusError, crate::vcpu::RegisterError,
}

format! { Debug2Format: Frame, Grant<'_>, GrantRef, Instant, Port, SystemTime }

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
format! {
    Display2Format:
    crate::start_info::StartInfoError, crate::vcpu::InitialiseError, crate::vcpu::StartError,
}

#[cfg(feature = "blk")]
format! { Display2Format: crate::blk::BlockError }

impl<H: Hypercall> Format for UnmapError<'_, H> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", Display2Format(self));
    }
}

impl<H: Hypercall> Format for Mapping<'_, H> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", Debug2Format(self));
    }
}

impl<H: Hypercall + Copy> Format for Channel<H> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", Debug2Format(self));
    }
}
