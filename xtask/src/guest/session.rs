//! Running programs on platforms: builds them, boots them, judges each run, and compares or records
//! its transcript.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::boot::{self, Ended, Next};
use super::build::{self, Profile};
use super::console::Line;
use super::domu::{self, Guest};
use super::emulator::{self, Emulation, Options};
use super::jobs::{self, Output};
use super::platform::{Arch, Platform, Route};
use super::program::{self, Expected, Program};
use super::tally::{Cost, Ending, Tally};
use super::transcript::{self, Source, Transcript};
use super::verdict::{self, End, Verdict};

/// How many lines of the console are shown when a run did not end as it should.
const LAST_LINES: usize = 20;
/// How many more seconds a guest may take that `xl` creates. Linux may take as long to boot.
const LINUX_SECONDS: u64 = 60;

/// The options of all boots of a command.
#[derive(Debug)]
pub struct Session {
    /// The workspace's root.
    pub workspace: PathBuf,
    /// Where files of boots are kept.
    pub files: PathBuf,
    /// The target folder, in which guests share what the workspace has built for the host.
    pub target: PathBuf,
    /// What the user changes about boots.
    pub options: Options,
    /// How many seconds a program may take.
    pub timeout: u64,
    /// Record transcripts instead of comparing them.
    pub record: bool,
    /// Keep each boot's console in a file, even if the run passes.
    pub keep_logs: bool,
    /// Show Xen's own lines too.
    pub verbose: bool,
    /// Print the emulators' command lines instead of running them.
    pub dry_run: bool,
    /// Show nothing of a guest that ends as it should.
    pub quiet: bool,
    /// How many platforms boot at the same time.
    pub jobs: usize,
}

/// A line of the console and when it came.
type Timed = (Duration, String, Line);

/// The runs of a round on a platform.
struct PlatformRuns {
    /// The name of each program and how it ended.
    endings: Vec<(&'static str, Ending)>,
    cost: Cost,
}

/// The run of a program, to be judged.
pub(super) struct Run {
    end: End,
    lines: Vec<Timed>,
    pub(super) took: Duration,
    output: String,
}

impl Session {
    /// Runs the programs of each platform, `repeat` times.
    ///
    /// # Errors
    ///
    /// A program cannot be built or booted. The tally has the platforms that finished.
    pub fn run(
        &self,
        plan: &BTreeMap<Platform, Vec<Program>>,
        repeat: u32,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let binaries = Mutex::new(Binaries::new(self));
        let platforms: Vec<Platform> = plan.keys().copied().collect();
        let jobs = self.jobs.min(platforms.len());
        for round in 1..=repeat {
            if repeat > 1 {
                println!("Round {round} of {repeat}:");
            }
            let began = Instant::now();
            let (finished, result) = jobs::run(&platforms, jobs, |platform| {
                let programs = &plan[&platform];
                if jobs <= 1 {
                    let out = &mut Output::Stream;
                    return self.run_platform(platform, programs, round, &binaries, out);
                }
                Output::Stream.error_line(format_args!("{platform}: started"));
                let mut out = Output::Block(Vec::new());
                self.run_platform(platform, programs, round, &binaries, &mut out)
            });
            let mut failed = 0;
            for (platform, runs) in finished {
                for (name, ending) in runs.endings {
                    failed += usize::from(!ending.good);
                    tally.add(name, platform, ending);
                }
                tally.add_cost(platform, runs.cost);
            }
            result?;
            tally.add_round(failed == 0);
            if repeat > 1 {
                let seconds = began.elapsed().as_secs_f64();
                println!("Round {round} of {repeat}: {failed} runs failed, in {seconds:.1} s");
            }
        }
        Ok(())
    }

    /// Runs programs on a platform.
    fn run_platform(
        &self,
        platform: Platform,
        programs: &[Program],
        round: u32,
        binaries: &Mutex<Binaries<'_>>,
        out: &mut Output,
    ) -> Result<PlatformRuns, String> {
        let began = Instant::now();
        out.line(format_args!("{platform}: {}", platform.route.about()));
        let mut all = PlatformRuns { endings: Vec::new(), cost: Cost::default() };
        for programs in boots(platform, programs) {
            self.boot(platform, &programs, round, binaries, &mut all, out)?;
        }
        all.cost.wall = began.elapsed();
        if !self.dry_run {
            out.line(format_args!("{platform}: {}", all.cost));
        }
        Ok(all)
    }

    /// Checks the tools and downloads the packages that a platform needs. A dry run only names the
    /// packages, and returns false if there are any.
    fn download(&self, platform: Platform, out: &mut Output) -> Result<bool, String> {
        emulator::find_tools(platform)?;
        let mut missing = emulator::packages(platform);
        missing.retain(|packages| !packages.are_unpacked(&self.files));
        for packages in &missing {
            if self.dry_run {
                out.line(format_args!("would download {packages}"));
            } else {
                packages.download(&self.files, self.timeout, out)?;
            }
        }
        Ok(!self.dry_run || missing.is_empty())
    }

    /// Boots one or several programs together, and adds how each ended to `all`.
    fn boot(
        &self,
        platform: Platform,
        programs: &[Program],
        round: u32,
        binaries: &Mutex<Binaries<'_>>,
        all: &mut PlatformRuns,
        out: &mut Output,
    ) -> Result<(), String> {
        // Platforms share guests, packages and dom0's files: one thread at a time makes them.
        let binaries = binaries.lock();
        let mut binaries = binaries.map_err(|_| "another platform's preparation panicked")?;
        // A missing compiler is reported before anything is downloaded.
        emulator::find_tools(platform)?;
        let mut guests = Vec::new();
        for program in programs {
            guests.push(Guest {
                name: program.name.to_owned(),
                image: binaries.get(platform.arch, program.binary, out)?,
                command_lines: program.command_lines(platform),
            });
        }
        if !self.download(platform, out)? {
            return Ok(());
        }
        let folder = if programs.len() == 1 {
            self.files.join(platform.to_string()).join(programs[0].name)
        } else {
            self.files.join(platform.to_string()).join("all")
        };
        let emulation = emulator::prepare(platform, &guests, &self.options, &self.files, &folder)?;
        drop(binaries);
        if self.dry_run {
            out.line(emulation);
            return Ok(());
        }
        let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
        let (runs, cpu) = self.watch(platform, &emulation, &names, out)?;
        for (program, run) in programs.iter().zip(runs) {
            let log = folder.join(format!("{}-{round}.log", program.name));
            let ending = self.judge(platform, program, &run, &log, out)?;
            out.line(format_args!(
                "{}: {}, {} ({:.1} s)",
                program.name,
                if ending.good { "ok" } else { "FAILED" },
                ending.verdict,
                ending.took.as_secs_f64()
            ));
            all.endings.push((program.name, ending));
        }
        all.cost.cpu += cpu;
        Ok(())
    }

    /// Boots the user's own image. Returns true if it reported success within the time limit.
    ///
    /// # Errors
    ///
    /// The image cannot be booted.
    pub fn run_image(
        &self,
        platform: Platform,
        image: PathBuf,
        command_line: &str,
    ) -> Result<bool, String> {
        if !self.download(platform, &mut Output::Stream)? {
            return Ok(true);
        }
        let folder = self.files.join(platform.to_string()).join("image");
        let guest =
            Guest { name: "image".to_owned(), image, command_lines: vec![command_line.to_owned()] };
        let emulation = emulator::prepare(platform, &[guest], &self.options, &self.files, &folder)?;
        println!("{emulation}");
        if self.dry_run {
            return Ok(true);
        }
        let (mut runs, _) = self.watch(platform, &emulation, &["image"], &mut Output::Stream)?;
        let run = runs.remove(0);
        let verdict = run.verdict_by(verdict::judge_image);
        println!("image: {verdict} ({:.1} s)", run.took.as_secs_f64());
        if matches!(verdict, Verdict::Hang { .. } | Verdict::EndedSilently) {
            println!(
                "  examples/guests/BOOTING.md says how an image reports success; --timeout sets \
                 another limit"
            );
        }
        Ok(verdict == Verdict::Success)
    }

    /// Runs the emulator, and divides what it printed among the programs. Also returns the
    /// emulator's processor time.
    pub(super) fn watch(
        &self,
        platform: Platform,
        emulation: &Emulation,
        names: &[&str],
        out: &mut Output,
    ) -> Result<(Vec<Run>, Duration), String> {
        let several = platform.route == Route::Domu;
        let patience = |name: &str| {
            program::all().find(|program| program.name == name).map_or(1, |one| one.patience)
        };
        let seconds = if several {
            self.timeout + LINUX_SECONDS
        } else {
            self.timeout * u64::from(names.first().map_or(1, |name| patience(name)))
        };
        let began = Instant::now();
        let mut lines: Vec<Timed> = Vec::new();
        let input = if self.options.interactive { Stdio::inherit() } else { Stdio::null() };
        let ended = boot::boot(emulation, Duration::from_secs(seconds), input, |raw| {
            let line = Line::parse(raw);
            show(raw, &line, self, out);
            let next = match &line {
                line if verdict::is_last_word(line) => Next::Nothing,
                _ => match raw.strip_prefix(domu::BEGIN) {
                    Some(name) if several => Next::Guest(patience(name)),
                    _ => Next::More,
                },
            };
            lines.push((began.elapsed(), raw.to_owned(), line));
            next
        });
        let ended = ended.map_err(|error| format!("{}: {error}", emulation.program.display()))?;
        let took = began.elapsed();
        if several {
            let runs = names.iter().map(|name| section(name, &lines, &ended)).collect();
            return Ok((runs, ended.cpu));
        }
        let output = ended.complaints;
        let mut end = ended.end;
        if platform.route == Route::Vmx {
            let printed: Vec<&str> = lines.iter().map(|(_, raw, _)| raw.as_str()).collect();
            end = verdict::bochs_end(end, &format!("{}\n{output}", printed.join("\n")));
        }
        Ok((vec![Run { end, lines, took, output }], ended.cpu))
    }

    /// Judges a run. Keeps and shows the console if the run does not end as expected.
    fn judge(
        &self,
        platform: Platform,
        program: &Program,
        run: &Run,
        log: &PathBuf,
        out: &mut Output,
    ) -> Result<Ending, String> {
        let mut verdict = run.verdict();
        if verdict == Verdict::Success {
            verdict = verdict::judge_lines(&run.lines(), program.prints);
        }
        if verdict == Verdict::Success
            && let Some(source) = program.transcript
        {
            verdict = self.compare(platform, program, (run, source), out)?;
        }
        let good = program.expected.matches(&verdict);
        let explain = |error| format!("{}: {error}", log.display());
        let console: Vec<&str> = run.lines.iter().map(|(_, raw, _)| raw.as_str()).collect();
        if self.keep_logs || (!good || program.expected != Expected::Success) {
            fs::write(log, console.join("\n")).map_err(explain)?;
            out.line(format_args!("  the console is in {}", log.display()));
        } else if log.exists() {
            fs::remove_file(log).map_err(explain)?;
        }
        if !good && !matches!(verdict, Verdict::Differs(_) | Verdict::Unrecorded) {
            out.error_line("The last lines of the console:");
            for line in &console[console.len().saturating_sub(LAST_LINES)..] {
                out.error_line(format_args!("  {line}"));
            }
        }
        Ok(Ending { good, verdict: verdict.to_string(), took: run.took })
    }

    /// Compares a transcript with what was recorded, or records it.
    fn compare(
        &self,
        platform: Platform,
        program: &Program,
        (run, source): (&Run, Source),
        out: &mut Output,
    ) -> Result<Verdict, String> {
        let path = transcript::path(&self.workspace, platform, program.name);
        let explain = |error| format!("{}: {error}", path.display());
        let printed = Transcript::from_console(&run.lines(), source);
        if printed.is_cut() {
            return Ok(Verdict::Contradiction("the console lost lines of the guest".to_owned()));
        }
        let recorded = Transcript::read(&path).map_err(explain)?;
        let verdict = printed.judge(recorded.as_ref());
        if let (Some(recorded), Verdict::Differs(_)) = (&recorded, &verdict) {
            out.line(format_args!(
                "  recorded on Xen {}, and now:",
                recorded.hypervisor.as_deref().unwrap_or("of an unknown version")
            ));
            printed.diff(recorded).lines().for_each(|line| out.line(format_args!("  {line}")));
        }
        if self.record {
            printed.write(&path).map_err(explain)?;
            return Ok(Verdict::Success);
        }
        Ok(verdict)
    }
}

impl Run {
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict_by(verdict::judge)
    }

    fn verdict_by(&self, judge: fn(&[Line], &End, &str) -> Verdict) -> Verdict {
        judge(&self.lines(), &self.end, &self.output)
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        self.lines.iter().map(|(_, _, line)| line.clone()).collect()
    }
}

/// Returns the programs of each boot. On Arm, two guests share only by another policy of XSM, by
/// which Xen answers other calls differently too.
fn boots(platform: Platform, programs: &[Program]) -> Vec<Vec<Program>> {
    if platform.route != Route::Domu {
        return programs.iter().map(|program| vec![*program]).collect();
    }
    let is_by_default =
        |program: &Program| platform.arch != Arch::Aarch64 || program.command_lines.len() == 1;
    let (default, others): (Vec<_>, Vec<_>) = programs.iter().copied().partition(is_by_default);
    [default, others].into_iter().filter(|programs| !programs.is_empty()).collect()
}

/// Returns the run of one program of a boot of several.
fn section(name: &str, lines: &[Timed], ended: &Ended) -> Run {
    let begin = format!("{}{name}", domu::BEGIN);
    let from = lines.iter().position(|(_, raw, _)| raw.trim_end() == begin).unwrap_or(lines.len());
    // Another guest's line never belongs to this one, even if the marker of the end is lost.
    let is_end = |raw: &str| raw.starts_with(domu::END) || raw.starts_with(domu::BEGIN);
    let rest = lines.iter().skip(from + 1);
    let length = rest.take_while(|(_, raw, _)| !is_end(raw)).count();
    let to = (from + 1 + length).min(lines.len());
    // The line with Xen's version belongs to all of them.
    let version = lines.iter().find(
        |(_, _, line)| matches!(line, Line::Hypervisor(text) if text.starts_with("Xen version")),
    );
    let lines = &lines[from..to];
    let time = |line: Option<&Timed>| line.map_or(Duration::ZERO, |(time, ..)| *time);
    let took = time(lines.last()).saturating_sub(time(lines.first()));
    let console: Vec<Line> = lines.iter().map(|(_, _, line)| line.clone()).collect();
    let end = verdict::xl_end(&console).unwrap_or_else(|| ended.end.clone());
    let lines = version.into_iter().chain(lines).cloned().collect();
    Run { end, lines, took, output: ended.complaints.clone() }
}

/// Shows a line of the console as it comes.
fn show(raw: &str, line: &Line, session: &Session, out: &mut Output) {
    let Session { verbose, quiet, options: Options { interactive, .. }, .. } = *session;
    match line {
        Line::Guest(_, text) if !quiet => out.line(format_args!("  {text}")),
        // What dom0 writes on Xen's console has no prefix.
        Line::Other(text) if interactive => out.line(format_args!("  {text}")),
        _ if verbose => out.line(format_args!("  {raw}")),
        _ => {}
    }
}

/// The guest programs that were built, each once.
struct Binaries<'s> {
    session: &'s Session,
    built: BTreeMap<(Arch, String), PathBuf>,
}

impl<'s> Binaries<'s> {
    fn new(session: &'s Session) -> Self {
        Self { session, built: BTreeMap::new() }
    }

    fn get(&mut self, arch: Arch, binary: &str, out: &mut Output) -> Result<PathBuf, String> {
        let key = (arch, binary.to_owned());
        if let Some(path) = self.built.get(&key) {
            return Ok(path.clone());
        }
        let Session { workspace, target, .. } = self.session;
        let limit = program::LIMITS.iter().find(|(name, _)| *name == binary);
        let profile = match limit {
            Some(_) => Profile::Small,
            None if [build::FIGURES, build::RATES].contains(&binary) => Profile::Fast,
            None => Profile::Dev,
        };
        if self.built.keys().all(|(built, _)| *built != arch)
            && let Some(warning) = build::warning(arch, binary)
        {
            out.error_line(format_args!("warning: {warning}"));
        }
        let path = build::build(workspace, binary, arch, profile, target)?;
        if let Some((_, most)) = limit {
            let bytes = build::loaded_bytes(&path)?;
            out.line(format_args!("{binary} loads {bytes} bytes on {}", arch.name()));
            if bytes > *most {
                return Err(format!("{binary}: expected at most {most} bytes, found {bytes}"));
            }
        }
        self.built.insert(key, path.clone());
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Line, boots, section};
    use crate::guest::platform::PLATFORMS;
    use crate::guest::program;
    use crate::guest::verdict::End;
    use std::time::Duration;

    #[test]
    fn two_guests_that_share_boot_alone_on_arm() {
        let programs: Vec<_> = program::proofs().collect();
        for (platform, expected) in [
            ("x86_64-domu-4.17", vec![programs.len()]),
            ("aarch64-domu-4.17", vec![programs.len() - 1, 1]),
        ] {
            let platform = PLATFORMS.iter().find(|on| on.to_string() == platform).unwrap();
            let boots = boots(*platform, &programs);
            assert_eq!(boots.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{platform}");
        }
        assert_eq!(boots(PLATFORMS[0], &programs).len(), programs.len());
    }

    #[test]
    fn a_section_ends_at_the_next_marker() {
        let console = [
            "(XEN) Xen version 4.17.7",
            "## begin store",
            "(d1) one",
            "console: > ## end store",
            "## begin files",
            "(d2) two",
            "## end files",
        ];
        let lines: Vec<_> = (0..)
            .zip(console)
            .map(|(time, raw)| (Duration::from_secs(time), raw.to_owned(), Line::parse(raw)))
            .collect();
        let complaints = "why".to_owned();
        let ended = Ended { end: End::Stopped, complaints, cpu: Duration::ZERO };
        let printed = |name| {
            let run = section(name, &lines, &ended);
            assert_eq!((run.end, run.output.as_str()), (End::Stopped, "why"));
            (run.lines.into_iter().map(|(_, raw, _)| raw).collect::<Vec<_>>(), run.took.as_secs())
        };
        let version = console[0].to_owned();
        let store = console[1..4].iter().map(|line| (*line).to_owned());
        assert_eq!(printed("store"), ([version.clone()].into_iter().chain(store).collect(), 2));
        let files = console[4..6].iter().map(|line| (*line).to_owned());
        assert_eq!(printed("files"), ([version.clone()].into_iter().chain(files).collect(), 1));
        assert_eq!(printed("restore"), (vec![version], 0));
    }
}
