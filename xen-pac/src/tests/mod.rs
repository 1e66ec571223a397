//! Tests that need more than the public interface: accesses that break the protocol, and rules of
//! the sources.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use crate::access::Data;

mod data;
mod registers;
mod ring;
mod sources;
mod torn;

/// Returns the configuration of property tests: Miri interprets every access, and has no file
/// system for failures.
fn property_config() -> proptest::test_runner::Config {
    let usual = proptest::test_runner::Config::default();
    if cfg!(miri) {
        proptest::test_runner::Config { cases: 8, failure_persistence: None, ..usual }
    } else {
        usual
    }
}

/// Memory for a block, which both sides may change.
#[repr(C, align(4096))]
struct Page<T>(UnsafeCell<T>);

// SAFETY: the tests access the memory through register handles only, whose accesses are atomic.
unsafe impl<T> Sync for Page<T> {}

impl<T: Data> Page<T> {
    fn zeroed() -> Self {
        Self(UnsafeCell::new(T::ZEROED))
    }

    fn as_ptr(&self) -> NonNull<T> {
        NonNull::from(&self.0).cast()
    }
}

/// A block in zeroed memory: `block!(page, SharedInfo)`.
macro_rules! block {
    ($page:ident, $block:ident) => {
        let $page = $crate::tests::Page::zeroed();
        // SAFETY: the page outlives the handle, and is accessed through it only.
        let $page = unsafe { $block::from_ptr($page.as_ptr()) };
    };
}

use block;
