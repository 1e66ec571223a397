//! Values in memory that the C program provides: structs with a tag that shows whether they hold a
//! value.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use xen_hal::Error;
use xen_hal::console::ConsoleError;
use xen_hal::event::EventError;
use xen_hal::grant::GrantError;
use xen_hal::hypercall::Errno;
use xen_hal::pac::grant_table::GrantStatus;
use xen_hal::platform::PAGE_SIZE;

/// The tag of a struct whose value is being created, changed or ended. Any tag but this and
/// [`Storage::FULL`] means that there is no value.
const BUSY: u64 = u64::MAX;

/// A C struct that stores a value.
///
/// # Safety
///
/// The struct must have the size and the alignment of a `Slot<Self::Value>`, or more.
pub(super) unsafe trait Storage {
    /// The value.
    type Value: 'static;
    /// The tag of a struct of this type that holds a value.
    const FULL: u64;
}

/// Checks that a C struct has room for a value, and implements [`Storage`].
macro_rules! stores {
    ($storage:ty, $value:ty, $tag:literal) => {
        const _: () = {
            type Slot = super::storage::Slot<$value>;
            assert!(size_of::<Slot>() <= size_of::<$storage>());
            assert!(align_of::<Slot>() <= align_of::<$storage>());
        };

        // SAFETY: checked above.
        unsafe impl super::storage::Storage for $storage {
            type Value = $value;
            const FULL: u64 = u64::from_be_bytes(*$tag);
        }
    };
}

pub(super) use stores;

/// What a C struct contains.
#[repr(C)]
pub(super) struct Slot<T> {
    tag: AtomicU64,
    value: MaybeUninit<T>,
}

/// A C struct. Only its tag is accessed before the tag shows that it is a struct of this type.
struct Place<S: Storage>(*mut Slot<S::Value>);

impl<S: Storage> Place<S> {
    /// Returns the place of a struct; `EINVAL` if the pointer is null or misaligned.
    ///
    /// # Safety
    ///
    /// Any other pointer must be that of such a struct, which only this library uses, for ever.
    unsafe fn of(storage: *const S) -> Result<Self, Errno> {
        let slot = storage.cast_mut().cast::<Slot<S::Value>>();
        if slot.is_null() || !slot.is_aligned() { Err(Errno::EINVAL) } else { Ok(Self(slot)) }
    }

    fn tag(&self) -> &AtomicU64 {
        // SAFETY: `of` requires that the struct is there.
        unsafe { &(*self.0).tag }
    }

    /// The place of the value.
    fn value(&self) -> *mut S::Value {
        // SAFETY: as above, and it has room for the slot.
        unsafe { (&raw mut (*self.0).value).cast() }
    }

    /// Sets the tag to [`BUSY`] if it is `from`.
    fn lock(&self, from: u64) -> Result<(), Errno> {
        match self.tag().compare_exchange(from, BUSY, Ordering::Acquire, Ordering::Relaxed) {
            Ok(BUSY) | Err(BUSY) => Err(Errno::EBUSY),
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::EINVAL),
        }
    }

    fn unlock(&self, tag: u64) {
        self.tag().store(tag, Ordering::Release);
    }
}

/// Returns the value of a struct whose value is never changed or [taken](take).
///
/// # Safety
///
/// As for [`Place::of`].
pub(super) unsafe fn get<S: Storage>(storage: *const S) -> Result<&'static S::Value, Errno> {
    // SAFETY: the caller's obligation.
    let place = unsafe { Place::of(storage) }?;
    match place.tag().load(Ordering::Acquire) {
        // SAFETY: the tag shows that there is a value, which stays as it is.
        tag if tag == S::FULL => Ok(unsafe { &*place.value() }),
        BUSY => Err(Errno::EBUSY),
        _ => Err(Errno::EINVAL),
    }
}

/// Creates the value of a struct, at its place. `EBUSY` if the struct holds a value.
///
/// # Safety
///
/// As for [`Place::of`], and `create` must have written the value if it succeeds.
pub(super) unsafe fn create_at<S: Storage>(
    storage: *mut S,
    create: impl FnOnce(*mut S::Value) -> Result<(), Errno>,
) -> Result<(), Errno> {
    // SAFETY: the caller's obligation.
    let place = unsafe { Place::of(storage) }?;
    let tag = place.tag().load(Ordering::Relaxed);
    if tag == S::FULL {
        return Err(Errno::EBUSY);
    }
    place.lock(tag)?;
    let created = create(place.value());
    place.unlock(if created.is_ok() { S::FULL } else { 0 });
    created
}

/// As [`create_at`], for a value that can be moved to its place.
///
/// # Safety
///
/// As for [`Place::of`].
pub(super) unsafe fn create<S: Storage>(
    storage: *mut S,
    create: impl FnOnce() -> Result<S::Value, Errno>,
) -> Result<(), Errno> {
    let at = |place: *mut S::Value| {
        let value = create()?;
        // SAFETY: the place is the struct's.
        unsafe { place.write(value) };
        Ok(())
    };
    // SAFETY: the caller's obligation, and the value is written.
    unsafe { create_at(storage, at) }
}

/// Uses the value of a struct. `EBUSY` while other code uses it.
///
/// # Safety
///
/// As for [`Place::of`].
pub(super) unsafe fn with<S: Storage, R>(
    storage: *mut S,
    work: impl FnOnce(&mut S::Value) -> Result<R, Errno>,
) -> Result<R, Errno> {
    // SAFETY: the caller's obligation.
    let place = unsafe { Place::of(storage) }?;
    place.lock(S::FULL)?;
    // SAFETY: there is a value, and the tag keeps others away.
    let result = work(unsafe { &mut *place.value() });
    place.unlock(S::FULL);
    result
}

/// Ends the value of a struct. If `end` fails, it returns the value, which stays.
///
/// # Safety
///
/// As for [`Place::of`].
pub(super) unsafe fn take<S: Storage>(
    storage: *mut S,
    end: impl FnOnce(S::Value) -> Result<(), (S::Value, Errno)>,
) -> Result<(), Errno> {
    // SAFETY: the caller's obligation.
    let place = unsafe { Place::of(storage) }?;
    place.lock(S::FULL)?;
    // SAFETY: there is a value, and the tag keeps others away.
    match end(unsafe { place.value().read() }) {
        Ok(()) => {
            place.unlock(0);
            Ok(())
        }
        Err((value, error)) => {
            // SAFETY: the value was moved out above, and no other code uses the place.
            unsafe { place.value().write(value) };
            place.unlock(S::FULL);
            Err(error)
        }
    }
}

/// Returns a pointer of C's; `EINVAL` if it is null or misaligned.
pub(super) fn some<T>(pointer: *mut T) -> Result<NonNull<T>, Errno> {
    NonNull::new(pointer).filter(|pointer| pointer.is_aligned()).ok_or(Errno::EINVAL)
}

/// Returns the pointer to a page; `EINVAL` if it is null or not at the start of a page.
pub(super) fn page<T>(pointer: *mut core::ffi::c_void) -> Result<NonNull<T>, Errno> {
    let aligned = |page: &NonNull<T>| page.addr().get() % PAGE_SIZE == 0;
    NonNull::new(pointer.cast()).filter(aligned).ok_or(Errno::EINVAL)
}

/// Returns the bytes of a buffer; `EINVAL` if the pointer is null or the length too large.
///
/// # Safety
///
/// Otherwise, `length` bytes must be there, which nothing writes during the call.
pub(super) unsafe fn bytes<'a>(
    pointer: *const core::ffi::c_void,
    length: usize,
) -> Result<&'a [u8], Errno> {
    let pointer = some(pointer.cast_mut().cast())?;
    if length > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's obligation.
    Ok(unsafe { core::slice::from_raw_parts(pointer.as_ptr(), length) })
}

/// As [`bytes`], for a buffer that is written.
///
/// # Safety
///
/// As for [`bytes`], and nothing else uses the bytes during the call.
pub(super) unsafe fn bytes_mut<'a>(
    pointer: *mut core::ffi::c_void,
    length: usize,
) -> Result<&'a mut [u8], Errno> {
    let pointer = some(pointer.cast())?;
    if length > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's obligation.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer.as_ptr(), length) })
}

/// The result of a C function: 0 or a positive number, or Xen's error, negated.
pub(super) fn answer(result: Result<c_int, Errno>) -> c_int {
    result.unwrap_or_else(|errno| -c_int::from(errno.number()))
}

/// The result of a C function without a value.
pub(super) fn done(result: Result<(), Errno>) -> c_int {
    answer(result.map(|()| 0))
}

/// Returns the number of an error of the HAL.
pub(super) fn errno(error: impl Into<Error>) -> Errno {
    let known = match error.into() {
        Error::Errno(errno)
        | Error::Event(EventError::Hypercall(errno))
        | Error::Console(ConsoleError::Refused(errno))
        | Error::Grant(GrantError::Errno(errno)) => Some(errno),
        Error::Console(ConsoleError::Parameter(error)) | Error::Hvm(error) => error.errno(),
        Error::Command(error) => error.errno(),
        Error::Vcpu(error) => error.errno(),
        Error::Memory(error) | Error::Grant(GrantError::Memory(error)) => error.errno(),
        Error::Detect(_) | Error::Clock(_) => Some(Errno::ENODEV),
        Error::Console(ConsoleError::Stalled | ConsoleError::TimedOut) => Some(Errno::EAGAIN),
        Error::Grant(GrantError::Full) => Some(Errno::ENOSPC),
        Error::Grant(GrantError::Growing) => Some(Errno::EBUSY),
        Error::Grant(GrantError::Status(status)) => Some(match status {
            GrantStatus::EAGAIN => Errno::EAGAIN,
            GrantStatus::BAD_DOMAIN => Errno::ESRCH,
            GrantStatus::PERMISSION_DENIED => Errno::EPERM,
            GrantStatus::NO_SPACE | GrantStatus::NO_DEVICE_SPACE => Errno::ENOSPC,
            GrantStatus::GENERAL_ERROR => Errno::EACCES,
            _ => Errno::EINVAL,
        }),
        _ => None,
    };
    known.unwrap_or(Errno::EINVAL)
}
