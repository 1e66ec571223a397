//! How the steps ended.

use std::time::Duration;

/// How one step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every call succeeded.
    Passed(Duration),
    /// A call failed.
    Failed {
        /// The line that can be typed to see it again.
        line: String,
        /// How long it took.
        time: Duration,
    },
    /// The machine lacks something.
    Skipped {
        /// What, and what brings it.
        why: String,
        /// Whether that is in order even where nothing may be skipped.
        optional: bool,
    },
}

/// How many steps ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Steps that passed.
    pub passed: usize,
    /// Steps that failed, and those that were skipped although nothing may be.
    pub failed: usize,
    /// Steps that were skipped.
    pub skipped: usize,
}

impl Tally {
    /// Counts one more step.
    pub fn add(&mut self, outcome: &Outcome, no_skip: bool) {
        match outcome {
            Outcome::Passed(_) => self.passed += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Skipped { optional, .. } if no_skip && !optional => self.failed += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_a_failure_only_where_nothing_may_be_skipped() {
        let skip = |optional| Outcome::Skipped { why: String::new(), optional };
        let mut lenient = Tally::default();
        lenient.add(&skip(false), false);
        assert_eq!(lenient, Tally { passed: 0, failed: 0, skipped: 1 });
        let mut strict = Tally::default();
        strict.add(&skip(false), true);
        strict.add(&skip(true), true);
        assert_eq!(strict, Tally { passed: 0, failed: 1, skipped: 1 });
    }
}
