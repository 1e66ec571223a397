//! The errors that the hypervisor answers with.

use core::fmt;
use core::num::NonZeroU16;

/// An error of the hypervisor: the positive number behind a negative answer.
///
/// The numbers are Xen's own, whatever the guest's operating system uses, and later releases may add some: an unknown one is kept as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Errno(NonZeroU16);

impl Errno {
    /// The largest number that an error can have: answers below its negation are results.
    pub const MAX: u16 = 4095;

    /// The error with this number, which is between 1 and [`MAX`](Self::MAX).
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The error's number, positive.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.number())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({self})")
    }
}

impl core::error::Error for Errno {}

/// Tells a hypercall's result from its error.
///
/// ```
/// use xen_hal::hypercall::{Errno, outcome};
///
/// assert_eq!(outcome(0x0004_0011), Ok(0x0004_0011));
/// assert_eq!(outcome(-38), Err(Errno::new(38).unwrap()));
/// ```
///
/// # Errors
///
/// The error, where the answer is between -4095 and -1. Everything else is a result, large addresses included.
#[inline]
pub const fn outcome(answer: isize) -> Result<usize, Errno> {
    if answer < 0 && answer >= -(Errno::MAX as isize) {
        if let Some(error) = Errno::new(answer.unsigned_abs() as u16) {
            return Err(error);
        }
    }
    Ok(answer as usize)
}

#[cfg(test)]
mod tests {
    use super::{Errno, outcome};

    #[test]
    fn errors_are_the_last_page_of_answers() {
        assert_eq!(outcome(0), Ok(0));
        assert_eq!(outcome(-1), Err(Errno::new(1).unwrap()));
        assert_eq!(outcome(-4095), Err(Errno::new(4095).unwrap()));
        assert_eq!(outcome(-4096), Ok(usize::MAX - 4095));
        assert_eq!(outcome(isize::MIN), Ok(isize::MIN.cast_unsigned()));
        assert_eq!(outcome(isize::MAX), Ok(isize::MAX.cast_unsigned()));
    }

    #[test]
    fn numbers_outside_the_range_are_no_errors() {
        assert_eq!(Errno::new(0), None);
        assert_eq!(Errno::new(4096), None);
    }
}
