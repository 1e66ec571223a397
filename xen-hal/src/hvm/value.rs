//! The types of parameter values.

use tock_registers::LocalRegisterCopy;
use xen_pac::hvm::{AcpiIoportsLocation, Altp2mMode, CallbackVia, HvmTimerMode, mca_cap};
use xen_pac::sched::ShutdownReason;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use xen_pac::viridian::viridian_features;

use crate::event::Port;
use crate::platform::Frame;

/// The type of a parameter's value. Implemented for the types of the
/// [parameters](super::parameter).
pub trait ParamValue: Sized + sealed::Sealed {
    /// Returns the value as the number that Xen takes.
    fn encode(self) -> u64;

    /// Decodes a number that Xen returned; `None` if the type has no such value.
    fn decode(value: u64) -> Option<Self>;
}

/// The type of a value that a domain can set without giving memory to Xen: all types except
/// addresses.
pub trait SafeParam: ParamValue {}

mod sealed {
    pub trait Sealed {}
}

/// The Hyper-V interfaces that a guest sees, as fields of [`viridian_features`].
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub type ViridianFeatures = LocalRegisterCopy<u64, viridian_features::Register>;

/// Additional machine check capabilities, as fields of [`mca_cap`].
pub type MachineCheckCapabilities = LocalRegisterCopy<u64, mca_cap::Register>;

/// The number of bytes of the FPU's last instruction pointer that Xen keeps across a context
/// switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FipWidth {
    /// Xen chooses at each context switch.
    Automatic,
    /// 4 bytes: an offset, with a selector.
    Four,
    /// 8 bytes: a whole address, without a selector.
    Eight,
}

/// The guest-physical address of memory that Xen or the tools write to; 0 if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestAddress(pub u64);

/// Memory that Xen writes to, by its guest-physical address and its size in bytes. The size is 0 if
/// there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SizedArea {
    /// The guest-physical address.
    pub address: u32,
    /// The size in bytes.
    pub size: u32,
}

/// Implements [`ParamValue`] with one expression for each direction.
macro_rules! values {
    ($(
        $(#[$attribute:meta])*
        $type:ty: $this:ident => $encoded:expr, $word:ident => $decoded:expr;
    )*) => {$(
        $(#[$attribute])*
        impl sealed::Sealed for $type {}

        $(#[$attribute])*
        impl ParamValue for $type {
            fn encode(self) -> u64 {
                let $this = self;
                $encoded
            }

            fn decode($word: u64) -> Option<Self> {
                $decoded
            }
        }
    )*};
}

values! {
    u64: value => value, word => Some(word);
    bool: yes => yes.into(), word => bit(word);
    // Xen returns 0 for a parameter that was never set; the tools set all ones for one that is set
    // later.
    Option<Frame>: frame => frame.map_or(0, |frame| frame.0),
        word => Some((!is_unset(word)).then_some(Frame(word)));
    Option<Port>: port => port.map_or(0, |port| port.0.into()),
        word => if is_unset(word) { Some(None) } else {
            u32::try_from(word).ok().map(|port| Some(Port(port)))
        };
    CallbackVia: via => via.encode(), word => Self::decode(word).ok();
    HvmTimerMode: mode => mode.0, word => Some(Self(word));
    AcpiIoportsLocation: location => location.0, word => Some(Self(word));
    Altp2mMode: mode => mode.0, word => Some(Self(word));
    ShutdownReason: reason => reason.0.into(), word => u32::try_from(word).ok().map(Self);
    FipWidth: width => fip_bytes(width),
        word => [Self::Automatic, Self::Four, Self::Eight]
            .into_iter()
            .find(|width| fip_bytes(*width) == word);
    GuestAddress: address => address.0, word => Some(Self(word));
    SizedArea: area => u64::from(area.size) << u32::BITS | u64::from(area.address),
        word => Some(Self { address: word as u32, size: (word >> u32::BITS) as u32 });
    MachineCheckCapabilities: capabilities => capabilities.get(), word => Some(Self::new(word));
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    ViridianFeatures: features => features.get(), word => Some(Self::new(word));
}

fn bit(word: u64) -> Option<bool> {
    match word {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

const fn is_unset(word: u64) -> bool {
    word == 0 || word == u64::MAX
}

const fn fip_bytes(width: FipWidth) -> u64 {
    match width {
        FipWidth::Automatic => 0,
        FipWidth::Four => 4,
        FipWidth::Eight => 8,
    }
}

macro_rules! safe {
    ($($type:ty)*) => {
        $(impl SafeParam for $type {})*
    };
}

safe! {
    u64 bool Option<Frame> Option<Port> CallbackVia HvmTimerMode AcpiIoportsLocation Altp2mMode
    ShutdownReason FipWidth MachineCheckCapabilities
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
safe!(ViridianFeatures);
