//! Represents and compares releases of Xen.

use core::fmt;

/// A release of Xen.
///
/// ```
/// use xen_pac::release::Release;
///
/// let running = Release::from_version(0x0004_0011); // the result of XENVER_version
/// assert_eq!(running, Release::new(4, 17));
/// assert!(running >= Release::new(4, 9)); // compared as numbers: 4.17 is later than 4.9
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    major: u16,
    minor: u16,
}

impl Release {
    /// Creates the release with these numbers: 4 and 17 for Xen 4.17.
    #[inline]
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Decodes the result of `XENVER_version`: the major number in bits 31:16, the minor in bits
    /// 15:0.
    #[inline]
    #[must_use]
    pub const fn from_version(version: u32) -> Self {
        Self { major: (version >> 16) as u16, minor: version as u16 }
    }

    /// Returns the major number: 4 for Xen 4.17.
    #[inline]
    #[must_use]
    pub const fn major(self) -> u16 {
        self.major
    }

    /// Returns the minor number: 17 for Xen 4.17.
    #[inline]
    #[must_use]
    pub const fn minor(self) -> u16 {
        self.minor
    }

    /// True if this is `other` or a later release. Unlike `>=`, it can be used in constants.
    #[inline]
    #[must_use]
    pub const fn is_at_least(self, other: Self) -> bool {
        self.major > other.major || (self.major == other.major && self.minor >= other.minor)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
