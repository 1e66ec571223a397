//! Running several platforms at the same time: a queue of platforms, and output in blocks.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::platform::{Platform, Route};

/// Where the lines about a platform go.
///
/// If the standard output is closed, lines are lost, and the run continues to its verdict.
#[derive(Debug)]
pub enum Output {
    /// To the standard streams at once.
    Stream,
    /// Into a block that is printed when it is dropped, also if the run panics.
    Block(Vec<u8>),
}

impl Output {
    /// Writes a line.
    pub fn line(&mut self, line: impl Display) {
        let _ = match self {
            Self::Stream => writeln!(io::stdout().lock(), "{line}"),
            Self::Block(block) => writeln!(block, "{line}"),
        };
    }

    /// Writes a line to the error stream, or into the block.
    pub fn error_line(&mut self, line: impl Display) {
        match self {
            Self::Stream => drop(writeln!(io::stderr().lock(), "{line}")),
            Self::Block(_) => self.line(line),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::Block(block) = self {
            let _ = io::stdout().lock().write_all(block);
        }
    }
}

/// Locks a mutex whose value each thread changes in one step, so that no panic leaves half of it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the indices of the platforms, those with the longest runs first.
fn longest_first(platforms: &[Platform]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..platforms.len()).collect();
    order.sort_by_key(|index| match platforms[*index].route {
        Route::Domu => 0,
        Route::Vmx => 1,
        Route::Dom0 => 2,
        Route::Dom0less => 3,
    });
    order
}

/// Calls `work` for each platform, `jobs` of them at the same time, and returns the results in the
/// order of `platforms`, and the errors, each with its platform. One job takes the platforms in
/// that order; several start with those whose runs are the longest. After an error or a panic, no
/// further platform starts, and those that run finish.
pub fn run<R: Send>(
    platforms: &[Platform],
    jobs: usize,
    work: impl Fn(Platform) -> Result<R, String> + Sync,
) -> (Vec<(Platform, R)>, Result<(), String>) {
    let order =
        if jobs > 1 { longest_first(platforms) } else { (0..platforms.len()).collect::<Vec<_>>() };
    let queue = Mutex::new(order.into_iter());
    let results = Mutex::new(BTreeMap::new());
    let worker = || {
        loop {
            let next = lock(&queue).next();
            let Some(index) = next else { return };
            let result = catch_unwind(AssertUnwindSafe(|| work(platforms[index])))
                .unwrap_or_else(|_| Err("the run panicked".to_owned()));
            if result.is_err() {
                lock(&queue).by_ref().for_each(drop);
            }
            lock(&results).insert(index, result);
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(platforms.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    let (mut finished, mut errors) = (Vec::new(), Vec::new());
    for (index, result) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match result {
            Ok(result) => finished.push((platforms[index], result)),
            Err(error) => errors.push(format!("{}: {error}", platforms[index])),
        }
    }
    (finished, if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) })
}

#[cfg(test)]
mod tests {
    use super::{lock, longest_first, run};
    use crate::guest::platform::{PLATFORMS, Platform};
    use crate::guest::tally::{Ending, Tally};
    use std::sync::{Barrier, Mutex};
    use std::time::Duration;

    /// Returns the matrix of a program on all platforms, and the platforms in the order in which
    /// they finished.
    fn matrix(jobs: usize) -> (String, Vec<Platform>) {
        let finished = Mutex::new(Vec::new());
        let (endings, result) = run(PLATFORMS, jobs, |platform| {
            lock(&finished).push(platform);
            let names = if platform.route.name() == "domu" { ["b", "c"] } else { ["a", "b"] };
            Ok(names.map(|name| (name, platform.to_string().len() as u64)))
        });
        let mut tally = Tally::default();
        result.unwrap();
        for (platform, endings) in endings {
            for (name, seconds) in endings {
                let took = Duration::from_secs(seconds);
                tally.add(name, platform, Ending { good: true, verdict: String::new(), took });
            }
        }
        (tally.matrix(), finished.into_inner().unwrap())
    }

    #[test]
    fn the_matrix_does_not_depend_on_the_number_of_jobs() {
        let (one, in_order) = matrix(1);
        assert_eq!(in_order, PLATFORMS);
        assert!(one.contains("\n| a | 16.0 s |") && one.contains("\n| c |  |"), "{one}");
        for jobs in [2, 40] {
            assert_eq!(matrix(jobs).0, one, "{jobs} jobs");
        }
        let routes: Vec<&str> =
            longest_first(PLATFORMS).iter().map(|index| PLATFORMS[*index].route.name()).collect();
        assert_eq!(routes[4..10], ["domu", "vmx", "vmx", "vmx", "vmx", "dom0"]);
        assert_eq!(routes.last(), Some(&"dom0less"));
    }

    #[test]
    fn an_error_lets_the_other_platform_finish() {
        let both_run = Barrier::new(2);
        let [first, second] = [PLATFORMS[0], PLATFORMS[1]];
        let (finished, result) = run(&[first, second], 2, |platform| {
            both_run.wait();
            if platform == first { Err("no".to_owned()) } else { Ok(7) }
        });
        assert_eq!((finished, result), (vec![(second, 7)], Err(format!("{first}: no"))));
    }

    #[test]
    fn after_an_error_or_a_panic_no_platform_starts() {
        let [first, second] = [PLATFORMS[0], PLATFORMS[1]];
        for (panics, error) in [(false, "no"), (true, "the run panicked")] {
            let (finished, result) = run(&PLATFORMS[..3], 1, |platform| {
                assert!(!panics || platform == first, "a panic that the test asks for");
                if platform == second { Err("no".to_owned()) } else { Ok(7) }
            });
            assert_eq!((finished, result), (vec![(first, 7)], Err(format!("{second}: {error}"))));
        }
    }
}
