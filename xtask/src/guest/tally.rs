//! How often each program ended as it should on each platform: the closing table of a command that
//! boots several.

use std::fmt;
use std::time::Duration;

use super::platform::Platform;

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// True if it ended as it should.
    pub good: bool,
    /// How, in a few words.
    pub verdict: String,
    /// How long it took.
    pub took: Duration,
}

/// The runs of a program on a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// The program.
    pub name: String,
    /// The platform.
    pub platform: Platform,
    /// How often it ran.
    pub runs: usize,
    /// How many of the runs ended as they should.
    pub good: usize,
    /// How long the slowest of them took.
    pub slowest: Duration,
    /// The verdict of the first run that did not end as it should, else of the first.
    pub verdict: String,
}

/// The scores, in the order in which the programs were first run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    scores: Vec<Score>,
    took: Duration,
}

impl Score {
    /// True if every run ended as it should.
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

    /// Returns the score in a cell of the matrix: the slowest time, or how many runs failed.
    fn cell(&self) -> String {
        if self.is_good() {
            format!("{:.1} s", self.slowest.as_secs_f64())
        } else {
            format!("FAILED {}/{}", self.runs - self.good, self.runs)
        }
    }
}

impl Tally {
    /// Counts a run.
    pub fn add(&mut self, name: &str, platform: Platform, ending: Ending) {
        self.took += ending.took;
        let same = |score: &&mut Score| score.name == name && score.platform == platform;
        match self.scores.iter_mut().find(same) {
            Some(score) => score.add(ending),
            None => {
                let Ending { good, verdict, took } = ending;
                self.scores.push(Score {
                    name: name.to_owned(),
                    platform,
                    runs: 1,
                    good: usize::from(good),
                    slowest: took,
                    verdict,
                });
            }
        }
    }

    /// Returns the scores.
    #[must_use]
    pub fn scores(&self) -> &[Score] {
        &self.scores
    }

    /// True if every run ended as it should.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.scores.iter().all(Score::is_good)
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.scores.iter().map(|score| score.runs).sum()
    }

    /// Returns the matrix of programs and platforms as a Markdown table.
    #[must_use]
    pub fn matrix(&self) -> String {
        let mut platforms: Vec<Platform> = self.scores.iter().map(|score| score.platform).collect();
        platforms.sort_unstable();
        platforms.dedup();
        let mut names: Vec<&str> = Vec::new();
        for score in &self.scores {
            if !names.contains(&score.name.as_str()) {
                names.push(&score.name);
            }
        }
        let heads = platforms.iter().map(Platform::to_string);
        let mut table = row("", heads);
        table += &row("---", platforms.iter().map(|_| "---".to_owned()));
        for name in names {
            let cells = platforms.iter().map(|platform| {
                let score = self
                    .scores
                    .iter()
                    .find(|score| score.name == name && score.platform == *platform);
                score.map_or_else(String::new, Score::cell)
            });
            table += &row(name, cells);
        }
        table
    }
}

fn row(head: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!(" {cell} |")).collect();
    format!("| {head} |{cells}\n")
}

impl fmt::Display for Tally {
    /// Returns all runs in a line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good: usize = self.scores.iter().map(|score| score.good).sum();
        write!(
            out,
            "{good} of {} runs as expected, in {:.1} s",
            self.runs(),
            self.took.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Tally};
    use crate::guest::platform::PLATFORMS;
    use std::time::Duration;

    fn ending(good: bool, verdict: &str, seconds: u64) -> Ending {
        Ending { good, verdict: verdict.to_owned(), took: Duration::from_secs(seconds) }
    }

    #[test]
    fn each_program_has_a_score_on_each_platform() {
        let [first, second] = [PLATFORMS[0], PLATFORMS[1]];
        let mut tally = Tally::default();
        for round in 1..=3 {
            tally.add("timer", first, ending(true, "success", round));
            tally.add("sched", first, ending(round != 2, "hang", 5 - round));
        }
        tally.add("timer", second, ending(true, "success", 9));
        let [timer, sched, other] = tally.scores() else { panic!("expected three scores") };
        assert_eq!((timer.runs, timer.good, timer.slowest), (3, 3, Duration::from_secs(3)));
        assert_eq!((sched.runs, sched.good, sched.verdict.as_str()), (3, 2, "hang"));
        assert_eq!((other.runs, other.platform), (1, second));
        assert!(timer.is_good() && !sched.is_good() && !tally.is_good());
        assert_eq!(tally.to_string(), "6 of 7 runs as expected, in 24.0 s");
        assert_eq!(
            tally.matrix(),
            format!(
                "|  | {first} | {second} |\n| --- | --- | --- |\n| timer | 3.0 s | 9.0 s |\n\
                 | sched | FAILED 1/3 |  |\n"
            )
        );
    }

    #[test]
    fn the_first_failure_is_told_and_no_later_success_mends_it() {
        let mut tally = Tally::default();
        for (good, verdict) in
            [(true, "success"), (false, "hang"), (false, "panic"), (true, "success")]
        {
            tally.add("ipi", PLATFORMS[0], ending(good, verdict, 1));
        }
        assert_eq!((tally.scores()[0].verdict.as_str(), tally.scores()[0].good), ("hang", 2));
        assert!(!tally.is_good());
    }
}
