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

/// A parameter whose value is a `V`: one of the constants of [this module](self).
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
    /// [`set_callback_via`](super::Hvm::set_callback_via), which also latches the width.
    CALLBACK_IRQ: CallbackVia;
    /// The frame of the xenstore ring; `None` if there is none yet.
    STORE_PFN: Option<Frame>;
    /// The guest's port of the xenstore ring; `None` if there is none yet.
    STORE_EVTCHN: Option<Port>;
    /// The frame of the console ring; `None` if there is none.
    CONSOLE_PFN: Option<Frame>;
    /// The guest's port of the console ring.
    CONSOLE_EVTCHN: Option<Port>;
    /// Where the power management timer is. `ENODEV` in a PVH domain.
    ACPI_IOPORTS_LOCATION: AcpiIoportsLocation;
    /// The 128 bytes in which Xen keeps a task state segment, for processors that cannot run real
    /// mode natively. A bad address crashes the domain that sets it.
    VM86_TSS: GuestAddress;
    /// The same with the segment's size, at least 104 bytes. A bad value crashes the domain that
    /// sets it. Since Xen 4.9.
    VM86_TSS_SIZED: SizedArea;
    /// Where the 16 bytes are that change when the domain is restored from a snapshot. The tools
    /// write them. Since Xen 4.5.
    VM_GENERATION_ID_ADDR: GuestAddress;
    /// How much of the FPU's instruction pointer is kept. Since Xen 4.7.
    X87_FIP_WIDTH: FipWidth;
    /// Which domain may switch between views of the memory. Once it is set, `EEXIST`. Since
    /// Xen 4.6.
    ALTP2M: Altp2mMode;
    /// Which of Hyper-V's interfaces the guest sees.
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
    /// Which shutdown reason a triple fault has.
    TRIPLE_FAULT_REASON: ShutdownReason;
    /// Additional machine check capabilities. Since Xen 4.10.
    MCA_CAP: MachineCheckCapabilities;
    /// The frame of the default device model's requests.
    IOREQ_PFN: Option<Frame>;
    /// The frame of the default device model's ring of writes that need no answer.
    BUFIOREQ_PFN: Option<Frame>;
    /// The first of the frames for device models' requests. Since Xen 4.5.
    IOREQ_SERVER_PFN: Option<Frame>;
    /// How many frames there are for device models' requests. Since Xen 4.5.
    NR_IOREQ_SERVER_PAGES: u64;
    /// The frame of the pager's ring.
    PAGING_RING_PFN: Option<Frame>;
    /// The frame of the monitor's ring. Since Xen 4.6; older releases have another name for it.
    MONITOR_RING_PFN: Option<Frame>;
    /// The frame of the ring for failures to unshare memory.
    SHARING_RING_PFN: Option<Frame>;
}
