//! Where the hypervisor may write: what each command is called with, and what that points to.

use std::ptr::{slice_from_raw_parts_mut, with_exposed_provenance_mut};

use xen_hal::platform::PAGE_SHIFT;
use xen_pac::command::{Command, shape};
use xen_pac::grant_table::{GnttabCopy, grant_copy_flags};
use xen_pac::{console, event_channel, grant_table, hvm, memory, sched, vcpu, version, vm_assist};

/// Bytes that are the hypervisor's to write for the length of a call.
pub(super) type Place = *mut [u8];

/// What a range of the memory map takes.
type MapEntry = [u8; 20];

trait Places {
    /// Where the argument of that size is, by the machine arguments of the call, and its length.
    fn place(arguments: &[usize], size: usize) -> (usize, usize);
}

macro_rules! places {
    ($($shape:ident: $arguments:ident, $size:ident => $place:expr;)*) => {$(
        impl Places for shape::$shape {
            fn place($arguments: &[usize], $size: usize) -> (usize, usize) {
                $place
            }
        }
    )*};
}

places! {
    Bare: _arguments, _size => (0, 0);
    Argument: arguments, size => (arguments[1], size);
    Vcpu: arguments, size => (arguments[2], size);
    Array: arguments, size => (arguments[1], size * arguments[2]);
    Buffer: arguments, size => (arguments[2], size * arguments[1]);
    Value: _arguments, _size => (0, 0);
}

macro_rules! commands {
    ($($module:ident: $($command:ident)*;)*) => {
        /// The argument of a call, if it is one that the HAL makes.
        pub(super) fn argument(number: u32, arguments: &[usize]) -> Option<Place> {
            $($(
                if is::<$module::command::$command>(number, arguments) {
                    type Argument = <$module::command::$command as Command>::Argument;
                    type Shape = <$module::command::$command as Command>::Shape;
                    let (first, length) = Shape::place(arguments, size_of::<Argument>());
                    return Some(bytes(with_exposed_provenance_mut::<u8>(first), length));
                }
            )*)*
            None
        }
    };
}

commands! {
    version: Version Extraversion CompileInfo Capabilities Changeset PlatformParameters
        GetFeatures Pagesize GuestHandle Commandline BuildId Extraversion2 Capabilities2
        Changeset2 Commandline2;
    hvm: SetParam GetParam FlushTlbs SetEvtchnUpcallVector;
    event_channel: BindInterdomain BindVirq BindPirq Close Send Status AllocUnbound BindIpi
        BindVcpu Unmask SetPriority InitControl ExpandArray Reset;
    grant_table: MapGrantRef UnmapGrantRef SetupTable Copy QuerySize SetVersion GetVersion;
    memory: IncreaseReservation DecreaseReservation MaximumRamPage CurrentReservation
        MaximumReservation PopulatePhysmap AddToPhysmap MemoryMap MaximumGpfn RemoveFromPhysmap
        AddToPhysmapBatch;
    sched: YieldCpu Block Shutdown Poll RemoteShutdown ShutdownCode Watchdog PinOverride;
    vcpu: Up Down IsUp GetRunstateInfo RegisterRunstateMemoryArea SetPeriodicTimer
        StopPeriodicTimer SetSingleshotTimer StopSingleshotTimer RegisterVcpuInfo SendNmi GetPhysid
        RegisterVcpuTimeMemoryArea RegisterRunstatePhysArea RegisterVcpuTimePhysArea;
    vm_assist: Enable;
    console: Read;
}

pub(super) fn is<C: Command>(number: u32, arguments: &[usize]) -> bool {
    number == C::HYPERCALL && arguments.first() == Some(&(C::NUMBER as usize))
}

/// What the argument of a call points to, or has behind it.
///
/// # Safety
///
/// The argument is as the HAL made it.
pub(super) unsafe fn behind(number: u32, arguments: &[usize], argument: Place) -> Vec<Place> {
    if argument.is_empty() {
        return Vec::new();
    }
    macro_rules! behind {
        ($($module:ident: $($command:ident)* => |$value:ident| $places:expr;)*) => {$($(
            if is::<$module::command::$command>(number, arguments) {
                type Argument = <$module::command::$command as Command>::Argument;
                // SAFETY: such a command has such an argument, and the HAL made it.
                let $value = unsafe { &*argument.cast::<Argument>() };
                return $places.into();
            }
        )*)*};
    }
    behind! {
        version: BuildId => |text| [bytes(argument.cast::<u8>().wrapping_add(4), text.len)];
        version: Extraversion2 Capabilities2 Changeset2 Commandline2
            => |text| [bytes(argument.cast::<u8>().wrapping_add(4), text.len)];
        memory: PopulatePhysmap DecreaseReservation
            => |list| [bytes(list.extent_start.as_ptr(), list.nr_extents)];
        memory: MemoryMap
            => |map| [bytes(map.buffer.as_ptr().cast::<MapEntry>(), map.nr_entries)];
        memory: AddToPhysmapBatch => |batch| [
            bytes(batch.errs.as_ptr(), batch.size),
            bytes(batch.idxs.as_ptr(), batch.size),
            bytes(batch.gpfns.as_ptr(), batch.size),
        ];
        grant_table: SetupTable => |table| [bytes(table.frame_list.as_ptr(), table.nr_frames)];
        grant_table: Copy => |_first| {
            // SAFETY: the argument is that many copies.
            let copies = unsafe { std::slice::from_raw_parts(argument.cast(), arguments[2]) };
            copies.iter().filter_map(destination).collect::<Vec<_>>()
        };
    }
    Vec::new()
}

/// So many values of a type.
fn bytes<T>(first: *mut T, count: impl TryInto<usize>) -> Place {
    let count = count.try_into().unwrap_or_default();
    slice_from_raw_parts_mut(first.cast(), count * size_of::<T>())
}

/// Where a copy goes within this domain. Every address is its own frame.
fn destination(copy: &GnttabCopy) -> Option<Place> {
    if grant_copy_flags::DEST_GREF.is_set(copy.flags) {
        return None;
    }
    let address = (copy.dest.u.gmfn() as usize) << PAGE_SHIFT | usize::from(copy.dest.offset);
    Some(bytes(with_exposed_provenance_mut::<u8>(address), copy.len))
}
