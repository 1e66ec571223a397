//! Releases of Xen.

use core::fmt;

/// A release of Xen, by which everything that came later is gated.
///
/// ```
/// use xen_pac::release::Release;
///
/// let running = Release::from_version(0x0004_0011); // what the version hypercall answers
/// assert_eq!(running, Release::new(4, 17));
/// assert!(running >= Release::new(4, 9)); // by number: 4.17 comes after 4.9
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    major: u16,
    minor: u16,
}

impl Release {
    /// The release with these numbers: 4 and 17 for Xen 4.17.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// What the version command of the `xen_version` hypercall answers: the major number in bits
    /// 31:16, the minor in bits 15:0.
    #[must_use]
    pub const fn from_version(version: u32) -> Self {
        Self { major: (version >> 16) as u16, minor: version as u16 }
    }

    /// The first number.
    #[must_use]
    pub const fn major(self) -> u16 {
        self.major
    }

    /// The second number.
    #[must_use]
    pub const fn minor(self) -> u16 {
        self.minor
    }

    /// Whether this is `other` or a later release; the comparison for constants.
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
