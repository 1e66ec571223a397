//! Prints the vCPU, the seed and the test before an invalid access ends the process: a stack
//! overflow, or an access to an unmapped frame.

use core::cell::Cell;
use core::fmt::{self, Write as _};
use core::mem;
use core::ptr;
use std::sync::OnceLock;

use xen_hal::platform::{PAGE_SIZE, VcpuId};
use xen_pac::base::Domid;

use crate::config::{Place, replay};
use crate::raw_memory::Addresses;
use crate::state::{FIRST, State, VcpuKey};

/// The part of the running vCPU's state that the handler needs.
#[derive(Clone, Copy)]
struct Watched {
    on: (Domid, VcpuId),
    guard: Addresses,
    memory: Addresses,
}

thread_local! {
    static WATCHED: Cell<Option<Watched>> = const { Cell::new(None) };
    /// The command line that runs the seed again.
    static REPLAY: Cell<Text> = const { Cell::new(Text::EMPTY) };
}

/// The action before [`install`].
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs `on_segv` as the process's handler of segmentation faults, before any earlier handler.
pub(super) fn install(seed: u64) {
    let mut line = Text::EMPTY;
    // A line that is too long is cut off.
    let _ = line.write_str(&replay(seed));
    REPLAY.set(line);
    PREVIOUS.get_or_init(|| {
        // SAFETY: zeroes are a value of the type.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        action.sa_sigaction = on_segv as *const () as usize;
        let mut previous = action;
        // SAFETY: the handler is async-signal-safe, and leaves faults of others to `previous`.
        unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, &raw mut previous) };
        previous
    });
}

/// Sets the vCPU that the handler names.
pub(super) fn watch(state: &State, key: VcpuKey, guard: Addresses) {
    let memory = state.domain(key).physmap.memory.addresses();
    WATCHED.set(Some(Watched { on: state.name(key), guard, memory }));
}

/// Clears the vCPU that the handler names.
pub(super) fn unwatch() {
    WATCHED.set(None);
}

extern "C" fn on_segv(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t`.
    let info_here = unsafe { &*info };
    // SAFETY: the address is set for this signal.
    let address = unsafe { info_here.si_addr() } as usize;
    if let Some(watched) = WATCHED.get() {
        let mut text = Text::EMPTY;
        // A text that is too long is cut off.
        let _ = describe(&mut text, watched, address);
        // SAFETY: the bytes are initialised, and `write` is async-signal-safe.
        unsafe { libc::write(libc::STDERR_FILENO, text.bytes.as_ptr().cast(), text.length) };
        if watched.guard.contains(address) {
            std::process::abort();
        }
    }
    let Some(previous) = PREVIOUS.get() else { return };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // Restores the earlier action: the instruction then faults again, without this handler.
            // SAFETY: the action is one that the process had.
            unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
        }
        handler => {
            type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: a handler without SA_SIGINFO takes the first argument, and ignores the rest.
            let handler = unsafe { mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
    }
}

fn describe(text: &mut Text, watched: Watched, address: usize) -> fmt::Result {
    let place = Place(watched.on);
    if watched.guard.contains(address) {
        writeln!(text, "\n{place} has overflowed its stack: RUST_MIN_STACK sets its size")?;
    } else if let Some(offset) = watched.memory.offset(address) {
        let frame = offset / PAGE_SIZE;
        write!(text, "\n{place} accessed frame {frame:#x} of its domain, ")?;
        if let Some(page) = frame.checked_sub(FIRST) {
            write!(text, "which is page {page}, ")?;
        }
        writeln!(text, "where no page is mapped for this access")?;
    } else {
        writeln!(text, "\n{place} accessed address {address:#x}, where nothing is mapped")?;
    }
    let line = REPLAY.get();
    let line = core::str::from_utf8(&line.bytes[..line.length]).unwrap_or_default();
    writeln!(text, "{line}")
}

/// Text in a fixed buffer: a signal handler must not allocate.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; 400],
    length: usize,
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; 400], length: 0 };
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        if length == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
