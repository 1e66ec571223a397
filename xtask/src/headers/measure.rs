//! Measures a tree of public headers: a C compiler reads them, and its debug information and its
//! macros become a [`Table`].
//!
//! The steps: choose the headers that a guest can include ([`super::tree`]), turn each macro that
//! is an integer constant into an enumerator, read structs and enumerators from the DWARF of one
//! object file ([`super::dwarf`]), and keep the text of the macros that are none.

use super::MeasureError;
use super::compiler::{Compiler, Target};
use super::dwarf::{self, PREFIX};
use super::facts::{StructTable, Table, Text};
use super::tree::{self, Chosen, Tree};
use crate::document::Release;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was measured, before it is known which release it is.
#[derive(Clone, Debug)]
pub struct Measured {
    /// `__XEN_LATEST_INTERFACE_VERSION__`.
    pub interface_version: u32,
    /// Structs by name.
    pub structs: BTreeMap<String, StructTable>,
    /// Constants by name.
    pub constants: BTreeMap<String, i128>,
    /// The other macros by name.
    pub texts: BTreeMap<String, Text>,
    /// The header of each name, relative to the tree; a struct's behind `struct `.
    pub places: BTreeMap<String, Arc<str>>,
    /// Which headers were read, relative to the tree.
    pub headers: Vec<String>,
    /// Which refuse a guest, and their message.
    pub skipped: Vec<(String, String)>,
}

impl Measured {
    /// Returns the table, now that the release is known.
    #[must_use]
    pub fn into_table(self, release: Release, arch: &str) -> Table {
        Table {
            release,
            interface_version: self.interface_version,
            arch: arch.to_owned(),
            structs: self.structs,
            constants: self.constants,
            texts: self.texts,
            places: self.places,
        }
    }
}

/// Macros that steer the headers and are not part of the ABI.
const STEERING: [&str; 2] = [LATEST, "__XEN_INTERFACE_VERSION__"];
const LATEST: &str = "__XEN_LATEST_INTERFACE_VERSION__";

/// How often the compiler may name lines that it does not take, before something else must be
/// wrong.
const PASSES: usize = 20;

/// Measures the tree with that compiler.
///
/// # Errors
/// The compiler cannot be run, refuses a header, or writes debug information that cannot be read.
pub fn measure(
    tree: &Tree,
    target: &Target,
    compiler: &Compiler,
) -> Result<Measured, MeasureError> {
    let chosen = tree::choose(tree, target, compiler)?;
    let run = Run { tree, compiler, source: tree::include_all(tree, &chosen.headers) };
    let mut macros = run.macros()?;
    for name in STEERING {
        macros.remove(name);
    }
    let objects: Vec<&str> = names(&macros, |definition| definition.parameters.is_none());
    let enumerator = |name: &str| format!("enum {{ {PREFIX}{name} = ({name}) }};");
    let constant = run.accepted(&[&objects[..], &[LATEST]].concat(), enumerator)?;
    if !constant.contains(LATEST) {
        return Err(MeasureError::NotXen { path: tree.root.join("xen.h"), lacks: LATEST });
    }
    let others: Vec<&str> =
        objects.iter().copied().filter(|name| !constant.contains(name)).collect();
    let strings = run.strings(&others)?;
    let object = run.object(&constant.iter().map(|name| enumerator(name)).collect::<Vec<_>>())?;
    let (structs, mut constants, mut places) = dwarf::read(tree, &object)?;
    let version = constants.remove(LATEST).and_then(|version| u32::try_from(version).ok());
    let interface_version =
        version.ok_or_else(|| MeasureError::Dwarf(format!("{LATEST} has no value")))?;
    let texts = macros
        .iter()
        .filter(|(name, _)| !constants.contains_key(*name))
        .map(|(name, definition)| (name.clone(), definition.text(strings.get(name))))
        .collect();
    places.extend(
        macros.iter().map(|(name, definition)| (name.clone(), Arc::clone(&definition.file))),
    );
    let Chosen { headers, skipped } = chosen;
    Ok(Measured { interface_version, structs, constants, texts, places, headers, skipped })
}

/// A macro's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Definition {
    file: Arc<str>,
    parameters: Option<String>,
    body: String,
}

fn names(macros: &BTreeMap<String, Definition>, wanted: impl Fn(&Definition) -> bool) -> Vec<&str> {
    macros.iter().filter(|(_, one)| wanted(one)).map(|(name, _)| name.as_str()).collect()
}

impl Definition {
    /// Reads what is behind `#define `; a macro without a body is none.
    fn read(file: &Arc<str>, text: &str) -> Option<(String, Self)> {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let (parameters, body) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
        {
            Some((parameters, body)) => (Some(parameters.replace(' ', "")), body),
            None => (None, rest),
        };
        let body = body.trim().to_owned();
        let one = Self { file: Arc::clone(file), parameters, body };
        (!one.body.is_empty()).then(|| (name.to_owned(), one))
    }

    fn text(&self, string: Option<&String>) -> Text {
        match (string, &self.parameters) {
            (Some(string), _) => Text::String(string.as_str().into()),
            (None, parameters) => Text::Macro {
                parameters: parameters.as_deref().map(Into::into),
                sum: sum(&self.body),
            },
        }
    }
}

/// Returns the FNV-1a sum of a macro's body without white space: whether it changed, not what it
/// is.
fn sum(body: &str) -> u64 {
    let bytes = body.bytes().filter(|byte| !byte.is_ascii_whitespace());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A compiler and the headers that it reads.
struct Run<'a> {
    tree: &'a Tree,
    compiler: &'a Compiler,
    source: String,
}

impl Run<'_> {
    /// Preprocesses the headers and `more`.
    fn preprocess(&self, options: &[&str], more: &str) -> Result<String, MeasureError> {
        let source = format!("{}{more}", self.source);
        let output =
            self.compiler.run(self.tree.search(), &[&["-E"], options].concat(), &source)?;
        if !output.status.success() {
            return Err(self.compiler.refused(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns the macros that the tree's headers define and that have a body.
    fn macros(&self) -> Result<BTreeMap<String, Definition>, MeasureError> {
        let mut file = None;
        let mut macros = BTreeMap::new();
        for line in self.preprocess(&["-dD"], "")?.lines() {
            if let Some(marked) = line_marker(line) {
                file = self.tree.relative(marked).map(Arc::<str>::from);
            } else if let (Some(definition), Some(file)) = (line.strip_prefix("#define "), &file) {
                macros.extend(Definition::read(file, definition));
            } else if let Some(name) = line.strip_prefix("#undef ") {
                macros.remove(name.trim());
            }
        }
        Ok(macros)
    }

    /// Those of the names for which the compiler takes the line that `line` makes.
    fn accepted<'n>(
        &self,
        names: &[&'n str],
        line: impl Fn(&str) -> String,
    ) -> Result<BTreeSet<&'n str>, MeasureError> {
        let first = self.source.lines().count() + 1;
        let mut names = names.to_vec();
        let options = [&["-fsyntax-only"], self.compiler.every_error()].concat();
        for _ in 0..PASSES {
            let lines: Vec<String> = names.iter().map(|name| line(name)).collect();
            let source = format!("{}{}\n", self.source, lines.join("\n"));
            let output = self.compiler.run(self.tree.search(), &options, &source)?;
            if output.status.success() {
                return Ok(names.into_iter().collect());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let refused: BTreeSet<usize> = said.lines().filter_map(refused_line).collect();
            let before = names.len();
            let mut number = first;
            names.retain(|_| {
                number += 1;
                !refused.contains(&(number - 1))
            });
            if names.len() == before {
                return Err(self.compiler.refused(&output));
            }
        }
        Err(MeasureError::Dwarf("the macros could not be told from one another".to_owned()))
    }

    /// Those of the macros that are string literals, and what the literals hold.
    fn strings(&self, names: &[&str]) -> Result<BTreeMap<String, String>, MeasureError> {
        let names =
            self.accepted(names, |name| format!("static const char {PREFIX}{name}[] = {name};"))?;
        let lines: Vec<String> =
            names.iter().map(|name| format!("{PREFIX} \"{name}\" {name}\n")).collect();
        let text = self.preprocess(&["-P"], &lines.concat())?;
        let found = text.lines().filter_map(|line| {
            let mut literals = literals(line.strip_prefix(PREFIX)?);
            Some((literals.next()?, literals.collect::<String>()))
        });
        Ok(found.collect())
    }

    /// Returns the object file with these lines.
    fn object(&self, lines: &[String]) -> Result<Vec<u8>, MeasureError> {
        let source = format!("{}{}\n", self.source, lines.join("\n"));
        self.compiler.object(self.tree.search(), &source)
    }
}

/// Returns the string literals in a line of C, as the compiler spells their contents.
fn literals(line: &str) -> impl Iterator<Item = String> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let start = rest.find('"')? + 1;
        let mut escaped = false;
        let length = rest[start..].find(|c| {
            let end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            end
        })?;
        let literal = rest[start..start + length].to_owned();
        rest = &rest[start + length + 1..];
        Some(literal)
    })
}

/// Returns the file in a line such as `# 12 "/usr/include/xen/xen.h" 1 3`.
fn line_marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("# ")?;
    rest.split_once('"')?.1.rsplit_once('"').map(|(file, _)| file)
}

/// Returns the line of our source in a line such as `<stdin>:12:3: error: ...`.
fn refused_line(line: &str) -> Option<usize> {
    line.contains(" error: ").then_some(())?;
    line.strip_prefix("<stdin>:")?.split_once(':')?.0.parse().ok()
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
        assert_eq!(literals(r#" "a" "b\"" L "c\\""#).collect::<Vec<_>>(), ["a", "b\\\"", "c\\\\"]);
    }

    #[test]
    fn definitions_are_read() {
        let read =
            |text| Definition::read(&"x.h".into(), text).map(|(name, one)| (name, one.text(None)));
        let text = |parameters: Option<&str>, body| Text::Macro {
            parameters: parameters.map(Into::into),
            sum: sum(body),
        };
        assert_eq!(read("A(x, y) ((x) + y)"), Some(("A".to_owned(), text(Some("x,y"), "((x)+y)"))));
        assert_eq!(read("A (x)"), Some(("A".to_owned(), text(None, "(x)"))));
        assert_eq!(read("GUARD"), None);
        assert_eq!(read("A() 1"), Some(("A".to_owned(), text(Some(""), "1"))));
    }
}
