//! Tries mutants in a copy of the workspace.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::merge::{VARIABLE, merge};
use super::{Fault, Finder, Mutant, fuzz};

/// The optimisation levels of the copy's packages for tests. The HAL is not optimised, because its
/// tests take less time than the optimisation. With these levels, cargo also distinguishes the copy
/// from the workspace, while both share dependencies in one target folder.
const TESTS: [(&str, u8); 3] = [("xen-pac", 1), ("xen-hal", 0), ("xen-sim", 1)];

/// The optimisation levels for the fuzz targets, which run longer.
const TARGETS: [(&str, u8); 3] = [("xen-pac", 1), ("xen-hal", 1), ("xen-hal-fuzz", 1)];

/// The maximum number of inputs with which a fuzz target searches for a mistake. Most mistakes need
/// a few thousand.
const FUZZ_RUNS: u64 = 1_000_000;

/// The copy of a workspace in which mutants are tried.
#[derive(Debug)]
pub struct Copy {
    root: PathBuf,
    target: PathBuf,
    /// The built programs: one for each target of a package, and for each fuzz target.
    programs: BTreeMap<Finder, Program>,
}

/// The result of a test that found a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// The test.
    pub finder: Finder,
    /// The message of the failure.
    pub message: String,
    /// The input of a fuzz target.
    input: Option<PathBuf>,
}

impl Copy {
    /// Creates a copy of the workspace at `root` in the target folder, with all of `mutants` in it.
    /// The copy has all files that git tracks, and new files that it does not ignore. Unchanged
    /// files keep their time, so that cargo does not rebuild them.
    ///
    /// # Errors
    ///
    /// If a mutant does not apply, or a file cannot be read or written.
    pub fn new(root: &Path, target: &Path, mutants: &[&Mutant]) -> Result<Self, String> {
        let merged = merge(root, mutants).map_err(|fault| fault.to_string())?;
        let copy = Self {
            root: target.join("mutants/tree"),
            target: target.to_owned(),
            programs: BTreeMap::new(),
        };
        let list = target.join("mutants/files");
        let files = super::super::files(root)?;
        // Removes files that are no longer part of the workspace.
        for old in fs::read_to_string(&list).unwrap_or_default().lines() {
            if !files.iter().any(|file| file == old) {
                let _ = fs::remove_file(copy.root.join(old));
            }
        }
        for file in &files {
            let explain = |error| format!("{file}: {error}");
            let text = merged.get(file).map(|text| Ok(text.clone().into_bytes()));
            let text = text.unwrap_or_else(|| fs::read(root.join(file))).map_err(explain)?;
            let to = copy.root.join(file);
            if !fs::read(&to).is_ok_and(|found| found == text) {
                fs::create_dir_all(to.parent().unwrap_or(&copy.root)).map_err(explain)?;
                fs::write(&to, text).map_err(explain)?;
            }
        }
        fs::write(&list, files.join("\n"))
            .map_err(|error| format!("{}: {error}", list.display()))?;
        Ok(copy)
    }

    /// Checks that each test of a mutant finds it. `number` is the mutant's index in those of the
    /// copy.
    ///
    /// # Errors
    ///
    /// If the copy does not compile, or a test does not find the mutant twice.
    pub fn try_mutant(&mut self, number: usize, mutant: &Mutant) -> Result<Vec<Find>, Fault> {
        let finders = mutant.found_by.iter();
        finders.map(|finder| self.find(number, &mutant.name, finder)).collect()
    }

    /// Runs a test twice. It must fail both times in the same way.
    fn find(&mut self, number: usize, name: &str, finder: &Finder) -> Result<Find, Fault> {
        let not_found = || Fault(format!("`{finder}` does not find it"));
        let crashes = self.target.join("mutants/crashes");
        let program = self.program(finder)?;
        let (first, second, input) = match finder {
            Finder::Test { name, .. } => {
                let run =
                    || failure(&program.run(Some(number), name.as_deref())?).ok_or_else(not_found);
                (run()?, run()?, None)
            }
            Finder::Fuzz(_) => {
                fs::create_dir_all(&crashes).map_err(|error| Fault(error.to_string()))?;
                let prefix = format!("{}/{name}-", crashes.display());
                let limit = fuzz::Limit::Runs(FUZZ_RUNS);
                let job = fuzz::Job { limit, corpus: None, prefix: &prefix };
                match job.run(&mut program.command(Some(number))).end {
                    fuzz::End::Crash { message, input: Some(input) } => {
                        let again = fuzz::replay(&mut program.command(Some(number)), &input);
                        let second = match again.end {
                            fuzz::End::Crash { message, .. } => message,
                            end => format!("{end:?}"),
                        };
                        (message, second, Some(input))
                    }
                    fuzz::End::Nothing => return Err(not_found()),
                    end => return Err(Fault(format!("`{finder}` does not run: {end:?}"))),
                }
            }
        };
        if first != second {
            let why = format!("`{finder}` fails in another way when repeated:\n{first}\n{second}");
            return Err(Fault(why));
        }
        Ok(Find { finder: finder.clone(), message: first, input })
    }

    /// Checks that the tests that found the mutants pass without them.
    ///
    /// # Errors
    ///
    /// The test that fails.
    pub fn pass_unpatched(&mut self, finds: &[Find]) -> Result<(), Fault> {
        let tests: BTreeSet<_> = finds.iter().map(|find| (&find.finder, &find.input)).collect();
        for (finder, input) in tests {
            let fails = |message: &str| {
                Err(Fault(format!("`{finder}` fails without a mutant as well: {message}")))
            };
            let program = self.program(finder)?;
            match (finder, input) {
                (Finder::Test { name, .. }, _) => {
                    let output = program.run(None, name.as_deref())?;
                    if let Some(message) = failure(&output) {
                        return fails(&message);
                    }
                    if ran(&output) == 0 {
                        return Err(Fault(format!("`{finder}` runs no test")));
                    }
                }
                (Finder::Fuzz(_), Some(input)) => {
                    let end = fuzz::replay(&mut program.command(None), input).end;
                    if end != fuzz::End::Nothing {
                        return fails(&format!("{end:?}"));
                    }
                    // A remaining file does no harm, because the input can be found again.
                    let _ = fs::remove_file(input);
                }
                (Finder::Fuzz(_), None) => {}
            }
        }
        Ok(())
    }

    /// Returns the program of a test. Builds it first if necessary.
    fn program(&mut self, finder: &Finder) -> Result<&Program, Fault> {
        let key = match finder {
            Finder::Test { target, .. } => Finder::Test { target: target.clone(), name: None },
            Finder::Fuzz(_) => finder.clone(),
        };
        let entry = match self.programs.entry(key) {
            Entry::Occupied(entry) => return Ok(entry.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let settings = |profile: &str, levels: [(&str, u8); 3]| {
            let setting = |(package, level)| {
                [
                    "--config".into(),
                    format!("profile.{profile}.package.{package}.opt-level={level}"),
                ]
            };
            levels.into_iter().flat_map(setting).collect::<Vec<_>>()
        };
        let program = match finder {
            Finder::Test { target, .. } => {
                let args = [&settings("test", TESTS)[..], target].concat();
                Program::build(&self.root, &self.target, &args)?
            }
            Finder::Fuzz(target) => {
                let build = self.target.join("fuzz/build");
                let folder = fuzz::build(
                    &self.root,
                    &build,
                    &[target],
                    fuzz::COVERAGE,
                    &settings("release", TARGETS),
                );
                Program { path: folder.map_err(Fault)?.join(target), folder: PathBuf::from(".") }
            }
        };
        Ok(entry.insert(program))
    }
}

/// A program with tests.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    /// The folder in which it runs.
    folder: PathBuf,
}

impl Program {
    /// Builds a target of the workspace at `root`.
    fn build(root: &Path, folder: &Path, args: &[String]) -> Result<Self, Fault> {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["test", "--quiet", "--no-run", "--message-format=json-render-diagnostics"])
            .args(args)
            .current_dir(root)
            .env("CARGO_TARGET_DIR", folder)
            .output()
            .map_err(|error| Fault(format!("cannot run cargo: {error}")))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let text = |line: &str, key: &str| {
            let (_, value) = line.split_once(&format!("\"{key}\":\""))?;
            Some(PathBuf::from(value.split_once('"')?.0))
        };
        let program = printed.lines().find_map(|line| {
            let folder = text(line, "manifest_path")?.parent()?.to_owned();
            Some(Self { path: text(line, "executable")?, folder })
        });
        program.filter(|_| output.status.success()).ok_or_else(|| {
            let why = String::from_utf8_lossy(&output.stderr);
            Fault(format!("it does not compile:\n{why}"))
        })
    }

    /// Returns the command of the program, with the variable that selects a mutant.
    fn command(&self, mutant: Option<usize>) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env_remove(VARIABLE).env("RUST_BACKTRACE", "0");
        command.envs(mutant.map(|number| (VARIABLE, number.to_string())));
        command
    }

    /// Runs the tests of a name, or all.
    fn run(&self, mutant: Option<usize>, name: Option<&str>) -> Result<Output, Fault> {
        self.command(mutant)
            .arg("--quiet")
            .args(name)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .output()
            .map_err(|error| Fault(format!("cannot run {}: {error}", self.path.display())))
    }
}

/// Returns the message of the panic with which a test failed; `None` if it passed.
fn failure(output: &Output) -> Option<String> {
    if output.status.success() {
        return None;
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let panic = printed.split_once("panicked at ").map_or(&*printed, |(_, panic)| panic);
    let lines = panic.lines().take_while(|line| !line.starts_with("note: ") && !line.is_empty());
    Some(lines.collect::<Vec<_>>().join(" "))
}

/// Returns the number of tests that ran.
fn ran(output: &Output) -> usize {
    let printed = String::from_utf8_lossy(&output.stdout);
    let counts = printed.lines().filter_map(|line| line.strip_prefix("running "));
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok()).sum()
}
