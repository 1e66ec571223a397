//! The machine's memory and every raw access to it.
//!
//! Machine memory is one memfd. Xen has all of it mapped once. Each domain has a range of virtual
//! addresses in which the frames that it owns are mapped again, so a page that two domains share is
//! one page, and a page that moves is the same page at another address.
//!
//! All vCPUs of a machine run on one thread, so no two accesses happen at once.

use core::num::NonZeroUsize;
use core::ptr::{self, NonNull};
use core::slice;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use xen_hal::platform::PAGE_SIZE;
use xen_pac::access::Data;
use xen_pac::grant_table::GrantTableV1Page;
use xen_pac::shared_info::{SharedInfo, VcpuInfo};

/// The number of a frame of the machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MachineFrame(pub(crate) usize);

/// A range of virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    start: usize,
    length: usize,
}

impl Addresses {
    pub(crate) fn contains(self, address: usize) -> bool {
        self.offset(address).is_some()
    }

    /// Returns the distance of an address from the start of the range; `None` outside the range.
    pub(crate) fn offset(self, address: usize) -> Option<usize> {
        address.checked_sub(self.start).filter(|offset| *offset < self.length)
    }
}

/// Virtual addresses that are reserved for as long as this value lives.
#[derive(Debug)]
struct Reservation {
    base: NonNull<u8>,
    pages: usize,
}

// SAFETY: a reservation is an address and a length, and owns the addresses in between.
unsafe impl Send for Reservation {}

impl Reservation {
    /// Reserves addresses without mapping anything: an access faults.
    fn new(pages: usize) -> io::Result<Self> {
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
        // SAFETY: the page lies within the reservation.
        unsafe { self.base.add(index * PAGE_SIZE) }
    }

    fn addresses(&self) -> Addresses {
        Addresses { start: self.base.addr().get(), length: self.pages * PAGE_SIZE }
    }

    /// Maps frames of the file from page `first` on, in place of what was there.
    fn map(
        &self,
        first: usize,
        count: usize,
        protection: ProtFlags,
        file: &OwnedFd,
        frame: MachineFrame,
    ) -> io::Result<()> {
        assert!(first + count <= self.pages, "{count} pages from page {first} of {}", self.pages);
        let (address, offset) = (self.page(first).as_ptr().cast(), (frame.0 * PAGE_SIZE) as u64);
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the pages lie within the reservation. `Guest::page` requires programs to expect
        // that pages of their domain come and go.
        unsafe { mmap(address, count * PAGE_SIZE, protection, flags, file, offset) }?;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the reservation owns the addresses, and pointers into it end with it.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.pages * PAGE_SIZE) };
    }
}

/// All memory of the machine, at the addresses that the simulated Xen uses.
#[derive(Debug)]
pub(crate) struct MachineMemory {
    file: OwnedFd,
    mapping: Reservation,
}

impl MachineMemory {
    pub(crate) fn new(frames: usize) -> io::Result<Self> {
        let file = memfd_create("xen-sim", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, (frames * PAGE_SIZE) as u64)?;
        let mapping = Reservation::new(frames)?;
        mapping.map(0, frames, ProtFlags::READ | ProtFlags::WRITE, &file, MachineFrame(0))?;
        Ok(Self { file, mapping })
    }

    /// Returns the address of bytes in a frame; `None` if they do not lie within the frame.
    fn bytes(&self, frame: MachineFrame, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= PAGE_SIZE)
            && frame.0 < self.mapping.pages;
        // SAFETY: the offset is within the frame's page.
        fits.then(|| unsafe { self.mapping.page(frame.0).add(offset) })
    }

    /// Copies bytes out of a frame. Does nothing if they do not lie within it.
    pub(crate) fn read(&self, frame: MachineFrame, offset: usize, into: &mut [u8]) {
        if let Some(from) = self.bytes(frame, offset, into.len()) {
            // SAFETY: the bytes are mapped, and no program runs meanwhile.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), into.len()) };
        }
    }

    /// Copies bytes into a frame. Does nothing if they do not lie within it.
    pub(crate) fn write(&self, frame: MachineFrame, offset: usize, from: &[u8]) {
        if let Some(into) = self.bytes(frame, offset, from.len()) {
            // SAFETY: the bytes are mapped, and no program runs meanwhile.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_ptr(), from.len()) };
        }
    }

    /// Returns a byte of a frame.
    pub(crate) fn byte(&self, frame: MachineFrame, offset: usize) -> Option<&AtomicU8> {
        // SAFETY: the byte is mapped for as long as the memory lives, and all accesses are made by
        // one thread.
        self.bytes(frame, offset, 1).map(|byte| unsafe { AtomicU8::from_ptr(byte.as_ptr()) })
    }

    pub(crate) fn shared_info(&self, frame: MachineFrame) -> SharedInfo<'_> {
        // SAFETY: the page is mapped for as long as the memory lives, and large enough.
        unsafe { SharedInfo::from_ptr(self.mapping.page(frame.0).cast()) }
    }

    /// Returns a vCPU's `vcpu_info`; `None` if the offset is not aligned or the block leaves the
    /// frame.
    pub(crate) fn vcpu_info(&self, frame: MachineFrame, offset: usize) -> Option<VcpuInfo<'_>> {
        let block = self
            .bytes(frame, offset, size_of::<xen_pac::shared_info::raw::VcpuInfo>())
            .filter(|_| offset.is_multiple_of(8))?;
        // SAFETY: the block is mapped for as long as the memory lives, and aligned.
        Some(unsafe { VcpuInfo::from_ptr(block.cast()) })
    }

    pub(crate) fn grant_page(&self, frame: MachineFrame) -> GrantTableV1Page<'_> {
        // SAFETY: the page is mapped for as long as the memory lives, and large enough.
        unsafe { GrantTableV1Page::from_ptr(self.mapping.page(frame.0).cast()) }
    }
}

/// The addresses of a domain: guest frame n is page n.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    range: Reservation,
}

impl GuestMemory {
    pub(crate) fn reserve(frames: usize) -> io::Result<Self> {
        Reservation::new(frames).map(|range| Self { range })
    }

    /// Maps machine frames at guest frames.
    pub(crate) fn map(
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

    /// Unmaps a guest frame: an access faults.
    pub(crate) fn unmap(&self, frame: usize) -> io::Result<()> {
        let address = self.range.page(frame).as_ptr().cast();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as for `Reservation::map`.
        unsafe { mmap_anonymous(address, PAGE_SIZE, ProtFlags::empty(), flags) }?;
        Ok(())
    }

    /// Maps a page of ones at a guest frame. The next call overwrites later changes of the page.
    pub(crate) fn map_ones(&self, frame: usize) -> io::Result<()> {
        let page = self.range.page(frame);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as for `Reservation::map`.
        unsafe { mmap_anonymous(page.as_ptr().cast(), PAGE_SIZE, access, flags) }?;
        // SAFETY: the page was just mapped, and no program runs meanwhile.
        unsafe { page.write_bytes(0xff, PAGE_SIZE) };
        Ok(())
    }

    /// Returns the address of a guest frame.
    pub(crate) fn page(&self, frame: usize) -> NonNull<u8> {
        self.range.page(frame)
    }

    /// Returns the guest frame at an address and the offset in it; `None` for memory of the program
    /// that is not the domain's.
    pub(crate) fn locate(&self, address: usize) -> Option<(usize, usize)> {
        let offset = self.range.addresses().offset(address)?;
        Some((offset / PAGE_SIZE, offset % PAGE_SIZE))
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.range.addresses()
    }
}

/// A vCPU's stack, with an unmapped page below it.
#[derive(Debug)]
pub(crate) struct Stack(Reservation);

impl Stack {
    /// The standard library's default size of a thread's stack.
    const DEFAULT_SIZE: usize = 2 << 20;

    /// Maps a stack of `RUST_MIN_STACK` bytes, as for a thread of the standard library.
    pub(crate) fn new() -> io::Result<Self> {
        static SIZE: OnceLock<usize> = OnceLock::new();
        let size = *SIZE.get_or_init(|| {
            let set = std::env::var("RUST_MIN_STACK").ok().and_then(|size| size.parse().ok());
            set.unwrap_or(Self::DEFAULT_SIZE).max(corosensei::stack::MIN_STACK_SIZE)
        });
        let pages = size.div_ceil(PAGE_SIZE);
        let stack = Reservation::new(1 + pages)?;
        let (bottom, access) =
            (stack.page(1).as_ptr().cast(), MprotectFlags::READ | MprotectFlags::WRITE);
        // SAFETY: the pages lie within the reservation, and nothing uses them yet.
        unsafe { mprotect(bottom, pages * PAGE_SIZE, access) }?;
        Ok(Self(stack))
    }

    /// Returns the addresses at which an access is a stack overflow.
    pub(crate) fn guard(&self) -> Addresses {
        Addresses { length: PAGE_SIZE, ..self.0.addresses() }
    }
}

// SAFETY: the lowest page is not mapped, and the rest is at least `MIN_STACK_SIZE` bytes. Both ends
// are aligned to pages, and are not null.
unsafe impl corosensei::stack::Stack for Stack {
    fn base(&self) -> NonZeroUsize {
        self.0.base.addr().saturating_add(self.0.pages * PAGE_SIZE)
    }

    fn limit(&self) -> NonZeroUsize {
        self.0.base.addr()
    }
}

/// Copies a value from an address among a hypercall's arguments. The hypercall's safety contract
/// requires that the address is mapped, and `Call::reach` has rejected impossible addresses.
pub(crate) fn read_value<T: Data>(address: usize) -> T {
    if size_of::<T>() == 0 {
        return T::ZEROED;
    }
    // SAFETY: the address is mapped, as stated above, and `Data` accepts any bytes.
    unsafe { ptr::with_exposed_provenance::<T>(address).read_unaligned() }
}

/// Copies a value to an address among a hypercall's arguments: see [`read_value`].
pub(crate) fn write_value<T: Data>(address: usize, value: T) {
    if size_of::<T>() > 0 {
        // SAFETY: as for reading.
        unsafe { ptr::with_exposed_provenance_mut::<T>(address).write_unaligned(value) };
    }
}

/// Copies bytes from an address among a hypercall's arguments: see [`read_value`].
pub(crate) fn read_bytes(address: usize, into: &mut [u8]) {
    // SAFETY: as for values.
    unsafe { ptr::copy(ptr::with_exposed_provenance(address), into.as_mut_ptr(), into.len()) };
}

/// Copies bytes to an address among a hypercall's arguments: see [`read_value`].
pub(crate) fn write_bytes(address: usize, from: &[u8]) {
    // SAFETY: as for values.
    unsafe { ptr::copy(from.as_ptr(), ptr::with_exposed_provenance_mut(address), from.len()) };
}

/// Returns whether the value at an address of the program's own memory can be written. The address
/// may be unmapped, so the host's kernel reads and writes the value and reports errors.
pub(crate) fn is_writable<T: Data>(address: usize) -> bool {
    let (mut value, size) = (T::ZEROED, size_of::<T>());
    let here = libc::iovec { iov_base: (&raw mut value).cast(), iov_len: size };
    let there = libc::iovec { iov_base: ptr::with_exposed_provenance_mut(address), iov_len: size };
    // SAFETY: getting the process's number has no conditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: `here` are the bytes of the value, and the kernel checks `there`.
    let read =
        unsafe { libc::process_vm_readv(process, &raw const here, 1, &raw const there, 1, 0) };
    if read != size as isize {
        return false;
    }
    // SAFETY: as above. What is written is what was read, and no program runs meanwhile.
    let done =
        unsafe { libc::process_vm_writev(process, &raw const here, 1, &raw const there, 1, 0) };
    done == size as isize
}

/// Returns the bytes of a value.
pub(crate) fn as_bytes<T: Data>(value: &T) -> &[u8] {
    // SAFETY: a type that is `Data` has no padding, so all its bytes are initialised.
    unsafe { slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Returns a value from its bytes; zeroes if there are too few.
pub(crate) fn from_bytes<T: Data>(bytes: &[u8]) -> T {
    if bytes.len() < size_of::<T>() {
        return T::ZEROED;
    }
    // SAFETY: there are enough bytes, and `Data` accepts any.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}
