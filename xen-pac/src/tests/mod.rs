//! Tests that need more than the public interface: hand-made blocks, and readers that break the
//! protocol.

mod block;
mod data;
mod registers;
mod ring;
mod sources;
mod torn;

/// The configuration of property tests: Miri interprets every access, and has no file system for
/// failures.
fn property_config() -> proptest::test_runner::Config {
    let usual = proptest::test_runner::Config::default();
    if cfg!(miri) {
        proptest::test_runner::Config { cases: 8, failure_persistence: None, ..usual }
    } else {
        usual
    }
}
