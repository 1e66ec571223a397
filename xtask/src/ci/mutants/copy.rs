//! Trying mutants in a copy of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Fault, Finder, Mutant, fuzz};

/// Settings by which cargo tells the copy's packages from those of the workspace in one target
/// folder, and by which they are built faster. The copy shares the packages of others.
const PROFILE: [&str; 6] = [
    "profile.dev.package.xen-pac.opt-level=1",
    "profile.dev.package.xen-pac.debug=false",
    "profile.dev.package.xen-hal.opt-level=1",
    "profile.dev.package.xen-hal.debug=false",
    "profile.dev.package.xen-sim.opt-level=1",
    "profile.dev.package.xen-sim.debug=false",
];

/// How many seconds a fuzz target may take to find a mistake. Most take less than one.
const FUZZ_SECONDS: u64 = 30;

/// The copy of a workspace in which mutants are tried.
#[derive(Debug)]
pub struct Copy {
    from: PathBuf,
    root: PathBuf,
    target: PathBuf,
}

/// How a test found a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// The test.
    pub finder: Finder,
    /// What it said.
    pub message: String,
    /// The input of a fuzz target.
    input: Option<PathBuf>,
}

impl Copy {
    /// Makes a copy, in the target folder, of what git tracks in the workspace at `root`, and of
    /// what it would track. Files that are already equal keep their time, so that cargo builds
    /// nothing anew.
    ///
    /// # Errors
    ///
    /// Says what could not be read or written.
    pub fn new(root: &Path, target: &Path) -> Result<Self, String> {
        let tree = target.join("mutants/tree");
        let copy = Self { from: root.to_owned(), root: tree, target: target.to_owned() };
        let list = target.join("mutants/files");
        let files = super::super::files(root)?;
        // Files that are no longer part of the workspace.
        for old in fs::read_to_string(&list).unwrap_or_default().lines() {
            if !files.iter().any(|file| file == old) {
                let _ = fs::remove_file(copy.root.join(old));
            }
        }
        for file in &files {
            copy.restore(file)?;
        }
        fs::write(&list, files.join("\n"))
            .map_err(|error| format!("{}: {error}", list.display()))?;
        Ok(copy)
    }

    /// Makes a file equal to the original.
    fn restore(&self, file: &str) -> Result<(), String> {
        let (from, to) = (self.from.join(file), self.root.join(file));
        let explain = |error| format!("{}: {error}", to.display());
        let wanted = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        if fs::read(&to).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        fs::create_dir_all(to.parent().unwrap_or(&self.root)).map_err(explain)?;
        fs::write(&to, wanted).map_err(explain)
    }

    /// Applies a mutant, sees that each of its tests finds it, and takes it back.
    ///
    /// # Errors
    ///
    /// The mutant does not apply or does not compile, or a test does not find it, or not again.
    pub fn try_mutant(&self, mutant: &Mutant) -> Result<Vec<Find>, Fault> {
        mutant.apply(&self.root)?;
        let finds = mutant.found_by.iter().map(|finder| self.find(&mutant.name, finder)).collect();
        for file in mutant.files() {
            self.restore(file).map_err(Fault)?;
        }
        finds
    }

    /// Runs a test, which must fail, twice and in the same way.
    fn find(&self, name: &str, finder: &Finder) -> Result<Find, Fault> {
        let not_found = || Fault(format!("`{finder}` does not find it"));
        let (first, second, input) = match finder {
            Finder::Test { target, name } => {
                let program = Program::build(self, &self.root, target)?;
                let run = || failure(&program.run(name.as_deref())?).ok_or_else(not_found);
                (run()?, run()?, None)
            }
            Finder::Fuzz(target) => {
                let program = self.fuzz_program(&self.root, target)?;
                let crashes = self.target.join("mutants/crashes");
                fs::create_dir_all(&crashes).map_err(|error| Fault(error.to_string()))?;
                let prefix = format!("{}/{name}-", crashes.display());
                let (seconds, corpus) = (FUZZ_SECONDS, None);
                let job = fuzz::Job { program: &program, seconds, corpus, prefix: &prefix };
                match job.run().end {
                    fuzz::End::Crash { message, input: Some(input) } => {
                        let second = match fuzz::Job::replay(&program, &input).end {
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

    /// Sees that what found the mutants passes without them: in the workspace, where other steps of
    /// `cargo xtask test` have built the programs.
    ///
    /// # Errors
    ///
    /// Names the test that fails.
    pub fn pass_unpatched(&self, finds: &[Find]) -> Result<(), Fault> {
        let finders: BTreeSet<&Finder> = finds.iter().map(|find| &find.finder).collect();
        let mut programs = BTreeMap::new();
        for finder in finders {
            let fails = |message: &str| {
                Fault(format!("`{finder}` fails without a mutant as well: {message}"))
            };
            match finder {
                Finder::Test { target, name } => {
                    if !programs.contains_key(target) {
                        programs.insert(target, Program::build(self, &self.from, target)?);
                    }
                    let output = programs[target].run(name.as_deref())?;
                    if !output.status.success() {
                        return Err(fails(&failure(&output).unwrap_or_default()));
                    }
                    if ran(&output) == 0 {
                        return Err(Fault(format!("`{finder}` runs no test")));
                    }
                }
                Finder::Fuzz(target) => {
                    let program = self.fuzz_program(&self.from, target)?;
                    let inputs = finds.iter().filter(|find| find.finder == *finder);
                    for input in inputs.filter_map(|find| find.input.as_deref()) {
                        let end = fuzz::Job::replay(&program, input).end;
                        if end != fuzz::End::Nothing {
                            return Err(fails(&format!("{end:?}")));
                        }
                        // It can be made again, so that one left over does no harm.
                        let _ = fs::remove_file(input);
                    }
                }
            }
        }
        Ok(())
    }

    fn fuzz_program(&self, root: &Path, target: &str) -> Result<PathBuf, Fault> {
        let build = self.target.join("fuzz/build");
        Ok(fuzz::build(root, &build, &[target]).map_err(Fault)?.join(target))
    }
}

/// A program with tests.
struct Program {
    path: PathBuf,
    /// The folder of its package.
    folder: PathBuf,
}

impl Program {
    /// Builds a target of the workspace or of the copy.
    fn build(copy: &Copy, root: &Path, target: &[String]) -> Result<Self, Fault> {
        let profile: &[&str] = if root == copy.root { &PROFILE } else { &[] };
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["test", "--quiet", "--no-run", "--message-format=json-render-diagnostics"])
            .args(profile.iter().flat_map(|setting| ["--config", setting]))
            .args(target)
            .current_dir(root)
            .env("CARGO_TARGET_DIR", &copy.target)
            .env("CARGO_INCREMENTAL", "1")
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

    /// Runs the tests of a name, or all.
    fn run(&self, name: Option<&str>) -> Result<Output, Fault> {
        Command::new(&self.path)
            .arg("--quiet")
            .args(name)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("RUST_BACKTRACE", "0")
            .output()
            .map_err(|error| Fault(format!("cannot run {}: {error}", self.path.display())))
    }
}

/// The message of the panic with which a test failed; `None` if it passed.
fn failure(output: &Output) -> Option<String> {
    if output.status.success() {
        return None;
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let panic = printed.split_once("panicked at ").map_or(&*printed, |(_, panic)| panic);
    let lines = panic.lines().take_while(|line| !line.starts_with("note: ") && !line.is_empty());
    Some(lines.collect::<Vec<_>>().join(" "))
}

/// How many tests were run.
fn ran(output: &Output) -> usize {
    let printed = String::from_utf8_lossy(&output.stdout);
    let counts = printed.lines().filter_map(|line| line.strip_prefix("running "));
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok()).sum()
}
