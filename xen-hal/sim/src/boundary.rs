//! Where the simulator touches memory that is not its own, and keeps the promises of the HAL's
//! unsafe traits: all of its unsafe code is in this file.
//!
//! Machine memory is one file without a name. Xen has all of it mapped, once; each domain has a
//! range of addresses of its own, in which the frames that it has are mapped again. So a page that
//! two domains share is one page, and a page that moves is the same page elsewhere. Only whoever
//! has the baton runs, also while it leaves its program, so that nobody else touches any of it
//! meanwhile.

use core::ptr::{self, NonNull};
use core::slice;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU8;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use xen_pac::access::Data;
use xen_pac::grant_table::GrantTableV1Page;
use xen_pac::shared_info::{SharedInfo, VcpuInfo};

use super::seams::{Hypervisor, Interrupts, Space};
use super::{Guest, current};
use xen_hal::grant::MapTarget;
use xen_hal::hypercall::Hypercall;
use xen_hal::memory::{Extent, Memory};
use xen_hal::platform::{AddressSpace, CurrentVcpu, Frame, PAGE_SIZE, VcpuId};
use xen_hal::vcpu::Area;

/// A frame of the machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MachineFrame(pub(super) usize);

/// A range of addresses that is taken for as long as this lives.
#[derive(Debug)]
struct Range {
    base: NonNull<u8>,
    pages: usize,
}

// SAFETY: a range is an address and a length; what is done with the memory is said where it is
// done.
unsafe impl Send for Range {}

impl Range {
    /// Addresses at which nothing is mapped: an access faults.
    fn reserve(pages: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses addresses that nothing uses.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                pages * PAGE_SIZE,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        Ok(Self { base: NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?, pages })
    }

    fn page(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.pages, "page {index} of {}", self.pages);
        // SAFETY: the page lies within the range.
        unsafe { self.base.add(index * PAGE_SIZE) }
    }

    /// Maps frames of the file from page `first` of the range on, in place of what was there.
    fn map(
        &self,
        first: usize,
        count: usize,
        protection: ProtFlags,
        file: &OwnedFd,
        frame: MachineFrame,
    ) -> io::Result<()> {
        assert!(first + count <= self.pages, "{count} pages from page {first} of {}", self.pages);
        let (place, offset) = (self.page(first).as_ptr().cast(), (frame.0 * PAGE_SIZE) as u64);
        // SAFETY: the pages are the range's own. Who uses them by pointers was told that they come
        // and go.
        unsafe {
            mmap(
                place,
                count * PAGE_SIZE,
                protection,
                MapFlags::SHARED | MapFlags::FIXED,
                file,
                offset,
            )
        }?;
        Ok(())
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the range is its own, and whoever had pointers into it was told that they end
        // with the machine.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.pages * PAGE_SIZE) };
    }
}

/// All memory of the machine, as Xen sees it.
#[derive(Debug)]
pub(super) struct MachineMemory {
    file: OwnedFd,
    range: Range,
}

impl MachineMemory {
    pub(super) fn new(frames: usize) -> io::Result<Self> {
        let file = memfd_create("xen-sim", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, (frames * PAGE_SIZE) as u64)?;
        let range = Range::reserve(frames)?;
        range.map(0, frames, ProtFlags::READ | ProtFlags::WRITE, &file, MachineFrame(0))?;
        Ok(Self { file, range })
    }

    /// The bytes of a frame, to be copied from; `None` beyond its end.
    fn bytes(&self, frame: MachineFrame, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= PAGE_SIZE)
            && frame.0 < self.range.pages;
        // SAFETY: the offset is within the frame's page.
        fits.then(|| unsafe { self.range.page(frame.0).add(offset) })
    }

    /// Copies bytes out of a frame. Nothing is copied beyond the frame's end.
    pub(super) fn read(&self, frame: MachineFrame, offset: usize, into: &mut [u8]) {
        if let Some(from) = self.bytes(frame, offset, into.len()) {
            // SAFETY: the bytes are mapped, and nobody writes there while Xen has the baton.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), into.len()) };
        }
    }

    /// Copies bytes into a frame. Nothing is copied beyond the frame's end.
    pub(super) fn write(&self, frame: MachineFrame, offset: usize, from: &[u8]) {
        if let Some(into) = self.bytes(frame, offset, from.len()) {
            // SAFETY: the bytes are mapped, and nobody uses them while Xen has the baton.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_ptr(), from.len()) };
        }
    }

    /// One byte of a frame, which a program that has the baton later may look at meanwhile.
    pub(super) fn byte(&self, frame: MachineFrame, offset: usize) -> Option<&AtomicU8> {
        // SAFETY: the byte is mapped for as long as the memory lives; accesses that are not atomic
        // are made by whoever has the baton, and so by nobody else at once.
        self.bytes(frame, offset, 1).map(|byte| unsafe { AtomicU8::from_ptr(byte.as_ptr()) })
    }

    pub(super) fn shared_info(&self, frame: MachineFrame) -> SharedInfo<'_> {
        // SAFETY: the page is mapped for as long as the memory lives, and large enough.
        unsafe { SharedInfo::from_ptr(self.range.page(frame.0).cast()) }
    }

    /// A vCPU's block; `offset` is aligned to 8 bytes and the block within the page, which Xen
    /// checks when it is registered.
    pub(super) fn vcpu_info(&self, frame: MachineFrame, offset: usize) -> Option<VcpuInfo<'_>> {
        let block = self
            .bytes(frame, offset, size_of::<xen_pac::shared_info::raw::VcpuInfo>())
            .filter(|_| offset % 8 == 0)?;
        // SAFETY: the block is mapped for as long as the memory lives, and aligned.
        Some(unsafe { VcpuInfo::from_ptr(block.cast()) })
    }

    pub(super) fn grant_page(&self, frame: MachineFrame) -> GrantTableV1Page<'_> {
        // SAFETY: the page is mapped for as long as the memory lives, and is one of a grant table.
        unsafe { GrantTableV1Page::from_ptr(self.range.page(frame.0).cast()) }
    }
}

/// The addresses of a domain: frame n of the domain is page n of the range, where there is one.
#[derive(Debug)]
pub(super) struct GuestMemory {
    range: Range,
}

impl GuestMemory {
    pub(super) fn reserve(frames: usize) -> io::Result<Self> {
        Range::reserve(frames).map(|range| Self { range })
    }

    /// Lets frames of the machine appear at frames of the domain.
    pub(super) fn map(
        &self,
        first: usize,
        count: usize,
        writable: bool,
        memory: &MachineMemory,
        frame: MachineFrame,
    ) -> io::Result<()> {
        let protection =
            if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        self.range.map(first, count, protection, &memory.file, frame)
    }

    /// XenCpuid a frame of the domain empty: an access faults.
    pub(super) fn unmap(&self, frame: usize) -> io::Result<()> {
        let place = self.range.page(frame).as_ptr().cast();
        // SAFETY: the page is the range's own. Who uses it by pointers was told that it may go.
        unsafe {
            mmap_anonymous(
                place,
                PAGE_SIZE,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
            )
        }?;
        Ok(())
    }

    /// The address of a frame of the domain.
    pub(super) fn page(&self, frame: usize) -> NonNull<u8> {
        self.range.page(frame)
    }

    /// The frame of the domain, and the offset in it, at an address; `None` for memory of the
    /// program's that is not the domain's.
    pub(super) fn place_of(&self, address: usize) -> Option<(usize, usize)> {
        let offset = address.checked_sub(self.range.base.addr().get())?;
        (offset < self.range.pages * PAGE_SIZE).then_some((offset / PAGE_SIZE, offset % PAGE_SIZE))
    }
}

/// Copies a value from the address that a hypercall was given. Whoever made the hypercall promised
/// that it is there; [`reach`](super::xen::reach) has ruled out the addresses at which nothing can
/// be.
pub(super) fn read_value<T: Data>(address: usize) -> T {
    if size_of::<T>() == 0 {
        return T::ZEROED;
    }
    // SAFETY: as said above; whatever is there is a value, as `Data` demands.
    unsafe { ptr::with_exposed_provenance::<T>(address).read_unaligned() }
}

/// Copies a value to the address that a hypercall was given, as [`read_value`].
pub(super) fn write_value<T: Data>(address: usize, value: T) {
    if size_of::<T>() > 0 {
        // SAFETY: as for reading.
        unsafe { ptr::with_exposed_provenance_mut::<T>(address).write_unaligned(value) };
    }
}

/// Copies bytes from the address that a hypercall was given, as [`read_value`].
pub(super) fn read_bytes(address: usize, into: &mut [u8]) {
    // SAFETY: as for values.
    unsafe { ptr::copy(ptr::with_exposed_provenance(address), into.as_mut_ptr(), into.len()) };
}

/// Copies bytes to the address that a hypercall was given, as [`read_value`].
pub(super) fn write_bytes(address: usize, from: &[u8]) {
    // SAFETY: as for values.
    unsafe { ptr::copy(from.as_ptr(), ptr::with_exposed_provenance_mut(address), from.len()) };
}

/// The bytes of a value.
pub(super) fn as_bytes<T: Data>(value: &T) -> &[u8] {
    // SAFETY: a type that is `Data` has no padding, so that all its bytes have values.
    unsafe { slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// A value out of its bytes; zeroes where there are too few.
pub(super) fn from_bytes<T: Data>(bytes: &[u8]) -> T {
    if bytes.len() < size_of::<T>() {
        return T::ZEROED;
    }
    // SAFETY: there are enough bytes, and whatever they are is a value, as `Data` demands.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

// SAFETY: the simulated hypervisor does what Xen does, and answers as Xen does.
unsafe impl Hypercall for Hypervisor {
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
        current::hypercall(number, [a, b, c, d, e])
    }
}

// SAFETY: frame n of the domain is mapped at page n of its range and nowhere else; any other memory
// is at a frame that stands for its own address.
unsafe impl AddressSpace for Space {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        current::frame_of(pointer.addr().get())
    }
}

// SAFETY: the simulator calls no handler on a vCPU whose flag is clear, but for that of an
// interrupt which no flag keeps away on a real processor either.
unsafe impl xen_hal::platform::Interrupts for Interrupts {
    fn disable(&self) -> bool {
        current::disable_interrupts()
    }

    unsafe fn enable(&self) {
        current::restore_interrupts(true);
    }

    unsafe fn wait(&self) {
        current::halt();
    }

    fn pause(&self) {
        current::relax();
    }
}

// SAFETY: the number is that of the vCPU on whose thread this is called.
unsafe impl CurrentVcpu for Guest {
    fn current_vcpu(&self) -> VcpuId {
        self.current()
    }
}

impl Guest {
    /// An area for Xen to write to ([`register_vcpu_info`](xen_hal::vcpu::Vcpu::register_vcpu_info)
    /// and its like), in the domain's memory: at the start of the page that [`page`](Self::page)
    /// has by the same index, which is not to be used otherwise.
    ///
    /// In a kernel such an area is a `static`. The simulator's domains cannot have those, of which
    /// there is one for all of them.
    ///
    /// # Safety
    ///
    /// The area, and whatever handle comes of it, is not used any more when
    /// [`Machine::run`](super::Machine::run) has returned; and each page is asked for as an area of
    /// one type only.
    #[must_use]
    pub unsafe fn area<T: Data>(&self, index: usize) -> &'static Area<T> {
        const { assert!(size_of::<Area<T>>() <= PAGE_SIZE) };
        let place = self.page(index).cast::<Area<T>>();
        // SAFETY: a page of the domain's is large enough, aligned and zeroed, and zeroes are an
        // area that is not taken; that it is there long enough is the caller's promise.
        unsafe { place.as_ref() }
    }
}

/// Gives a page of a simulator's own program back to Xen.
pub(super) fn give_up(memory: &Memory<Hypervisor>, frame: Frame, extent: Extent) {
    // If Xen does not take it, something else than nothing will be mapped over.
    // SAFETY: the program keeps nothing in the page.
    let _ = unsafe { memory.decrease_reservation([frame], extent) };
}

/// A place for a simulator's own program to map pages.
pub(super) fn window(space: Space, page: NonNull<u8>) -> Option<MapTarget> {
    // SAFETY: the page is one of the domain's, used by the window alone, and there as long as the
    // program runs.
    unsafe { MapTarget::new(&space, page.cast()) }.ok()
}
