//! Freshly measured headers: which release they are, and whether they agree with the facts that are
//! kept.

use crate::document::Release;
use crate::headers::facts::{Facts, Table};
use crate::headers::measure::Measured;

/// How a fresh table compares with the one that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// How many names are in both, and equal.
    pub equal: usize,
    /// What is in both, and differs.
    pub different: Vec<String>,
    /// Names that only the kept table has.
    pub lost: Vec<String>,
    /// Names that only the fresh table has.
    pub new: Vec<String>,
}

/// Compares a fresh table with the kept one of the same release and architecture, if there is one.
#[must_use]
pub fn compare(fresh: &Table, facts: &Facts) -> Option<Agreement> {
    let kept = facts.table(facts.grid.find(fresh.release, &fresh.arch)?);
    let mut agreement = Agreement::default();
    for (name, value) in &kept.constants {
        agreement.add(
            name,
            fresh
                .constants
                .get(name)
                .map(|now| (now == value, format!("{now} now, {value} in the facts"))),
        );
    }
    for (name, table) in &kept.structs {
        agreement.add(
            name,
            fresh.structs.get(name).map(|now| {
                (now == table, format!("{} bytes now, {} in the facts", now.size, table.size))
            }),
        );
    }
    let constants = fresh.constants.keys().filter(|name| !kept.constants.contains_key(*name));
    let structs = fresh.structs.keys().filter(|name| !kept.structs.contains_key(*name));
    agreement.new = constants.chain(structs).cloned().collect();
    Some(agreement)
}

impl Agreement {
    fn add(&mut self, name: &str, fresh: Option<(bool, String)>) {
        match fresh {
            Some((true, _)) => self.equal += 1,
            Some((false, how)) => self.different.push(format!("`{name}`: {how}")),
            None => self.lost.push(name.to_owned()),
        }
    }
}

/// Which release measured headers are: the one with their interface version; of several, the one
/// whose facts they fit best.
///
/// # Errors
/// No release fits, or several equally well; the error says so.
pub fn release(measured: &[(&str, &Measured)], facts: &Facts) -> Result<Release, String> {
    let Some((_, first)) = measured.first() else { return Err("nothing was measured".to_owned()) };
    let version = first.interface_version;
    let candidates = facts
        .grid
        .releases
        .iter()
        .filter(|(_, known)| *known == version)
        .map(|(release, _)| *release);
    let mut misfits: Vec<((usize, usize), Release)> =
        candidates.map(|release| (misfit(measured, facts, release), release)).collect();
    misfits.sort_unstable();
    match misfits.as_slice() {
        [] => Err(format!(
            "no measured release has the interface version {version:#010x} of these headers; say \
             which it is with --release"
        )),
        [(_, only)] => Ok(*only),
        [(best, release), (next, _), ..] if best < next => Ok(*release),
        [(best, _), ..] => {
            let equal: Vec<String> = misfits
                .iter()
                .filter(|(misfit, _)| misfit == best)
                .map(|(_, release)| release.to_string())
                .collect();
            Err(format!("these headers may be Xen {}; say which with --release", equal.join(", ")))
        }
    }
}

/// How badly headers fit a release: first, how many names of its facts they lack or give another
/// meaning; then, how many they have besides. Updates of a release add names of later ones, and
/// drop none. Without the second number, headers would fit each release before them that dropped
/// nothing.
fn misfit(measured: &[(&str, &Measured)], facts: &Facts, release: Release) -> (usize, usize) {
    let tables =
        measured.iter().map(|(arch, measured)| (*measured).clone().into_table(release, arch));
    let agreements = tables.filter_map(|table| compare(&table, facts));
    agreements.fold((0, 0), |(lost, new), found| {
        (lost + found.different.len() + found.lost.len(), new + found.new.len())
    })
}
