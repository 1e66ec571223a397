//! One backend for the whole program, so that statics need no type parameter.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::{AnyBackend, Errno, Hypercall};

/// The methods of the installed backend. A direct call through a table costs less than a
/// `&dyn Hypercall`, which passes `self` in the register of the first argument.
static METHODS: AtomicPtr<Methods> =
    AtomicPtr::new(ptr::from_ref(Methods::of::<ByReference<Nothing>>()).cast_mut());
/// The installed backend itself.
static BACKEND: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// Whether an installation has begun.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// The backend that was [installed](install): a value without size, which statics can name.
///
/// Until a backend is installed, every hypercall fails with `ENOSYS`.
///
/// ```
/// use xen_hal::Xen;
/// use xen_hal::event::Channel;
/// use xen_hal::hypercall::{Errno, Installed, installed};
/// use xen_hal::platform::VcpuId;
///
/// /// A driver that is not generic over the backend.
/// struct Driver {
///     doorbell: Channel<Installed>,
/// }
///
/// let driver = Xen::new(installed()).events().bind_ipi(VcpuId(0)).map(|doorbell| Driver { doorbell });
/// assert!(driver.is_err_and(|error| error == Errno::ENOSYS)); // nothing was installed here
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Installed(());

/// The backend that was [installed](install).
#[must_use]
pub const fn installed() -> Installed {
    Installed(())
}

/// Installs the backend that [`detect`](super::detect) found. The first installation is for good:
/// returns false if there was one before.
pub fn install(backend: AnyBackend) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return match backend {
        AnyBackend::Vmcall(_) => install_custom(&super::Vmcall),
        AnyBackend::Vmmcall(_) => install_custom(&super::Vmmcall),
        AnyBackend::Page(page) => claim() && publish::<super::HypercallPage>(page.code()),
    };
    #[cfg(target_arch = "aarch64")]
    return {
        let super::Hvc = backend;
        install_custom(&super::Hvc)
    };
}

/// As [`install`], for any backend, such as a simulator's.
pub fn install_custom<H: Hypercall + Sync>(backend: &'static H) -> bool {
    claim() && publish::<ByReference<H>>(NonNull::from(backend).cast())
}

fn claim() -> bool {
    !CLAIMED.swap(true, Ordering::Relaxed)
}

/// Makes the backend that `S` finds at `BACKEND` the installed one.
fn publish<S: Stored>(backend: NonNull<u8>) -> bool {
    BACKEND.store(backend.as_ptr().cast(), Ordering::Relaxed);
    METHODS.store(ptr::from_ref(Methods::of::<S>()).cast_mut(), Ordering::Release);
    true
}

/// How to get a backend from `BACKEND`, once it is published.
trait Stored: 'static {
    type Backend: Hypercall;

    /// # Safety
    ///
    /// `publish::<Self>` must have been called with what `Self` expects.
    unsafe fn get() -> Self::Backend;
}

/// `BACKEND` is a reference to the backend.
struct ByReference<H>(H);

impl<H: Hypercall + 'static> Stored for ByReference<H> {
    type Backend = &'static H;

    #[inline(always)]
    unsafe fn get() -> &'static H {
        if size_of::<H>() == 0 {
            // SAFETY: a reference to no bytes may dangle, and there is a value of the type.
            return unsafe { NonNull::dangling().as_ref() };
        }
        // SAFETY: `BACKEND` was made of a static reference to an `H`.
        unsafe { &*BACKEND.load(Ordering::Relaxed).cast::<H>() }
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Stored for super::HypercallPage {
    type Backend = Self;

    #[inline(always)]
    unsafe fn get() -> Self {
        // SAFETY: `BACKEND` is the code of a hypercall page, so it is not null.
        let code = unsafe { NonNull::new_unchecked(BACKEND.load(Ordering::Relaxed).cast()) };
        // SAFETY: as above.
        unsafe { Self::filled(code) }
    }
}

/// The backend until one is installed.
struct Nothing;

// SAFETY: it refuses every call, as a hypervisor without the hypercall does.
unsafe impl Hypercall for Nothing {
    unsafe fn call5(&self, _: u32, _: usize, _: usize, _: usize, _: usize, _: usize) -> isize {
        Errno::ENOSYS.to_answer()
    }
}

/// A `usize` for each argument.
macro_rules! word {
    ($argument:ident) => {
        usize
    };
}

macro_rules! methods {
    ($($call:ident($($argument:ident),*))*) => {
        struct Methods {
            $($call: unsafe extern "C" fn(u32 $(, word!($argument))*) -> isize,)*
        }

        impl Methods {
            const fn of<S: Stored>() -> &'static Self {
                $(
                    unsafe extern "C" fn $call<S: Stored>(
                        number: u32
                        $(, $argument: usize)*
                    ) -> isize {
                        // SAFETY: the methods of `S` are in use only after its publication.
                        let backend = unsafe { S::get() };
                        // SAFETY: the caller's obligations are the same.
                        unsafe { backend.$call(number $(, $argument)*) }
                    }
                )*
                const { &Self { $($call: $call::<S>),* } }
            }
        }

        // SAFETY: every call is the installed backend's own, or refused.
        unsafe impl Hypercall for Installed {
            $(
                #[inline(always)]
                unsafe fn $call(&self, number: u32 $(, $argument: usize)*) -> isize {
                    // SAFETY: it is always a static reference.
                    let methods = unsafe { &*METHODS.load(Ordering::Acquire) };
                    // SAFETY: the caller's obligations are the same.
                    unsafe { (methods.$call)(number $(, $argument)*) }
                }
            )*
        }
    };
}

methods! { call0() call1(a) call2(a, b) call3(a, b, c) call4(a, b, c, d) call5(a, b, c, d, e) }
