//! Implements `defmt::Format` for errors, small values and handles, with the text of `Display` or
//! `Debug`.

use defmt::{Debug2Format, Display2Format, Format, Formatter, write};

use crate::clock::{Instant, SystemTime, UnsafePvClockError};
use crate::console::ConsoleError;
use crate::event::{Channel, EventError, ListenError, Port};
use crate::grant::{
    Grant, GrantError, GrantInUseError, GrantRef, LendError, MapError, Mapping, UnmapError,
};
use crate::hvm::ParameterError;
use crate::hypercall::{DetectError, Errno, Hypercall};
use crate::memory::MemoryError;
use crate::platform::{Frame, VcpuId};
use crate::ring::RingFullError;
use crate::suspend::{RestoreError, SuspendError};
use crate::vcpu::VcpuError;
use crate::version::CommandError;
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
    crate::Error, CommandError, ConsoleError, DetectError, Errno, EventError, GrantError,
    GrantInUseError<'_>, LendError, MapError<'_>, MemoryError, ParameterError, RingFullError,
    StoreError,
    UnsafePvClockError, VcpuError, VcpuId, XenbusError,
}

format! { Debug2Format: Frame, Grant<'_>, GrantRef, Instant, Port, SystemTime }

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
format! {
    Display2Format:
    crate::start_info::StartInfoError,
}

#[cfg(feature = "blk")]
format! { Display2Format: crate::blk::BlockError }

#[cfg(feature = "net")]
format! { Display2Format: crate::net::NetError }

macro_rules! format_generic {
    ($by:ident: $([$($of:tt)*] $type:ty),* $(,)?) => {$(
        impl<$($of)*> Format for $type {
            fn format(&self, f: Formatter<'_>) {
                write!(f, "{}", $by(self));
            }
        }
    )*};
}

format_generic! {
    Display2Format:
    [H: Hypercall] UnmapError<'_, H>, [H: Hypercall + Copy] ListenError<H>,
    [H, A] SuspendError<H, A>, [H, A] RestoreError<H, A>,
}

#[cfg(feature = "blk")]
format_generic! {
    Display2Format: [H: Hypercall + Copy, W] crate::blk::ResumeBlockError<H, W>,
}

#[cfg(feature = "net")]
format_generic! { Display2Format: [H: Hypercall + Copy] crate::net::ResumeNetError<H> }

format_generic! { Debug2Format: [H: Hypercall] Mapping<'_, H>, [H: Hypercall + Copy] Channel<H> }
