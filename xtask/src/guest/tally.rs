//! Counts how often each program ended as expected on each platform, for the closing table of a
//! command that boots several.

use std::fmt;
use std::time::Duration;

use super::platform::Platform;

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// True if it ended as expected.
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
    /// How many of the runs ended as expected.
    pub good: usize,
    /// How long the slowest of them took.
    pub slowest: Duration,
    /// The verdict of the first run that did not end as expected, else of the first.
    pub verdict: String,
}

/// What the runs on a platform took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The time from the first boot's preparation to the last boot's end.
    pub wall: Duration,
    /// The emulators' processor time, user and system.
    pub cpu: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wall, cpu } = self;
        write!(out, "{:.1} s, the emulators {:.1} CPU s", wall.as_secs_f64(), cpu.as_secs_f64())
    }
}

/// The scores, in the order in which the programs were first run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    scores: Vec<Score>,
    costs: Vec<(Platform, Cost)>,
    rounds: usize,
    good_rounds: usize,
}

impl Score {
    /// True if every run ended as expected.
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

    /// Adds what a platform's runs took.
    pub fn add_cost(&mut self, platform: Platform, cost: Cost) {
        match self.costs.iter_mut().find(|(known, _)| *known == platform) {
            Some((_, sum)) => {
                sum.wall += cost.wall;
                sum.cpu += cost.cpu;
            }
            None => self.costs.push((platform, cost)),
        }
    }

    /// Counts a round, in which each program ran once on each platform.
    pub fn add_round(&mut self, is_good: bool) {
        self.rounds += 1;
        self.good_rounds += usize::from(is_good);
    }

    /// Returns the scores.
    #[must_use]
    pub fn scores(&self) -> &[Score] {
        &self.scores
    }

    /// True if every run ended as expected.
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
        type Part = fn(&Cost) -> Duration;
        let parts: [(&str, Part); 2] =
            [("**all**", |cost| cost.wall), ("**CPU time**", |cost| cost.cpu)];
        for (name, part) in parts {
            let cells = platforms.iter().map(|platform| {
                let cost = self.costs.iter().find(|(known, _)| known == platform);
                cost.map_or_else(String::new, |(_, cost)| {
                    format!("{:.0} s", part(cost).as_secs_f64())
                })
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
    /// Writes the number of runs and of those that ended as expected, and the same of rounds if
    /// there were several.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good: usize = self.scores.iter().map(|score| score.good).sum();
        write!(out, "{good} of {} runs as expected", self.runs())?;
        if self.rounds > 1 {
            write!(out, ", {} of {} rounds without a failure", self.good_rounds, self.rounds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cost, Ending, Tally};
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
        tally.add_round(true);
        assert_eq!(tally.to_string(), "6 of 7 runs as expected");
        tally.add_round(false);
        assert_eq!(tally.to_string(), "6 of 7 runs as expected, 1 of 2 rounds without a failure");
        for seconds in [20, 21] {
            let [wall, cpu] = [seconds, seconds + 5].map(Duration::from_secs);
            tally.add_cost(first, Cost { wall, cpu });
        }
        assert_eq!(
            tally.matrix(),
            format!(
                "|  | {first} | {second} |\n| --- | --- | --- |\n| timer | 3.0 s | 9.0 s |\n\
                 | sched | FAILED 1/3 |  |\n| **all** | 41 s |  |\n| **CPU time** | 51 s |  |\n"
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
