//! Installs one backend for the whole program, so that statics need no type parameter.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::{AnyBackend, Errno, Hypercall};

/// The methods of the installed backend. A call through this table costs less than one through
/// `&dyn Hypercall`, which passes `self` in the register of the first argument.
static METHODS: AtomicPtr<Methods> =
    AtomicPtr::new(ptr::from_ref(Methods::of::<ByReference<Nothing>>()).cast_mut());
/// The installed backend.
static BACKEND: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// True after an installation has started.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// The [installed](install) backend, as a zero-sized type that statics can name.
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
/// fn start() -> Result<Driver, Errno> {
///     Ok(Driver { doorbell: Xen::new(installed()).events().bind_ipi(VcpuId(0))? })
/// }
///
/// assert_eq!(start().err(), Some(Errno::ENOSYS)); // this example installs none
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Installed(());

/// Returns the backend that was [installed](install).
#[must_use]
pub const fn installed() -> Installed {
    Installed(())
}

/// Installs the backend that [`detect`](super::detect) found. It cannot be replaced: returns false
/// if another was installed before.
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

/// Installs any backend, such as the simulator's. Otherwise, does the same as [`install`].
pub fn install_custom<H: Hypercall + Sync>(backend: &'static H) -> bool {
    claim() && publish::<ByReference<H>>(NonNull::from(backend).cast())
}

fn claim() -> bool {
    !CLAIMED.swap(true, Ordering::Relaxed)
}

/// Stores the backend and its methods.
fn publish<S: Stored>(backend: NonNull<u8>) -> bool {
    BACKEND.store(backend.as_ptr().cast(), Ordering::Relaxed);
    METHODS.store(ptr::from_ref(Methods::of::<S>()).cast_mut(), Ordering::Release);
    true
}

#[inline(always)]
fn methods() -> &'static Methods {
    // SAFETY: `METHODS` always holds a static reference.
    unsafe { &*METHODS.load(Ordering::Acquire) }
}

/// A way to store a backend in `BACKEND`.
trait Stored: 'static {
    type Backend: Hypercall;

    /// # Safety
    ///
    /// `publish::<Self>` must have been called with the pointer that `Self` expects.
    unsafe fn get() -> Self::Backend;
}

/// Stores a reference to the backend.
struct ByReference<H>(H);

impl<H: Hypercall + 'static> Stored for ByReference<H> {
    type Backend = &'static H;

    #[inline(always)]
    unsafe fn get() -> &'static H {
        if size_of::<H>() == 0 {
            // SAFETY: a reference to a zero-sized type may dangle, and a value of the type exists.
            return unsafe { NonNull::dangling().as_ref() };
        }
        // SAFETY: `BACKEND` is a static reference to an `H`.
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

/// The backend of [`Installed`] until one is installed.
struct Nothing;

// SAFETY: it refuses every call, like a hypervisor without the hypercall.
unsafe impl Hypercall for Nothing {
    unsafe fn call5(&self, _: u32, _: usize, _: usize, _: usize, _: usize, _: usize) -> isize {
        Errno::ENOSYS.to_answer()
    }
}

/// Expands to `usize`, so that the methods' types have one for each argument.
macro_rules! word {
    ($argument:ident) => {
        usize
    };
}

macro_rules! methods {
    ($($call:ident($($argument:ident),*))*) => {
        struct Methods {
            restores: fn() -> u32,
            count_restore: fn(),
            $($call: unsafe extern "C" fn(u32 $(, word!($argument))*) -> isize,)*
        }

        impl Methods {
            const fn of<S: Stored>() -> &'static Self {
                $(
                    unsafe extern "C" fn $call<S: Stored>(
                        number: u32
                        $(, $argument: usize)*
                    ) -> isize {
                        // SAFETY: `METHODS` has this function only after `publish::<S>`.
                        let backend = unsafe { S::get() };
                        // SAFETY: the caller's obligations are the same.
                        unsafe { backend.$call(number $(, $argument)*) }
                    }
                )*
                fn restores<S: Stored>() -> u32 {
                    // SAFETY: the methods of `S` are used only after `publish::<S>`.
                    unsafe { S::get() }.restores()
                }

                fn count_restore<S: Stored>() {
                    // SAFETY: as above.
                    unsafe { S::get() }.count_restore();
                }

                const {
                    &Self {
                        restores: restores::<S>,
                        count_restore: count_restore::<S>,
                        $($call: $call::<S>),*
                    }
                }
            }
        }

        // SAFETY: `METHODS` belongs to the installed backend, or to `Nothing`.
        unsafe impl Hypercall for Installed {
            $(
                #[inline(always)]
                unsafe fn $call(&self, number: u32 $(, $argument: usize)*) -> isize {
                    // SAFETY: the caller's obligations are the same.
                    unsafe { (methods().$call)(number $(, $argument)*) }
                }
            )*

            fn restores(&self) -> u32 {
                (methods().restores)()
            }

            fn count_restore(&self) {
                (methods().count_restore)();
            }
        }
    };
}

methods! { call0() call1(a) call2(a, b) call3(a, b, c) call4(a, b, c, d) call5(a, b, c, d, e) }
