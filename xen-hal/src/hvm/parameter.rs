//! The domain's parameters, each with the type of its value.
//!
//! ```
//! use xen_hal::hvm::parameter;
//! use xen_pac::hvm::HvmParam;
//!
//! assert_eq!(parameter::STORE_PFN.number(), HvmParam::STORE_PFN);
//! ```

use core::fmt;
use core::marker::PhantomData;

use xen_pac::hvm::{AcpiIoportsLocation, Altp2mMode, CallbackVia, HvmParam, HvmTimerMode};
use xen_pac::sched::ShutdownReason;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use super::ViridianFeatures;
use super::{FipWidth, GuestAddress, MachineCheckCapabilities, SizedArea};
use crate::event::Port;
use crate::platform::Frame;

/// A parameter with a value of type `V`: one of the constants of [this module](self).
pub struct Parameter<V> {
    number: HvmParam,
    value: PhantomData<fn() -> V>,
}

impl<V> Parameter<V> {
    const fn new(number: HvmParam) -> Self {
        Self { number, value: PhantomData }
    }

    /// Returns the parameter's number.
    #[must_use]
    pub const fn number(self) -> HvmParam {
        self.number
    }
}

impl<V> Clone for Parameter<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Parameter<V> {}

impl<V> fmt::Debug for Parameter<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({})", self.number)
    }
}

macro_rules! parameters {
    ($($(#[doc = $doc:literal])* $(#[cfg($($cfg:tt)*)])? $name:ident: $value:ty;)*) => {
        $(
            $(#[doc = $doc])*
            $(#[cfg($($cfg)*)])?
            #[doc = concat!("\n\nSee [`HvmParam::", stringify!($name), "`].")]
            pub const $name: Parameter<$value> = Parameter::new(HvmParam::$name);
        )*

        #[cfg(test)]
        pub(super) const NUMBERS: &[HvmParam] = &[$($(#[cfg($($cfg)*)])? HvmParam::$name),*];
    };
}

parameters! {
    /// How Xen interrupts the guest for events. To set it, use
    /// [`set_callback_via`](super::Hvm::set_callback_via), which returns the `WidthLatch` that
    /// mapping the shared page needs.
    CALLBACK_IRQ: CallbackVia;
    /// The frame of the xenstore ring; `None` if there is none yet.
    STORE_PFN: Option<Frame>;
    /// The guest's port of the xenstore ring; `None` if there is none yet.
    STORE_EVTCHN: Option<Port>;
    /// The frame of the console ring; `None` if there is none.
    CONSOLE_PFN: Option<Frame>;
    /// The guest's port of the console ring.
    CONSOLE_EVTCHN: Option<Port>;
    /// The location of the power management timer. `ENODEV` in a PVH domain.
    ACPI_IOPORTS_LOCATION: AcpiIoportsLocation;
    /// The address of 128 bytes for a task state segment, which Xen needs on processors that cannot
    /// run real mode natively. An invalid address crashes the domain that sets it.
    VM86_TSS: GuestAddress;
    /// The address and the size, at least 104 bytes, of that segment. An invalid value crashes the
    /// domain that sets it. Since Xen 4.9.
    VM86_TSS_SIZED: SizedArea;
    /// The address of the 16-byte generation ID, which the tools change when they restore the
    /// domain from a snapshot. Since Xen 4.5.
    VM_GENERATION_ID_ADDR: GuestAddress;
    /// How many bytes of the FPU's instruction pointer Xen keeps. Since Xen 4.7.
    X87_FIP_WIDTH: FipWidth;
    /// Which domain may switch between views of memory. `EEXIST` if it is already set. Since Xen
    /// 4.6.
    ALTP2M: Altp2mMode;
    /// The Hyper-V interfaces that the guest sees.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    VIRIDIAN: ViridianFeatures;
    /// How missed ticks of the emulated timers are delivered.
    TIMER_MODE: HvmTimerMode;
    /// Whether there is an emulated high precision event timer.
    HPET_ENABLED: bool;
    /// Whether the emulated timers are aligned to each other.
    VPT_ALIGN: bool;
    /// The guest-physical address of a page table that maps everything one to one.
    IDENT_PT: u64;
    /// The ACPI sleep state: 0 running, 3 suspended to RAM.
    ACPI_S_STATE: u64;
    /// The shutdown reason of a triple fault.
    TRIPLE_FAULT_REASON: ShutdownReason;
    /// Additional machine check capabilities. Since Xen 4.10.
    MCA_CAP: MachineCheckCapabilities;
    /// The frame of the default device model's requests.
    IOREQ_PFN: Option<Frame>;
    /// The frame of the default device model's ring of buffered writes.
    BUFIOREQ_PFN: Option<Frame>;
    /// The first frame for device models' requests. Since Xen 4.5.
    IOREQ_SERVER_PFN: Option<Frame>;
    /// The number of frames for device models' requests. Since Xen 4.5.
    NR_IOREQ_SERVER_PAGES: u64;
    /// The frame of the pager's ring.
    PAGING_RING_PFN: Option<Frame>;
    /// The frame of the monitor's ring. Since Xen 4.6; older releases have another name for it.
    MONITOR_RING_PFN: Option<Frame>;
    /// The frame of the ring for failures to unshare memory.
    SHARING_RING_PFN: Option<Frame>;
}
