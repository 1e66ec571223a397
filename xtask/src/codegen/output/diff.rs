//! A plan as a unified diff.

use super::plan::{Change, Plan};
use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;
use std::time::Duration;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// How long a file may take; after that its diff is coarser, and still right.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the plan would change, with colours; who prints it takes them out where nobody sees them.
#[must_use]
pub fn diff(plan: &Plan) -> String {
    plan.changes.iter().map(|change| file(plan, change)).collect()
}

fn file(plan: &Plan, change: &Change) -> String {
    let path = plan.folder.join(&change.name).display().to_string();
    let side =
        |text: &Option<String>| if text.is_some() { path.clone() } else { "/dev/null".to_owned() };
    let (old, new) = (change.old.as_deref().unwrap_or(""), change.new.as_deref().unwrap_or(""));
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{BOLD}--- {}{RESET}\n{BOLD}+++ {}{RESET}",
        side(&change.old),
        side(&change.new)
    );
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        let _ = writeln!(out, "{CYAN}{}{RESET}", hunk.header());
        for line in hunk.iter_changes() {
            let (sign, colour) = match line.tag() {
                ChangeTag::Delete => ("-", RED),
                ChangeTag::Insert => ("+", GREEN),
                ChangeTag::Equal => (" ", ""),
            };
            let reset = if colour.is_empty() { "" } else { RESET };
            let _ = writeln!(out, "{colour}{sign}{}{reset}", line.value().trim_end_matches('\n'));
        }
    }
    out
}
