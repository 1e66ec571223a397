//! How often each program ended as it should: the closing table of a command that starts several,
//! or one several times.

use std::time::Duration;

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether as it should.
    pub good: bool,
    /// How, in a few words.
    pub verdict: String,
    /// How long it took.
    pub took: Duration,
}

/// What became of a program's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// The program.
    pub name: &'static str,
    /// How often it ran.
    pub runs: usize,
    /// How many of the runs ended as they should.
    pub good: usize,
    /// How long the slowest of them took.
    pub slowest: Duration,
    /// The verdict of the first run that did not end as it should; of the first of all, if there is
    /// none.
    pub verdict: String,
}

/// A score for each program, in the order in which they were first started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    scores: Vec<Score>,
    took: Duration,
}

impl Score {
    /// Whether every run ended as it should.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.good == self.runs
    }

    fn add(&mut self, ending: Ending) {
        if self.is_good() && !ending.good {
            self.verdict = ending.verdict;
        }
        self.runs += 1;
        self.good += usize::from(ending.good);
        self.slowest = self.slowest.max(ending.took);
    }
}

impl Tally {
    /// Counts one more run.
    pub fn add(&mut self, name: &'static str, ending: Ending) {
        self.took += ending.took;
        match self.scores.iter_mut().find(|score| score.name == name) {
            Some(score) => score.add(ending),
            None => {
                let Ending { good, verdict, took } = ending;
                self.scores.push(Score {
                    name,
                    runs: 1,
                    good: usize::from(good),
                    slowest: took,
                    verdict,
                });
            }
        }
    }

    /// The scores.
    #[must_use]
    pub fn scores(&self) -> &[Score] {
        &self.scores
    }

    /// Whether every run ended as it should.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.scores.iter().all(Score::is_good)
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.scores.iter().map(|score| score.runs).sum()
    }
}

impl std::fmt::Display for Tally {
    /// All runs in a line.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let good: usize = self.scores.iter().map(|score| score.good).sum();
        write!(
            out,
            "{good} of {} as they should be, in {:.1} s",
            self.runs(),
            self.took.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Score, Tally};
    use std::time::Duration;

    fn ending(good: bool, verdict: &str, seconds: u64) -> Ending {
        Ending { good, verdict: verdict.to_owned(), took: Duration::from_secs(seconds) }
    }

    #[test]
    fn each_program_has_its_own_score() {
        let mut tally = Tally::default();
        for round in 1..=3 {
            tally.add("timer", ending(true, "success", round));
            tally.add(
                "sched",
                ending(round != 2, if round == 2 { "hang" } else { "success" }, 5 - round),
            );
        }
        let (timer, sched) = (&tally.scores()[0], &tally.scores()[1]);
        let seconds = Duration::from_secs;
        assert_eq!(
            *timer,
            Score {
                name: "timer",
                runs: 3,
                good: 3,
                slowest: seconds(3),
                verdict: "success".into()
            }
        );
        assert_eq!(
            *sched,
            Score { name: "sched", runs: 3, good: 2, slowest: seconds(4), verdict: "hang".into() }
        );
        assert_eq!((timer.is_good(), sched.is_good(), tally.is_good()), (true, false, false));
        assert_eq!(tally.to_string(), "5 of 6 as they should be, in 15.0 s");
    }

    #[test]
    fn the_first_failure_is_told_and_no_later_success_mends_it() {
        let mut tally = Tally::default();
        for (good, verdict) in
            [(true, "success"), (false, "hang"), (false, "panic"), (true, "success")]
        {
            tally.add("ipi", ending(good, verdict, 1));
        }
        assert_eq!((tally.scores()[0].verdict.as_str(), tally.scores()[0].good), ("hang", 2));
        assert!(!tally.is_good());
    }

    #[test]
    fn a_failure_in_the_only_run_counts() {
        let mut tally = Tally::default();
        tally.add("ipi", ending(false, "hang", 1));
        assert!(!tally.is_good());
        assert_eq!(tally.to_string(), "0 of 1 as they should be, in 1.0 s");
    }
}
