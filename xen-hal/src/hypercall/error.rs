//! The errors of hypercalls.

use core::fmt;
use core::num::NonZeroU16;

use xen_pac::errno as pac;

/// An error that Xen returns: a number from 1 to [`MAX`](Self::MAX). [`xen_pac::errno::Errno`] can
/// hold any number.
///
/// The numbers are Xen's, which can differ from those of the guest's operating system. The type
/// also holds numbers without a name here, which a later release of Xen can return.
///
/// ```
/// use xen_hal::hypercall::Errno;
///
/// assert_eq!(Errno::ENOSYS.to_string(), "ENOSYS");
/// assert_eq!(Errno::new(4000).unwrap().to_string(), "error 4000");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Errno(NonZeroU16);

impl Errno {
    /// The largest error number. A result below `-MAX` is not an error.
    pub const MAX: u16 = pac::ERRNO_MAX as u16;

    /// Creates the error with this number; `None` unless it is between 1 and [`MAX`](Self::MAX).
    #[inline]
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// Returns the error's number, positive.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// Returns the result of a hypercall that fails with this error: its number, negated.
    #[inline]
    #[must_use]
    pub const fn to_answer(self) -> isize {
        -(self.0.get() as isize)
    }

    /// Returns the error's name, if Xen's headers have one: `EAGAIN` rather than `EWOULDBLOCK`.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        pac::Errno(self.0.get() as i32).name()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.number()),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({self})")
    }
}

impl core::error::Error for Errno {}

/// Defines the named errors as constants of [`Errno`].
macro_rules! named {
    ($($name:ident),*) => {
        impl Errno {$(
            #[doc = concat!("[`", stringify!($name), "`](pac::Errno::", stringify!($name), ").")]
            pub const $name: Self = Self::described(pac::Errno::$name);
        )*}

        #[cfg(test)]
        const NAMED: &[Errno] = &[$(Errno::$name),*];
    };
}

named! {
    EPERM, ENOENT, ESRCH, EIO, ENXIO, E2BIG, ENOEXEC, EBADF, ECHILD, EAGAIN, EWOULDBLOCK, ENOMEM,
    EACCES, EFAULT, EBUSY, EEXIST, EXDEV, ENODEV, ENOTDIR, EISDIR, EINVAL, ENFILE, EMFILE, ENOSPC,
    EROFS, EMLINK, EDOM, ERANGE, EDEADLK, EDEADLOCK, ENAMETOOLONG, ENOLCK, ENOSYS, ENOTEMPTY,
    ENODATA, ETIME, EBADMSG, EOVERFLOW, EILSEQ, ENOTSOCK, EMSGSIZE, EOPNOTSUPP, EADDRINUSE,
    EADDRNOTAVAIL, ENOBUFS, EISCONN, ENOTCONN, ETIMEDOUT, ECONNREFUSED
}

impl Errno {
    /// Converts a constant of the description.
    const fn described(error: pac::Errno) -> Self {
        match Self::new(error.0 as u16) {
            Some(error) => error,
            None => panic!("the description has an error outside 1 to 4095"),
        }
    }
}

/// Separates a hypercall's result from its error.
///
/// ```
/// use xen_hal::hypercall::{Errno, check};
///
/// assert_eq!(check(0x0004_0011), Ok(0x0004_0011));
/// assert_eq!(check(-38), Err(Errno::new(38).unwrap()));
/// ```
///
/// # Errors
///
/// The error, if the answer is between -4095 and -1. All other values are results, including large
/// addresses.
#[inline]
pub const fn check(answer: isize) -> Result<usize, Errno> {
    if answer < 0 && answer >= -(Errno::MAX as isize) {
        if let Some(error) = Errno::new(answer.unsigned_abs() as u16) {
            return Err(error);
        }
    }
    Ok(answer as usize)
}

/// Why no backend was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// CPUID does not show Xen.
    #[error("CPUID does not show Xen: this is not a Xen guest, or Xen hides itself")]
    NoXen,
    /// The processor's vendor is unknown: use `detect_with_page`.
    #[error("unknown processor vendor: hypercalls need a hypercall page")]
    UnknownProcessor,
    /// The hypercall page is not page-aligned.
    #[error("expected a page-aligned hypercall page")]
    Misaligned,
    /// Xen offers no hypercall page.
    #[error("this Xen offers no hypercall page")]
    NoPage,
}

#[cfg(test)]
mod tests {
    use super::{Errno, NAMED, check, pac};

    #[test]
    fn errors_are_the_last_page_of_answers() {
        assert_eq!(check(0), Ok(0));
        assert_eq!(check(-1), Err(Errno::new(1).unwrap()));
        assert_eq!(check(-4095), Err(Errno::new(4095).unwrap()));
        assert_eq!(check(-4096), Ok(usize::MAX - 4095));
        assert_eq!(check(isize::MIN), Ok(isize::MIN.cast_unsigned()));
        assert_eq!(check(isize::MAX), Ok(isize::MAX.cast_unsigned()));
    }

    #[test]
    fn every_name_of_the_description_is_a_constant() {
        for number in 1..=Errno::MAX {
            let error = Errno::new(number).unwrap();
            assert_eq!(
                pac::Errno(number.into()).name().is_some(),
                NAMED.contains(&error),
                "{error}"
            );
        }
    }

    #[test]
    fn numbers_outside_the_range_are_no_errors() {
        assert_eq!(Errno::new(0), None);
        assert_eq!(Errno::new(4096), None);
    }
}
