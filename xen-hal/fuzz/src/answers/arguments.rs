//! Where the hypervisor may write: what each command is called with, and what that points to.

use std::ptr;

use xen_hal::platform::PAGE_SHIFT;
use xen_pac::command::{Command, shape};
use xen_pac::grant_table::{GnttabCopy, GnttabSetupTable, grant_copy_flags};
use xen_pac::memory::{XenAddToPhysmapBatch, XenMemoryMap, XenMemoryReservation};
use xen_pac::{console, event_channel, grant_table, hvm, memory, sched, vcpu, version, vm_assist};

/// Bytes that are the hypervisor's to write for the length of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) first: *mut u8,
    pub(super) length: usize,
}

/// What a range of the memory map takes.
const MAP_ENTRY: usize = 20;

trait Places {
    /// Where the argument of that size is, by the machine arguments of the call.
    fn place(arguments: &[usize], size: usize) -> Place;
}

macro_rules! places {
    ($($shape:ident: $arguments:ident, $size:ident => ($address:expr, $length:expr);)*) => {$(
        impl Places for shape::$shape {
            fn place($arguments: &[usize], $size: usize) -> Place {
                Place { first: ptr::with_exposed_provenance_mut($address), length: $length }
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
                    return Some(<Shape as Places>::place(arguments, size_of::<Argument>()));
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
    number == C::HYPERCALL.0 && arguments.first() == Some(&(C::NUMBER as usize))
}

/// What the argument of a call points to.
///
/// # Safety
///
/// The argument is as the HAL made it.
pub(super) unsafe fn behind(number: u32, arguments: &[usize], argument: Place) -> Vec<Place> {
    use xen_pac::{
        grant_table::command as grant, memory::command as memory, version::command as version,
    };
    macro_rules! any {
        ($($command:ty),*) => { false $(|| is::<$command>(number, arguments))* };
    }
    if any!(
        version::BuildId,
        version::Extraversion2,
        version::Capabilities2,
        version::Changeset2,
        version::Commandline2
    ) {
        // SAFETY: such an argument is a length, and the bytes behind it.
        let length = unsafe { argument.first.cast::<u32>().read() };
        return vec![Place { first: argument.first.wrapping_add(4), length: length as usize }];
    }
    if any!(memory::PopulatePhysmap, memory::DecreaseReservation) {
        // SAFETY: that is the commands' argument, as those below are of theirs.
        let XenMemoryReservation { extent_start, nr_extents, .. } =
            unsafe { argument.first.cast::<XenMemoryReservation>().read() };
        return vec![list(extent_start.as_ptr(), nr_extents as usize)];
    }
    if any!(memory::MemoryMap) {
        // SAFETY: as above.
        let XenMemoryMap { buffer, nr_entries, .. } =
            unsafe { argument.first.cast::<XenMemoryMap>().read() };
        return vec![Place {
            first: buffer.as_ptr().cast(),
            length: nr_entries as usize * MAP_ENTRY,
        }];
    }
    if any!(memory::AddToPhysmapBatch) {
        // SAFETY: as above.
        let XenAddToPhysmapBatch { size, idxs, gpfns, errs, .. } =
            unsafe { argument.first.cast::<XenAddToPhysmapBatch>().read() };
        let size = size.into();
        return vec![
            list(errs.as_ptr(), size),
            list(idxs.as_ptr(), size),
            list(gpfns.as_ptr(), size),
        ];
    }
    if any!(grant::SetupTable) {
        // SAFETY: as above.
        let GnttabSetupTable { frame_list, nr_frames, .. } =
            unsafe { argument.first.cast::<GnttabSetupTable>().read() };
        return vec![list(frame_list.as_ptr(), nr_frames as usize)];
    }
    if any!(grant::Copy) {
        // SAFETY: the argument is that many copies.
        let copies = unsafe {
            std::slice::from_raw_parts(argument.first.cast::<GnttabCopy>(), arguments[2])
        };
        return copies.iter().filter_map(destination).collect();
    }
    Vec::new()
}

fn list<T>(first: *mut T, count: usize) -> Place {
    Place { first: first.cast(), length: count * size_of::<T>() }
}

/// Where a copy goes within this domain. Every address is its own frame.
fn destination(copy: &GnttabCopy) -> Option<Place> {
    if grant_copy_flags::DEST_GREF.is_set(copy.flags) {
        return None;
    }
    let address = (copy.dest.u.gmfn() as usize) << PAGE_SHIFT | usize::from(copy.dest.offset);
    Some(Place { first: ptr::with_exposed_provenance_mut(address), length: copy.len.into() })
}
