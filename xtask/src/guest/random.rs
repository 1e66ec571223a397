//! Random programs on real Xen and on the simulator: runs the same seed on both, compares what
//! they print line by line, and reduces a program that shows a difference to the steps that do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::build;
use super::domu::Guest;
use super::emulator;
use super::packages::output;
use super::platform::Platform;
use super::session::Session;
use super::transcript::Transcript;
use super::verdict::Verdict;

/// The name on the command line.
pub const NAME: &str = "random";
/// What it does, in a line.
pub const ABOUT: &str = "Random hypercalls, compared with the simulator; takes --seed and --calls";

/// How many steps before a difference are tried first.
const NEAR: usize = 32;
/// What begins the line that explains a step.
const STEP: &str = "# ";

/// Both sides of a platform.
#[derive(Debug)]
pub struct Comparison<'s> {
    session: &'s Session,
    platform: Platform,
    image: PathBuf,
    simulator: PathBuf,
}

/// A program: all steps, or some.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    steps: u32,
    only: Option<Vec<u32>>,
}

impl Plan {
    fn words(&self) -> String {
        let mut words = format!("seed={} steps={}", self.seed, self.steps);
        if let Some(only) = &self.only {
            words += &format!(" only={}", ranges(only));
        }
        words
    }
}

/// Numbers in ascending order, as in `0-7+12`.
fn ranges(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let text = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(text).collect::<Vec<_>>().join("+")
}

/// The first line that two runs do not have in common.
fn difference(xen: &[String], simulator: &[String]) -> Option<usize> {
    let length = xen.len().max(simulator.len());
    (0..length).find(|at| xen.get(*at) != simulator.get(*at))
}

/// True for a line about everything that there is, and not about a step.
fn is_survey(line: &str) -> bool {
    line.contains(" pages ") || line.contains(" ports")
}

/// The step that a line is about.
fn step_of(line: &str) -> Option<u32> {
    line.split(' ').next()?.parse().ok()
}

impl<'s> Comparison<'s> {
    /// Builds both sides.
    ///
    /// # Errors
    ///
    /// What keeps them from being built.
    pub fn new(session: &'s Session, platform: Platform) -> Result<Self, String> {
        let toolchain = build::toolchain(platform.arch, false)?;
        let Session { workspace, target, .. } = session;
        let image =
            build::build(workspace, "conformance", (platform.arch, &toolchain), false, target)?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        output(cargo.current_dir(workspace).arg("build").args([
            "--quiet",
            "--package",
            "conformance",
            "--example",
            NAME,
        ]))?;
        let simulator = target.join("debug/examples").join(NAME);
        Ok(Self { session, platform, image, simulator })
    }

    /// Runs a seed on both sides. Returns true if they agree; reduces the program and prints it if
    /// not.
    ///
    /// # Errors
    ///
    /// What keeps a side from running.
    pub fn run(&self, seed: u64, steps: u32) -> Result<bool, String> {
        let plan = Plan { seed, steps, only: None };
        let (xen, simulator) = (self.on_xen(&plan)?, self.on_the_simulator(&plan, false)?);
        let Some(at) = difference(&xen, &simulator) else {
            let done = xen.iter().filter(|line| !is_survey(line)).count().saturating_sub(1);
            println!("{NAME}: seed {seed} on {}: {done} steps agree", self.platform);
            return Ok(true);
        };
        let line = |lines: &[String]| lines.get(at).map_or("(nothing)", |line| line).to_owned();
        println!("{NAME}: seed {seed} on {}: a difference", self.platform);
        println!("  Xen:       {}\n  simulator: {}", line(&xen), line(&simulator));
        let number = step_of(&line(&xen)).or_else(|| step_of(&line(&simulator)));
        let last = number.unwrap_or(steps.saturating_sub(1));
        let all: Vec<u32> = xen[..at].iter().filter_map(|line| step_of(line)).collect();
        let all: BTreeSet<u32> = all.into_iter().chain([last.min(steps - 1)]).collect();
        let plan = Plan { steps: last + 1, ..plan };
        let least = self.minimise(&plan, all.into_iter().collect())?;
        self.print(&Plan { only: Some(least), ..plan })?;
        Ok(false)
    }

    /// Leaves steps out as long as both sides differ at the last one or in what follows it.
    fn minimise(&self, plan: &Plan, all: Vec<u32>) -> Result<Vec<u32>, String> {
        let differs = |only: &[u32]| -> Result<bool, String> {
            let plan = Plan { only: Some(only.to_vec()), ..plan.clone() };
            let (xen, simulator) = (self.on_xen(&plan)?, self.on_the_simulator(&plan, false)?);
            Ok(difference(&xen, &simulator).is_some())
        };
        let mut least = all;
        let near = &least[least.len().saturating_sub(NEAR)..];
        if near.len() < least.len() && differs(near)? {
            least = near.to_vec();
        }
        let mut size = least.len() / 2;
        while size > 0 {
            let mut first = 0;
            while first < least.len() {
                let end = (first + size).min(least.len());
                let fewer = [&least[..first], &least[end..]].concat();
                if !fewer.is_empty() && differs(&fewer)? {
                    least = fewer;
                } else {
                    first = end;
                }
            }
            size /= 2;
        }
        Ok(least)
    }

    /// Prints a program's steps, and what each side printed.
    fn print(&self, plan: &Plan) -> Result<(), String> {
        println!("  the least program: {}", plan.words());
        let (xen, explained) = (self.on_xen(plan)?, self.on_the_simulator(plan, true)?);
        let mut xen = xen.iter();
        for line in explained {
            if line.starts_with(STEP) {
                println!("  {line}");
                continue;
            }
            match xen.next() {
                Some(same) if *same == line => println!("    {line}"),
                other => println!(
                    "  - Xen: {}\n  + simulator: {line}",
                    other.map_or("(nothing)", |line| line)
                ),
            }
        }
        Ok(())
    }

    /// What a program prints in a guest.
    fn on_xen(&self, plan: &Plan) -> Result<Vec<String>, String> {
        let folder = self.session.files.join(self.platform.to_string()).join(NAME);
        let guest = Guest {
            name: NAME.to_owned(),
            image: self.image.clone(),
            command_lines: vec![format!("{NAME} {}", plan.words())],
        };
        let Session { options, files, .. } = self.session;
        let emulation = emulator::prepare(self.platform, &[guest], options, files, &folder)?;
        let run = self.session.watch(self.platform, &emulation, &[NAME])?.remove(0);
        let lines: Vec<_> = run.lines.iter().map(|(_, _, line)| line.clone()).collect();
        let mut printed = Transcript::hear(&lines);
        if printed.is_cut() {
            return Err("the console lost lines of the guest".to_owned());
        }
        let verdict = run.verdict();
        if verdict != Verdict::Success {
            printed.lines.push(format!("{verdict}"));
        }
        if printed.lines.is_empty() {
            return Err(format!("{NAME} on {}: {verdict}", self.platform));
        }
        Ok(printed.lines)
    }

    /// What it prints on the simulator, with each step in front of its line if `explain` is set.
    fn on_the_simulator(&self, plan: &Plan, explain: bool) -> Result<Vec<String>, String> {
        // A program can make a simulated vCPU wait for ever.
        let mut command = Command::new("timeout");
        command.arg(self.session.timeout.to_string()).arg(&self.simulator);
        command.arg(self.platform.to_string()).args(plan.words().split(' '));
        if explain {
            command.arg("explain=1");
        }
        let printed = output(&mut command)?;
        Ok(printed.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{difference, ranges};

    #[test]
    fn numbers_are_joined_and_the_first_difference_is_found() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2+5+7-8");
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(difference(&lines("a b"), &lines("a b")), None);
        assert_eq!(difference(&lines("a b"), &lines("a c")), Some(1));
        assert_eq!(difference(&lines("a"), &lines("a b")), Some(1));
    }
}
