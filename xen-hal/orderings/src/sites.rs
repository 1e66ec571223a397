//! The accesses in the sources, and the orderings that they state.

use std::fs;
use std::panic::Location;
use std::path::{Path, PathBuf};

use xen_pac::access::atomic::Ordering;

/// The folders whose accesses are checked, relative to this package.
const CHECKED: [&str; 9] = [
    "../src/clock",
    "../src/event",
    "../src/grant",
    "../src/ring",
    "../src/vcpu",
    "../src/vcpu/start",
    "../src/xenstore",
    "../src/xenstore/asynch",
    "../../xen-pac/src/access",
];

/// The shim: the only files that may name `core`'s atomics.
const SHIM: [&str; 2] = ["access/atomic.rs", "access/mod.rs"];

/// The methods that access an atomic. An exchange that can fail spuriously counts as one that
/// cannot.
const METHODS: [&str; 11] = [
    "load",
    "store",
    "swap",
    "fetch_or",
    "fetch_and",
    "fetch_xor",
    "fetch_max",
    "fetch_add",
    "compare_exchange",
    "compare_exchange_weak",
    "fence",
];

/// An access in a source.
#[derive(Debug)]
pub struct Site {
    /// The file, with its folder.
    pub file: String,
    /// The function.
    pub function: String,
    /// The method, with a number unless it is the function's first access by it.
    pub access: String,
    /// The ordering, and that of an exchange that fails.
    pub orders: Vec<Ordering>,
    method: &'static str,
    line: usize,
}

/// One ordering, made weaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weakening {
    /// The index of the access.
    pub site: usize,
    /// True for the ordering of an exchange that fails.
    pub failure: bool,
    /// The stated ordering.
    pub from: Ordering,
    /// The ordering in its place.
    pub to: Ordering,
}

/// All accesses, in the order of files and lines.
pub struct Sites {
    /// The accesses.
    pub all: Vec<Site>,
    /// The place, file and line, of each function.
    functions: Vec<(String, usize, String)>,
    /// How often an ordering stronger than relaxed is stated, in all files.
    stated: usize,
    /// The lines that name `core`'s atomics, or an ordering without its type.
    forbidden: Vec<String>,
}

impl Sites {
    /// Reads the sources.
    ///
    /// # Panics
    ///
    /// If a source cannot be read.
    #[must_use]
    pub fn read() -> Self {
        let mut sites =
            Self { all: Vec::new(), functions: Vec::new(), stated: 0, forbidden: Vec::new() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<PathBuf> = CHECKED
            .iter()
            .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder of sources"))
            .map(|entry| entry.expect("an entry of the folder").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .collect();
        files.sort();
        for file in files {
            let name = file.iter().rev().take(2).map(|part| part.to_string_lossy());
            let name: Vec<_> = name.collect();
            let name = format!("{}/{}", name[1], name[0]);
            let is_test = ["tests.rs", "_tests.rs"].iter().any(|end| name.ends_with(end));
            if !is_test && name != SHIM[0] {
                sites.file(&name, &fs::read_to_string(&file).expect("a source"));
            }
        }
        sites
    }

    fn file(&mut self, name: &str, text: &str) {
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code: Vec<&str> =
            text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        let mut function = String::new();
        for (number, line) in code.iter().enumerate() {
            // Without its type, an ordering would not be found below.
            let is_bare = line.contains("use ") && line.contains("Ordering::");
            let names_core = ["core::sync", "sync::atomic"].iter().any(|name| line.contains(name));
            if (is_bare || names_core) && name != SHIM[1] {
                self.forbidden.push(format!("{name}:{}", number + 1));
            }
            self.stated += strong(line);
            if let Some((_, after)) = line.split_once("fn ") {
                let end = after.find(|c: char| !c.is_alphanumeric() && c != '_');
                function = after[..end.unwrap_or(after.len())].to_owned();
                self.functions.push((name.to_owned(), number + 1, function.clone()));
            }
            for method in METHODS {
                let called = format!("{method}(");
                for (at, _) in line.match_indices(&called) {
                    let before = line[..at].chars().next_back();
                    let is_call = match method {
                        "fence" => !before.is_some_and(|c| c.is_alphanumeric() || c == '_'),
                        _ => matches!(before, Some('.' | ':')),
                    };
                    let orders = orders(&code[number..], at + called.len());
                    if is_call && !orders.is_empty() {
                        self.site(name, number + 1, &function, method, orders);
                    }
                }
            }
        }
    }

    fn site(
        &mut self,
        file: &str,
        line: usize,
        function: &str,
        method: &'static str,
        orders: Vec<Ordering>,
    ) {
        let method = method.trim_end_matches("_weak");
        let same =
            |site: &&Site| site.file == file && site.function == function && site.method == method;
        let number = 1 + self.all.iter().filter(same).count();
        let access = if number == 1 { method.to_owned() } else { format!("{method} {number}") };
        let (file, function) = (file.to_owned(), function.to_owned());
        self.all.push(Site { file, function, access, orders, method, line });
    }

    /// Returns the access at a place. A place within a macro is that of its use; then the access is
    /// the function's first by that method.
    #[must_use]
    pub fn find(&self, place: &Location<'_>, method: &str) -> Option<usize> {
        let is_here = |file: &str| place.file().ends_with(&format!("/src/{file}"));
        let line = place.line() as usize;
        let same = |site: &Site| site.method == method && is_here(&site.file);
        let exact = self.all.iter().position(|site| same(site) && site.line == line);
        exact.or_else(|| {
            let before = |entry: &&(String, usize, String)| entry.1 <= line && is_here(&entry.0);
            let (_, _, function) = self.functions.iter().rev().find(before)?;
            self.all.iter().position(|site| same(site) && site.function == *function)
        })
    }

    /// Returns every ordering that is stronger than relaxed, with each next weaker one.
    #[must_use]
    pub fn weakenings(&self) -> Vec<Weakening> {
        let mut all = Vec::new();
        for (site, Site { method, orders, .. }) in self.all.iter().enumerate() {
            for (failure, from) in [false, true].into_iter().zip(orders.iter().copied()) {
                let weaker = weaker(if failure { "load" } else { method }, from);
                all.extend(weaker.iter().map(|to| Weakening { site, failure, from, to: *to }));
            }
        }
        all
    }

    /// Describes a weakening in cells of a table: file, function, access and orderings.
    #[must_use]
    pub fn describe(&self, weakening: Weakening) -> String {
        let Weakening { site, failure, from, to } = weakening;
        let Site { file, function, access, .. } = &self.all[site];
        let failure = if failure { ", failure" } else { "" };
        format!("| {file} | {function} | {access}{failure} | {from:?} to {to:?} |")
    }
}

/// How often a line states an ordering stronger than relaxed.
fn strong(line: &str) -> usize {
    line.split("Ordering::").skip(1).filter(|after| order(after).is_some_and(is_strong)).count()
}

fn is_strong(order: Ordering) -> bool {
    order != Ordering::Relaxed
}

/// Returns the ordering whose name a text begins with.
fn order(text: &str) -> Option<Ordering> {
    use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
    [AcqRel, Acquire, Relaxed, Release, SeqCst]
        .into_iter()
        .find(|order| text.starts_with(&format!("{order:?}")))
}

/// Returns the orderings among the arguments that begin at a column of the first line.
fn orders(code: &[&str], column: usize) -> Vec<Ordering> {
    let (mut depth, mut arguments) = (1, String::new());
    for (number, line) in code.iter().enumerate().take(12) {
        for c in line.chars().skip(if number == 0 { column } else { 0 }) {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                return arguments.split("Ordering::").skip(1).filter_map(order).collect();
            }
            arguments.push(c);
        }
    }
    Vec::new()
}

/// Returns the next weaker orderings.
fn weaker(method: &str, order: Ordering) -> &'static [Ordering] {
    use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
    match (method, order) {
        ("load", SeqCst) => &[Acquire],
        ("store", SeqCst) => &[Release],
        (_, SeqCst) => &[AcqRel],
        (_, AcqRel) => &[Acquire, Release],
        (_, Acquire | Release) => &[Relaxed],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atomics_come_through_the_shim() {
        let forbidden = Sites::read().forbidden;
        assert!(forbidden.is_empty(), "expected `use crate::atomic::Ordering` in {forbidden:?}");
    }

    #[test]
    fn each_stated_ordering_belongs_to_an_access() {
        let sites = Sites::read();
        let orders = sites.all.iter().flat_map(|site| &site.orders);
        assert_eq!(orders.filter(|order| is_strong(**order)).count(), sites.stated);
    }
}
