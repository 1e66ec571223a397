//! Tests that need more than the public interface: hand-made blocks, and readers that break the
//! rules.

mod block;
mod buffer;
mod data;
mod hook;
mod registers;
mod sources;
mod torn;
mod word;

/// How property tests run: Miri interprets every access, and has no file system to keep failures
/// in.
fn property_config() -> proptest::test_runner::Config {
    let usual = proptest::test_runner::Config::default();
    if cfg!(miri) {
        proptest::test_runner::Config { cases: 8, failure_persistence: None, ..usual }
    } else {
        usual
    }
}
