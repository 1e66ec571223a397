//! Which modules of a crate import which: from `use` declarations and from paths that begin with
//! `crate`, `self` or `super`, also in macros. What only tests use does not count.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module in its crate; empty for the root.
type ModulePath = Vec<String>;

/// A crate, read.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// Every path that the module names, as written.
    paths: Vec<Vec<String>>,
    /// What a name that the module imports stands for, as written.
    imports: BTreeMap<String, Vec<String>>,
    /// Paths of which the module imports everything.
    globs: Vec<Vec<String>>,
    /// The names of the items that it defines.
    items: BTreeSet<String>,
}

impl Crate {
    /// Reads the crate with that root file, and the files of its modules.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut all = Self::default();
        let folder = root.parent().expect("a file is in a folder");
        all.file(Vec::new(), root, folder)?;
        Ok(all)
    }

    /// Reads a module's file; `folder` is that of its submodules.
    fn file(&mut self, path: ModulePath, file: &Path, folder: &Path) -> Result<(), String> {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let tokens: TokenStream =
            text.parse().map_err(|error| format!("{}: {error}", file.display()))?;
        self.tokens(path, tokens, file.parent().unwrap_or(folder), folder)
    }

    /// Reads the tokens of a module; `here` is the folder of its file.
    fn tokens(
        &mut self,
        path: ModulePath,
        tokens: TokenStream,
        here: &Path,
        folder: &Path,
    ) -> Result<(), String> {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut module = Module::default();
        let mut rest = &tokens[..];
        // The attributes before an item: whether it is only there for tests, and a module's files.
        let (mut test, mut files) = (false, Vec::<PathBuf>::new());
        while let [first, after @ ..] = rest {
            match (word(first), after) {
                (Some("mod"), [TokenTree::Ident(name), body, ..]) => {
                    let inner = [&path[..], &[name.to_string()]].concat();
                    let below = folder.join(name.to_string());
                    match body {
                        _ if test => {}
                        TokenTree::Group(group) => {
                            self.tokens(inner, group.stream(), here, &below)?;
                        }
                        _ if files.is_empty() => {
                            let files = [below.join("mod.rs"), folder.join(format!("{name}.rs"))];
                            let file = files.into_iter().find(|file| file.is_file());
                            let file = file.ok_or_else(|| {
                                format!("{}: no file for `mod {name}`", folder.display())
                            })?;
                            self.file(inner, &file, &below)?;
                        }
                        // One file per architecture, perhaps.
                        _ => {
                            for file in std::mem::take(&mut files) {
                                self.file(inner.clone(), &file, file.parent().unwrap_or(here))?;
                            }
                        }
                    }
                    rest = &after[2..];
                    (test, files) = (false, Vec::new());
                }
                (Some("use"), _) => {
                    let end = after.iter().position(|token| sign(token) == Some(';'));
                    let (tree, others) = after.split_at(end.unwrap_or(after.len()));
                    if !test {
                        module.use_tree(&[], tree);
                    }
                    rest = others;
                    (test, files) = (false, Vec::new());
                }
                (Some(keyword), [TokenTree::Ident(name), ..]) if is_item(keyword) => {
                    module.items.insert(name.to_string());
                    rest = after;
                }
                _ if sign(first) == Some('#') => {
                    if let [TokenTree::Group(attribute), ..] = after {
                        let text = attribute.to_string().replace(' ', "");
                        test |= text == "[cfg(test)]" || text.starts_with("[cfg(all(test,");
                        let path = text.split_once("path=\"");
                        let path = path.and_then(|(_, rest)| rest.split_once('"'));
                        files.extend(path.map(|(path, _)| here.join(path)));
                        module.inside(attribute.stream());
                    }
                    rest = after.get(1..).unwrap_or_default();
                }
                // The end of an item.
                _ if sign(first) == Some(';') || is_braces(first) => {
                    if let (TokenTree::Group(group), false) = (first, test) {
                        module.inside(group.stream());
                    }
                    (test, files) = (false, Vec::new());
                    rest = after;
                }
                _ => {
                    rest = if test { after } else { module.step(rest) };
                }
            }
        }
        let known = self.modules.entry(path).or_default();
        known.paths.extend(module.paths);
        known.imports.extend(module.imports);
        known.globs.extend(module.globs);
        known.items.extend(module.items);
        Ok(())
    }

    /// The module that a path as written in `from` leads to, after re-exports.
    fn resolve(&self, from: &[String], written: &[String], depth: usize) -> Option<ModulePath> {
        let mut at: ModulePath = from.to_vec();
        let mut names = written;
        while let [first, rest @ ..] = names {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()?),
                name => {
                    let inner = [&at[..], &[name.to_owned()]].concat();
                    if self.modules.contains_key(&inner) {
                        at = inner;
                    } else {
                        return Some(self.behind(&at, name, depth).unwrap_or(at));
                    }
                }
            }
            names = rest;
        }
        Some(at)
    }

    /// The module from which `at` has a name that it imports.
    fn behind(&self, at: &[String], name: &str, depth: usize) -> Option<ModulePath> {
        let module = self.modules.get(at)?;
        if depth == 0 || module.items.contains(name) {
            return None;
        }
        let local = |written: &[String]| {
            let first = written.first().map(String::as_str);
            let inner = [at, &written[..1]].concat();
            matches!(first, Some("crate" | "self" | "super")) || self.modules.contains_key(&inner)
        };
        if let Some(written) = module.imports.get(name).filter(|written| local(written)) {
            return self.resolve(at, written, depth - 1);
        }
        let globs = module.globs.iter().filter(|written| local(written));
        globs.filter_map(|written| self.resolve(at, written, depth - 1)).find_map(|inner| {
            let found = self.modules.get(&inner)?.items.contains(name);
            let below = [&inner[..], &[name.to_owned()]].concat();
            match found {
                true => Some(inner),
                false if self.modules.contains_key(&below) => Some(below),
                false => self.behind(&inner, name, depth - 1),
            }
        })
    }

    /// Every circle: of the modules of one parent, with all that is below them, some that import
    /// each other.
    pub(crate) fn circles(&self) -> Vec<String> {
        // From a parent to which of its children imports which, and a path that shows it.
        type Arrows = BTreeMap<(String, String), String>;
        let mut parents: BTreeMap<ModulePath, Arrows> = BTreeMap::new();
        for (from, module) in &self.modules {
            for written in &module.paths {
                let Some(to) = self.resolve(from, written, 8) else { continue };
                let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
                let (Some(one), Some(other)) = (from.get(common), to.get(common)) else { continue };
                let example = format!("{} uses {}", from.join("::"), written.join("::"));
                parents
                    .entry(from[..common].to_vec())
                    .or_default()
                    .entry((one.clone(), other.clone()))
                    .or_insert(example);
            }
        }
        let mut circles = Vec::new();
        for (parent, arrows) in &parents {
            let mut nodes: BTreeSet<&String> = arrows.keys().map(|(from, _)| from).collect();
            while let Some(start) = nodes.pop_first() {
                if let Some(circle) = shortest(start, arrows) {
                    nodes.retain(|name| !circle.contains(name));
                    let name =
                        |name: &&String| [&parent[..], &[name.to_string()]].concat().join("::");
                    let names: Vec<String> = circle.iter().chain([&start]).map(name).collect();
                    let steps = circle.iter().zip(circle.iter().cycle().skip(1));
                    let steps = steps.map(|(from, to)| {
                        let arrow = &arrows[&((*from).clone(), (*to).clone())];
                        format!("\n    {arrow}")
                    });
                    circles.push(format!("{}{}", names.join(" -> "), steps.collect::<String>()));
                }
            }
        }
        circles
    }
}

/// The shortest way from a node back to itself, without its end.
fn shortest<'a>(
    start: &'a String,
    arrows: &'a BTreeMap<(String, String), String>,
) -> Option<Vec<&'a String>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for (_, to) in arrows.keys().filter(|(from, _)| Some(&from) == way.last()) {
                if to == start {
                    return Some(way);
                }
                if seen.insert(to) {
                    longer.push([&way[..], &[to]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

impl Module {
    /// Notes the paths in a group of tokens.
    fn inside(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = &tokens[..];
        while !rest.is_empty() {
            rest = match rest {
                [use_, after @ ..] if word(use_) == Some("use") => {
                    let end = after.iter().position(|token| sign(token) == Some(';'));
                    let (tree, others) = after.split_at(end.unwrap_or(after.len()));
                    self.use_tree(&[], tree);
                    others
                }
                _ => self.step(rest),
            };
        }
    }

    /// Notes the path at the start of the tokens, if there is one; the tokens behind it.
    fn step<'t>(&mut self, tokens: &'t [TokenTree]) -> &'t [TokenTree] {
        match tokens {
            [first, ..] if matches!(word(first), Some("crate" | "self" | "super")) => {
                let (path, rest) = path(tokens);
                if path.len() > 1 {
                    self.paths.push(path);
                }
                rest
            }
            [TokenTree::Group(group), rest @ ..] => {
                self.inside(group.stream());
                rest
            }
            _ => &tokens[1..],
        }
    }

    /// Notes a `use` tree behind a prefix.
    fn use_tree(&mut self, prefix: &[String], tokens: &[TokenTree]) {
        let (own, rest) = path(tokens);
        let whole = [prefix, &own[..]].concat();
        match rest {
            [TokenTree::Group(group)] if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in
                    inner.split(|token| sign(token) == Some(',')).filter(|part| !part.is_empty())
                {
                    self.use_tree(&whole, part);
                }
            }
            [star] if sign(star) == Some('*') => {
                self.paths.push(whole.clone());
                self.globs.push(whole);
            }
            _ => {
                let whole = if whole.last().is_some_and(|last| last == "self") {
                    whole[..whole.len() - 1].to_vec()
                } else {
                    whole
                };
                let name = match rest {
                    [as_, TokenTree::Ident(name)] if word(as_) == Some("as") => {
                        Some(name.to_string())
                    }
                    _ => whole.last().cloned(),
                };
                self.imports.extend(name.map(|name| (name, whole.clone())));
                self.paths.push(whole);
            }
        }
    }
}

/// The path at the start of the tokens, and what is behind it and its last `::`.
fn path(mut tokens: &[TokenTree]) -> (Vec<String>, &[TokenTree]) {
    let mut names = Vec::new();
    if let [one, two, rest @ ..] = tokens
        && (sign(one), sign(two)) == (Some(':'), Some(':'))
    {
        tokens = rest;
    }
    while let [TokenTree::Ident(name), rest @ ..] = tokens {
        names.push(name.to_string());
        match rest {
            [one, two, behind @ ..] if (sign(one), sign(two)) == (Some(':'), Some(':')) => {
                tokens = behind;
            }
            _ => return (names, rest),
        }
    }
    (names, tokens)
}

fn word(token: &TokenTree) -> Option<&'static str> {
    const WORDS: [&str; 16] = [
        "mod",
        "use",
        "crate",
        "self",
        "super",
        "as",
        "fn",
        "struct",
        "enum",
        "union",
        "trait",
        "type",
        "const",
        "static",
        "macro",
        "macro_rules",
    ];
    let TokenTree::Ident(ident) = token else { return None };
    WORDS.into_iter().find(|word| ident == word)
}

fn is_item(keyword: &str) -> bool {
    !matches!(keyword, "mod" | "use" | "crate" | "self" | "super" | "as")
}

fn sign(token: &TokenTree) -> Option<char> {
    match token {
        TokenTree::Punct(sign) => Some(sign.as_char()),
        _ => None,
    }
}

fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

#[test]
fn circles_are_found_through_imports_macros_and_re_exports() {
    let circle = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("created");
            fs::write(path, text).expect("written");
        }
        let circles = Crate::read(&folder.path().join("lib.rs")).expect("a crate").circles();
        circles.join("\n")
    };
    let lib = ("lib.rs", "mod a; mod b; pub use b::B;");
    let cases: [(&[(&str, &str)], &str); 10] = [
        (&[lib, ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")], ""),
        (
            &[lib, ("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A; struct B;")],
            "a -> b -> a",
        ),
        (
            &[lib, ("a.rs", "fn f() { g!(crate::B) }"), ("b.rs", "use crate::a; struct B;")],
            "a -> b -> a",
        ),
        (
            &[lib, ("a.rs", "use crate::{B as C};"), ("b.rs", "fn f(_: crate::a::A) {}")],
            "a -> b -> a",
        ),
        // Tests may use anything.
        (
            &[lib, ("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)] mod t { use crate::a; }")],
            "",
        ),
        (
            &[lib, ("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)] use crate::a; fn f() {}")],
            "",
        ),
        // A folder's own file and its children are one idea; its children are not.
        (
            &[
                lib,
                ("a/mod.rs", "mod x; mod y;"),
                ("a/x.rs", "use super::y::Y;"),
                ("a/y.rs", ""),
                ("b.rs", ""),
            ],
            "",
        ),
        (
            &[
                lib,
                ("a/mod.rs", "mod x; pub use x::*; mod y;"),
                ("a/x.rs", "pub struct X; use super::y::Y;"),
                ("a/y.rs", "use super::X;"),
                ("b.rs", ""),
            ],
            "a::x -> a::y -> a::x",
        ),
        // A glob brings modules, too.
        (
            &[
                ("lib.rs", "mod a; mod b; pub use b::*;"),
                ("a.rs", "use crate::c::C;"),
                ("b/mod.rs", "pub mod c;"),
                ("b/c.rs", "pub struct C; use crate::a::A;"),
            ],
            "a -> b -> a",
        ),
        // Folders are compared with all that is in them.
        (
            &[
                lib,
                ("a/mod.rs", "mod x; mod y;"),
                ("a/x.rs", "use crate::b::B;"),
                ("a/y.rs", ""),
                ("b.rs", "use crate::a::y::Y;"),
            ],
            "a -> b -> a",
        ),
    ];
    for (index, (files, expected)) in cases.into_iter().enumerate() {
        let found = circle(files);
        assert_eq!(found.lines().next().unwrap_or_default(), expected, "case {index}:\n{found}");
    }
}
