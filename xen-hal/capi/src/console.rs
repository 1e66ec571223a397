//! The domain's console.

use core::ffi::{c_int, c_void};
use core::ptr::NonNull;

use xen_hal::console::Console;
use xen_hal::hypercall::{Errno, Installed, installed};
use xen_hal::platform::PAGE_SIZE;

use super::storage::{answer, bytes, bytes_mut, create, done, errno, some, stores, with};

/// The size of a `struct xen_console` in bytes.
pub const XEN_CONSOLE_SIZE: usize = 64;

/// The domain's console. It must be static, and zero before the first call. While one vCPU or
/// interrupt handler uses it, other calls return `-EBUSY`.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct XenConsole {
    opaque: [u64; XEN_CONSOLE_SIZE / 8],
}

stores!(XenConsole, Console<'static, Installed>, b"xen_cons");

/// Opens the domain's console: its ring or, if it has none, Xen's own console. For a ring, calls
/// `map` with its guest frame number; `map` returns the address at which the program maps that
/// frame, or null.
///
/// Errors: `-EINVAL` if `console` is null, or the ring's frame is not mapped; `-EBUSY` if it is
/// open; `-EPERM` if the domain has no console.
///
/// # Safety
///
/// `console` must be static. The ring must stay mapped at the address that `map` returns, with the
/// caching of ordinary memory, and only this console may use it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_console_open(
    console: *mut XenConsole,
    map: Option<unsafe extern "C" fn(frame: u64) -> *mut c_void>,
) -> c_int {
    let open = || {
        // SAFETY: the caller's obligation.
        let map = |frame: u64| map.map(|map| unsafe { map(frame) }).and_then(NonNull::new);
        let aligned = |ring: &NonNull<c_void>| ring.addr().get() % PAGE_SIZE == 0;
        // SAFETY: the caller's obligation.
        let console = unsafe {
            Console::open(installed(), |frame| map(frame.0).filter(aligned).map(NonNull::cast))
        };
        console.map_err(errno)
    };
    // SAFETY: the caller's obligation.
    done(unsafe { create(console, open) })
}

/// Writes `length` bytes at `text`, as they are. Waits for the backend to make room.
///
/// Errors: `-EAGAIN` if the backend does not read; `-EINVAL` if a pointer is null, or the console
/// is not open; `-EBUSY` while other code uses the console; Xen's error. After an error, some bytes
/// may have been written.
///
/// # Safety
///
/// `console` must be one of these structs, and `length` bytes must be at `text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_console_write(
    console: *mut XenConsole,
    text: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller's obligation.
    let text = unsafe { bytes(text, length) };
    // SAFETY: as above.
    let write = |text| unsafe { with(console, |it| it.write_all(text).map_err(errno)) };
    done(text.and_then(write))
}

/// Reads at most `length` typed bytes to `into`, and returns their number; 0 if nothing was typed.
/// Does not wait.
///
/// Errors: `-EINVAL` if a pointer is null, or the console is not open; `-EBUSY` while other code
/// uses the console; Xen's error.
///
/// # Safety
///
/// `console` must be one of these structs, and `into` must have room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_console_read(
    console: *mut XenConsole,
    into: *mut c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller's obligation.
    let into = unsafe { bytes_mut(into, length.min(c_int::MAX as usize)) };
    // SAFETY: as above.
    let read = |into| unsafe { with(console, |it| it.try_read(into).map_err(errno)) };
    answer(into.and_then(read).map(|count| count as c_int))
}

/// Waits until the backend has read everything. Call it before `xen_shutdown`.
///
/// Errors: as for `xen_console_write`.
///
/// # Safety
///
/// `console` must be one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_console_flush(console: *mut XenConsole) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { with(console, |console| console.flush().map_err(errno)) })
}

/// Stores the port of the console's ring in `*port`. It has an event when a key was typed, and when
/// the backend has read.
///
/// Errors: `-ENOENT` for Xen's own console, which has none; `-EINVAL` if a pointer is null, or the
/// console is not open; `-EBUSY` while other code uses the console.
///
/// # Safety
///
/// `console` must be one of these structs, and `*port` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_console_port(console: *mut XenConsole, port: *mut u32) -> c_int {
    let read = |console: &mut Console<'static, Installed>| {
        let (port, number) = (some(port)?, console.port().ok_or(Errno::ENOENT)?);
        // SAFETY: the caller's obligation.
        unsafe { port.write(number.0) };
        Ok(())
    };
    // SAFETY: the caller's obligation.
    done(unsafe { with(console, read) })
}
