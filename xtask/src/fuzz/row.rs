//! The tables.

use super::run::{End, Found};

/// What stands above the rows.
pub const HEAD: &str =
    "target    planted mistake              executions    cov     ft   seconds  verdict";

/// A row, and whether all is as it should be: without a mistake nothing is found, and with one it
/// is.
#[must_use]
pub fn row(target: &str, bug: Option<&str>, found: &Found) -> (String, bool) {
    let (verdict, good) = match (&found.end, bug) {
        (End::Nothing, None) => ("ok".to_owned(), true),
        (End::Crash { message, .. }, Some(_)) => (format!("found: {}", shortened(message)), true),
        (End::Nothing, Some(_)) => ("FAILED, not found".to_owned(), false),
        (End::Crash { .. }, None) => ("FAILED, see below".to_owned(), false),
        (End::Other(why), _) => (format!("FAILED, {why}"), false),
    };
    let Found { executions, covered, paths, took, .. } = found;
    let row = format!(
        "{target:9} {:28} {executions:>10} {covered:>6} {paths:>6} {:>9.1}  {verdict}",
        bug.unwrap_or("-"),
        took.as_secs_f64()
    );
    (row, good)
}

/// As much of a message as a line has room for.
fn shortened(message: &str) -> String {
    const ROOM: usize = 80;
    if message.chars().count() <= ROOM {
        message.to_owned()
    } else {
        message.chars().take(ROOM).chain("...".chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn good(end: End, bug: Option<&str>) -> bool {
        row("clock", bug, &Found { executions: 1, covered: 2, paths: 3, took: Duration::ZERO, end })
            .1
    }

    #[test]
    fn a_planted_mistake_has_to_be_found_and_nothing_else() {
        let crash = || End::Crash { message: "x".repeat(200), input: None };
        assert!(good(End::Nothing, None) && good(crash(), Some("ClampForgets")));
        assert!(!good(End::Nothing, Some("ClampForgets")) && !good(crash(), None));
        assert!(
            !good(End::Other(String::new()), None)
                && !good(End::Other(String::new()), Some("ClampForgets"))
        );
    }
}
