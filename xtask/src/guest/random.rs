//! Random programs on real Xen and on the simulator: runs the same seed on both and compares
//! digests of what they print. If they differ, runs the block of steps that differs again, compares
//! its lines, reduces the program to the steps that show the difference, and prints it as a case.

mod case;
mod minimise;

use std::path::PathBuf;
use std::process::Command;

use self::case::{Case, Cases};
use self::minimise::minimise;
use super::build;
use super::domu::{DOMAIN, Guest};
use super::emulator;
use super::jobs::Output;
use super::packages::output;
use super::platform::{Platform, Route};
use super::program::with_numbers;
use super::session::Session;
use super::transcript::{Source, Transcript};
use super::verdict::Verdict;

/// The name on the command line.
pub const NAME: &str = "random";
/// What it does, in a line.
pub const ABOUT: &str = "Random hypercalls, compared with the simulator; takes --seed and --calls";

/// The steps of a block, which has one digest.
const BLOCK: u32 = 64;
/// How many programs run in one boot, where a boot has several guests.
const BATCH: usize = 16;
/// What begins the line that explains a step.
const STEP: &str = "# ";
/// Xen cuts the command line of a guest behind this length.
const LONGEST: usize = 1000;

/// Both sides of a platform.
#[derive(Debug)]
pub struct Comparison<'s> {
    session: &'s Session,
    platform: Platform,
    image: PathBuf,
    simulator: PathBuf,
}

/// A program: all steps of a seed, or some.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    steps: u32,
    only: Option<Vec<u32>>,
    /// The first step whose lines are printed; `None` for digests.
    lines: Option<u32>,
}

impl Plan {
    fn words(&self) -> String {
        let mut words = format!("seed={} steps={}", self.seed, self.steps);
        if let Some(only) = &self.only {
            words += &format!(" only={}", ranges(only));
        }
        match self.lines {
            Some(first) => words + &format!(" lines={first}"),
            None => words + " digests=1",
        }
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

/// The step that a line is about.
fn step_of(line: &str) -> Option<u32> {
    line.split(' ').next()?.parse().ok()
}

/// Returns whether a line is about a step, and not a survey of all that there is.
fn is_of_a_step(line: &str) -> bool {
    !line.contains(" pages ") && !line.contains(" ports")
}

fn line(lines: &[String], at: usize) -> &str {
    lines.get(at).map_or("(nothing)", |line| line)
}

impl<'s> Comparison<'s> {
    /// Builds both sides.
    ///
    /// # Errors
    ///
    /// What keeps them from being built.
    pub fn new(session: &'s Session, platform: Platform) -> Result<Self, String> {
        emulator::find_tools(platform)?;
        let Session { workspace, target, .. } = session;
        let image =
            build::build(workspace, "conformance", platform.arch, build::Profile::Dev, target)?;
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

    /// Runs programs of `steps` steps on both sides, one for each seed. Returns true if all agree.
    /// Reduces the program of a single seed if it differs, prints it as a case, and keeps the case
    /// if the session records.
    ///
    /// # Errors
    ///
    /// What keeps a side from running.
    pub fn run(&self, seeds: &[u64], steps: u32) -> Result<bool, String> {
        let mut all_agree = true;
        let mut compared = 0;
        let is_alone = seeds.len() == 1;
        for seeds in seeds.chunks(self.batch()) {
            let plan = |seed: &u64| Plan { seed: *seed, steps, only: None, lines: None };
            let plans: Vec<Plan> = seeds.iter().map(plan).collect();
            let mut differing = Vec::new();
            for (plan, xen) in plans.iter().zip(self.on_xen_all(&plans)?) {
                let simulator = self.on_the_simulator(&plan.words())?;
                if let Some(at) = difference(&xen, &simulator) {
                    differing.push((plan, at));
                    continue;
                }
                let done = xen.last().and_then(|end| end.split(' ').nth(2)?.parse::<u32>().ok());
                let done = done.ok_or("expected the number of steps in the last line")?;
                println!("{NAME}: seed {} on {}: {done} steps agree", plan.seed, self.platform);
                compared += done;
            }
            all_agree &= differing.is_empty();
            // A reduction takes dozens of boots.
            self.explain(&differing, is_alone)?;
        }
        if seeds.len() > 1 {
            println!("{NAME}: {compared} steps on {} agree", self.platform);
        }
        Ok(all_agree)
    }

    /// Runs the committed cases on real Xen. Returns true if it answers as recorded; records the
    /// answers if the session does.
    ///
    /// # Errors
    ///
    /// What keeps the cases from being read or run.
    pub fn run_cases(&self) -> Result<bool, String> {
        let mut cases = Cases::read(&self.session.workspace, self.platform)?;
        if cases.list.is_empty() {
            println!("{NAME}: {} has no committed case", self.platform);
            return Ok(true);
        }
        let words: Vec<String> = cases.list.iter().map(Case::words).collect();
        let mut all_agree = true;
        let mut hypervisor = None;
        for (cases, words) in cases.list.chunks_mut(self.batch()).zip(words.chunks(self.batch())) {
            for (case, printed) in cases.iter_mut().zip(self.boot(words)?) {
                match difference(&printed.lines, &case.lines) {
                    None => println!("{NAME}: {} on {}: as recorded", case.name, self.platform),
                    Some(at) => {
                        let now = line(&printed.lines, at);
                        println!("{NAME}: {} on {}: differs", case.name, self.platform);
                        println!("  - recorded: {}\n  + now:      {now}", line(&case.lines, at));
                        all_agree = false;
                    }
                }
                hypervisor = printed.hypervisor;
                case.lines = printed.lines;
            }
        }
        if self.session.record {
            cases.hypervisor = hypervisor;
            cases.write(&self.session.workspace, self.platform)?;
        }
        Ok(all_agree || self.session.record)
    }

    /// Finds the first different line of each program whose digests differ from that index on.
    /// Then reduces the program if `reduces` is set.
    fn explain(&self, differing: &[(&Plan, usize)], reduces: bool) -> Result<(), String> {
        let lines = |(plan, at): &(&Plan, usize)| {
            let first = *at as u32 * BLOCK;
            let steps = plan.steps.min(first + BLOCK);
            Plan { steps, lines: Some(first), ..(*plan).clone() }
        };
        let plans: Vec<Plan> = differing.iter().map(lines).collect();
        for (plan, xen) in plans.iter().zip(self.on_xen_all(&plans)?) {
            self.explain_one(plan, &xen, reduces)?;
        }
        Ok(())
    }

    fn explain_one(&self, plan: &Plan, xen: &[String], reduces: bool) -> Result<(), String> {
        let simulator = self.on_the_simulator(&plan.words())?;
        println!("{NAME}: seed {} on {}: a difference", plan.seed, self.platform);
        let Some(at) = difference(xen, &simulator) else {
            let first = plan.lines.unwrap_or_default();
            println!("  in the digest of the steps from {first} only: it is not deterministic");
            return Ok(());
        };
        let explained = self.on_the_simulator(&format!("{} explain=1", plan.words()))?;
        let mut texts = explained.iter().filter(|line| line.starts_with(STEP));
        let done = simulator[..at].iter().filter(|line| is_of_a_step(line)).count();
        if let Some(step) = texts.nth(done) {
            println!("  {step}");
        }
        println!("  Xen:       {}\n  simulator: {}", line(xen, at), line(&simulator, at));
        if !reduces {
            return Ok(());
        }
        let last = step_of(line(xen, at)).or_else(|| step_of(line(&simulator, at)));
        let last = last.unwrap_or(plan.steps).min(plan.steps - 1);
        let plan = Plan { steps: last + 1, lines: None, ..plan.clone() };
        let least = minimise((0..=last).collect(), |programs| {
            let with = |only: &Vec<u32>| Plan { only: Some(only.clone()), ..plan.clone() };
            let plans: Vec<Plan> = programs.iter().map(with).collect();
            let mut differs = Vec::new();
            for plans in plans.chunks(self.batch()) {
                for (plan, xen) in plans.iter().zip(self.on_xen_all(plans)?) {
                    let simulator = self.on_the_simulator(&plan.words())?;
                    differs.push(difference(&xen, &simulator).is_some());
                }
            }
            Ok(differs)
        })?;
        self.print(&Plan { only: Some(least), lines: Some(0), ..plan })
    }

    /// Prints a program as a case, and what the simulator prints instead.
    fn print(&self, plan: &Plan) -> Result<(), String> {
        let explained = self.on_the_simulator(&format!("{} explain=1", plan.words()))?;
        let steps = explained.iter().filter_map(|line| line.strip_prefix(STEP));
        let name = format!("seed {} step {}", plan.seed, plan.steps - 1);
        let steps: Vec<String> = steps.map(str::to_owned).collect();
        let mut case = Case { name, steps, lines: Vec::new() };
        let printed = self.boot(&[case.words()])?.remove(0);
        case.lines = printed.lines;
        let simulator = self.on_the_simulator(&case.words())?;
        print!("  the least program: {}\n{case}", plan.words());
        for at in 0..case.lines.len().max(simulator.len()) {
            let (xen, simulator) = (line(&case.lines, at), line(&simulator, at));
            if xen != simulator {
                println!("  - Xen:       {xen}\n  + simulator: {simulator}");
            }
        }
        if self.session.record {
            let mut cases = Cases::read(&self.session.workspace, self.platform)?;
            cases.hypervisor = printed.hypervisor;
            cases.list.retain(|known| known.steps != case.steps);
            cases.list.push(case);
            cases.write(&self.session.workspace, self.platform)?;
        }
        Ok(())
    }

    fn batch(&self) -> usize {
        if self.platform.route == Route::Domu { BATCH } else { 1 }
    }

    /// What programs print in guests.
    fn on_xen_all(&self, plans: &[Plan]) -> Result<Vec<Vec<String>>, String> {
        let mut printed = Vec::new();
        for plans in plans.chunks(self.batch()) {
            let words: Vec<String> = plans.iter().map(Plan::words).collect();
            printed.extend(self.boot(&words)?.into_iter().map(|printed| printed.lines));
        }
        Ok(printed)
    }

    /// Boots Xen with guests that run the programs of these words.
    fn boot(&self, words: &[String]) -> Result<Vec<Transcript>, String> {
        let folder = self.session.files.join(self.platform.to_string()).join(NAME);
        if let Some(long) = words.iter().find(|words| words.len() > LONGEST) {
            return Err(format!("expected at most {LONGEST} characters, found {long}"));
        }
        let guest = |(number, words): (usize, &String)| Guest {
            name: format!("{NAME}-{number}"),
            image: self.image.clone(),
            command_lines: match self.platform.route {
                // A domain before the program's own serves it.
                Route::Domu | Route::Dom0less => {
                    [format!("serve={DOMAIN}1"), format!("peer={DOMAIN}0 {words}")]
                        .map(|words| with_numbers(&format!("{NAME} {words}"), self.platform))
                        .into()
                }
                Route::Dom0 | Route::Vmx => vec![format!("{NAME} {words}")],
            },
        };
        let guests: Vec<Guest> = words.iter().enumerate().map(guest).collect();
        let names: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
        let Session { options, files, .. } = self.session;
        let emulation = emulator::prepare(self.platform, &guests, options, files, &folder)?;
        let mut all = Vec::new();
        let out = &mut Output::Stream;
        for run in self.session.watch(self.platform, &emulation, &names, out)?.0 {
            let mut printed = Transcript::from_console(&run.lines(), Source::Marked);
            if printed.is_cut() {
                return Err("the console lost lines of the guest".to_owned());
            }
            let verdict = run.verdict();
            if verdict != Verdict::Success {
                printed.lines.push(format!("{verdict}"));
            }
            all.push(printed);
        }
        Ok(all)
    }

    /// What a program prints on the simulator.
    fn on_the_simulator(&self, words: &str) -> Result<Vec<String>, String> {
        // A program can make a simulated vCPU wait for ever.
        let mut command = Command::new("timeout");
        command.arg(self.session.timeout.to_string()).arg(&self.simulator);
        command.arg(self.platform.to_string()).args(words.split(' '));
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
