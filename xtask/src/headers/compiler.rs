//! C compilers: which of those on this machine compile for which architecture.

use super::MeasureError;
use crate::tools;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A C compiler, told for which architecture to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub program: String,
    /// What makes it compile for the architecture.
    pub arguments: Vec<&'static str>,
}

/// An architecture, and how compilers are told to compile for it.
#[derive(Debug)]
pub struct Target {
    /// Rust's name.
    pub arch: &'static str,
    /// A condition of the preprocessor that holds on it.
    condition: &'static str,
    /// Programs and arguments, the best first.
    candidates: &'static [(&'static str, &'static [&'static str])],
    /// What brings a compiler.
    remedy: &'static str,
    /// What the folders and files of its own headers begin with.
    pub header_prefix: &'static str,
}

/// Every architecture that can be measured.
pub const TARGETS: [Target; 3] = [
    Target {
        arch: "x86_64",
        condition: "defined(__x86_64__) && defined(__LP64__)",
        candidates: &[
            ("gcc", &["-m64"]),
            ("x86_64-linux-gnu-gcc", &["-m64"]),
            ("clang", &["--target=x86_64-linux-gnu"]),
        ],
        remedy: "`apt-get install gcc-x86-64-linux-gnu` or `apt-get install clang` brings one",
        header_prefix: "arch-x86",
    },
    Target {
        arch: "x86",
        condition: "defined(__i386__)",
        candidates: &[
            ("gcc", &["-m32"]),
            ("x86_64-linux-gnu-gcc", &["-m32"]),
            ("clang", &["--target=i386-linux-gnu"]),
        ],
        remedy: "`apt-get install gcc-x86-64-linux-gnu` or `apt-get install clang` brings one",
        header_prefix: "arch-x86",
    },
    Target {
        arch: "aarch64",
        condition: "defined(__aarch64__) && defined(__LP64__)",
        candidates: &[
            ("aarch64-linux-gnu-gcc", &[]),
            ("gcc", &[]),
            ("clang", &["--target=aarch64-linux-gnu"]),
        ],
        remedy: "`apt-get install gcc-aarch64-linux-gnu` or `apt-get install clang` brings one",
        header_prefix: "arch-arm",
    },
];

impl Target {
    /// Returns the target of that name.
    #[must_use]
    pub fn find(arch: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.arch == arch)
    }

    /// Returns a compiler for it: `program`, with whatever arguments make it one, or the best on
    /// the search path.
    ///
    /// # Errors
    /// There is none; the error says what brings one.
    pub fn compiler(&self, program: Option<&str>) -> Result<Compiler, MeasureError> {
        let plain: &[&str] = &[];
        let known = self.candidates.iter().map(|(name, arguments)| (*name, *arguments));
        let candidates: Vec<(&str, &[&str])> = match program {
            Some(program) => std::iter::once((program, plain))
                .chain(known.map(|(_, arguments)| (program, arguments)))
                .collect(),
            None => known.filter(|(name, _)| tools::find_program(name).is_some()).collect(),
        };
        let compilers = candidates.iter().map(|(program, arguments)| Compiler {
            program: (*program).to_owned(),
            arguments: arguments.to_vec(),
        });
        let found = compilers.into_iter().find(|compiler| {
            compiler.accepts(&format!("#if !({})\n#error\n#endif\n", self.condition))
        });
        found.ok_or_else(|| MeasureError::NoCompiler {
            arch: self.arch.to_owned(),
            remedy: match program {
                Some(program) => format!("`{program}` cannot compile for it"),
                None => self.remedy.to_owned(),
            },
        })
    }
}

impl Compiler {
    /// Returns whether it takes clang's options rather than gcc's.
    #[must_use]
    pub fn is_clang(&self) -> bool {
        let name = Path::new(&self.program).file_name();
        name.is_some_and(|name| name.to_string_lossy().contains("clang"))
    }

    /// Returns the options by which it reports every error, at our line and not at a macro's
    /// definition.
    #[must_use]
    pub fn every_error(&self) -> &'static [&'static str] {
        if self.is_clang() {
            &["-ferror-limit=0"]
        } else {
            &["-fmax-errors=0", "-ftrack-macro-expansion=0"]
        }
    }

    fn accepts(&self, source: &str) -> bool {
        self.compile(&["-fsyntax-only"], source).is_ok_and(|output| output.status.success())
    }

    /// Compiles `source`, which includes headers of the folder `search`, with further arguments.
    /// The output says whether the compiler accepted it.
    ///
    /// # Errors
    /// The compiler cannot be run.
    pub fn run(
        &self,
        search: &Path,
        arguments: &[&str],
        source: &str,
    ) -> Result<Output, MeasureError> {
        let search = search.display().to_string();
        self.compile(&[&["-I", &search], arguments].concat(), source)
    }

    fn compile(&self, arguments: &[&str], source: &str) -> Result<Output, MeasureError> {
        let wrong = |error| MeasureError::Io { what: self.to_string(), error };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args(["-std=gnu11", "-ffreestanding", "-w"])
            .args(arguments)
            .args(["-x", "c", "-"])
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(wrong)?;
        // The compiler reads all of its input before it writes much; one that stops early closes
        // the pipe, and says why itself.
        if let Some(mut stdin) = child.stdin.take() {
            let source = source.to_owned();
            let writer = std::thread::spawn(move || stdin.write_all(source.as_bytes()));
            let output = child.wait_with_output().map_err(wrong)?;
            drop(writer.join());
            return Ok(output);
        }
        child.wait_with_output().map_err(wrong)
    }

    /// Compiles `source` to an object file with debug information.
    ///
    /// # Errors
    /// The compiler cannot be run, or refuses.
    pub fn object(&self, search: &Path, source: &str) -> Result<Vec<u8>, MeasureError> {
        let wrong = |error| MeasureError::Io { what: "a temporary folder".to_owned(), error };
        let folder = tempfile::tempdir().map_err(wrong)?;
        let file = folder.path().join("measured.o");
        let path = file.display().to_string();
        let options = [
            "-c",
            "-g",
            "-fno-eliminate-unused-debug-types",
            "-fno-eliminate-unused-debug-symbols",
            "-o",
            &path,
        ];
        let output = self.run(search, &options, source)?;
        if !output.status.success() {
            return Err(self.refused(&output));
        }
        std::fs::read(&file).map_err(wrong)
    }

    /// Returns the error for an output that was no success.
    #[must_use]
    pub fn refused(&self, output: &Output) -> MeasureError {
        MeasureError::Refused { compiler: self.to_string(), said: first_error(output) }
    }
}

/// Returns the first error in what a compiler said.
#[must_use]
pub fn first_error(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines = said.lines();
    let error = lines.clone().find(|line| line.contains("error:")).or_else(|| lines.next());
    error.unwrap_or("nothing").trim().to_owned()
}

impl std::fmt::Display for Compiler {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(out, " {argument}"))
    }
}
