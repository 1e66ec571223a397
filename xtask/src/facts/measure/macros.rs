//! Macros that are integer constants, made visible to the debugger as enumerators.

use super::MeasureError;
use super::compiler::Compiler;
use super::headers::Tree;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What the enumerator of a macro begins with.
pub const PREFIX: &str = "measured__";

/// How often the compiler may name lines that it does not take, before something else must be
/// wrong.
const PASSES: usize = 20;

/// The object-like macros that the tree's headers define and that have a body, in alphabetical
/// order.
///
/// # Errors
/// The compiler cannot be run, or refuses the headers.
pub fn object_like(
    tree: &Tree,
    compiler: &Compiler,
    source: &str,
) -> Result<Vec<String>, MeasureError> {
    let output = compiler.run(&["-E", "-dD"], source)?;
    if !output.status.success() {
        return Err(compiler.refused(&output));
    }
    let root = format!("{}/", tree.root.display());
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(file) = line_marker(line) {
            inside = file.starts_with(&root);
        } else if let Some(definition) = line.strip_prefix("#define ").filter(|_| inside) {
            let (name, body) = definition.split_once(' ').unwrap_or((definition, ""));
            if !name.contains('(') && !body.trim().is_empty() {
                names.insert(name.to_owned());
            }
        } else if let Some(name) = line.strip_prefix("#undef ") {
            names.remove(name.trim());
        }
    }
    Ok(names.into_iter().collect())
}

/// The file in a line such as `# 12 "/usr/include/xen/xen.h" 1 3`.
fn line_marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("# ")?;
    rest.split_once('"')?.1.rsplit_once('"').map(|(file, _)| file)
}

/// Those of the macros that the compiler takes as the value of an enumerator.
///
/// # Errors
/// The compiler cannot be run, or refuses something else.
pub fn constant(
    compiler: &Compiler,
    source: &str,
    names: &[String],
) -> Result<Vec<String>, MeasureError> {
    let first = source.lines().count() + 1;
    let mut names = names.to_vec();
    for _ in 0..PASSES {
        let output = compiler.run(every_error(compiler), &enumerators(source, &names))?;
        if output.status.success() {
            return Ok(names);
        }
        let refused: BTreeSet<usize> =
            String::from_utf8_lossy(&output.stderr).lines().filter_map(refused_line).collect();
        let before = names.len();
        let mut line = first;
        names.retain(|_| {
            line += 1;
            !refused.contains(&(line - 1))
        });
        if names.len() == before {
            return Err(compiler.refused(&output));
        }
    }
    Err(MeasureError::Dwarf("the macros could not be told from one another".to_owned()))
}

/// The options by which a compiler reports every error, at our line and not at the macro's
/// definition.
fn every_error(compiler: &Compiler) -> &'static [&'static str] {
    if compiler.is_clang() {
        &["-fsyntax-only", "-ferror-limit=0"]
    } else {
        &["-fsyntax-only", "-fmax-errors=0", "-ftrack-macro-expansion=0"]
    }
}

/// The line of our source in a line such as `<stdin>:12:3: error: ...`.
fn refused_line(line: &str) -> Option<usize> {
    line.contains(" error: ").then_some(())?;
    line.strip_prefix("<stdin>:")?.split_once(':')?.0.parse().ok()
}

fn enumerators(source: &str, names: &[String]) -> String {
    let mut source = source.to_owned();
    for name in names {
        let _ = writeln!(source, "enum {{ {PREFIX}{name} = ({name}) }};");
    }
    source
}

/// The object file in which each macro is an enumerator.
///
/// # Errors
/// The compiler cannot be run, or refuses.
pub fn compile(
    compiler: &Compiler,
    source: &str,
    names: &[String],
) -> Result<Vec<u8>, MeasureError> {
    let folder = tempfile::tempdir()
        .map_err(|error| MeasureError::Io { what: "a temporary folder".to_owned(), error })?;
    compiler.object(&enumerators(source, names), &folder.path().join("measured.o"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_recognised() {
        assert_eq!(
            line_marker("# 12 \"/usr/include/xen/xen.h\" 1 3"),
            Some("/usr/include/xen/xen.h")
        );
        assert_eq!(line_marker("#define X \"y\""), None);
        assert_eq!(refused_line("<stdin>:12:3: error: no"), Some(12));
        assert_eq!(refused_line("<stdin>:12:3: note: no"), None);
    }
}
