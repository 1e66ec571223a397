//! The report as text.

use super::{Report, Undescribed};
use std::fmt::Write as _;

/// The closing lines: how much was compared, what was not, and how it ended.
#[must_use]
pub fn summary(report: &Report, cells: usize) -> String {
    let tally = &report.tally;
    let mut text = format!(
        "{} comparisons over {cells} releases and architectures: {} constants, {} struct sizes, {} members, {} named paddings, {} absences\n",
        tally.total(),
        tally.constants,
        tally.sizes,
        tally.members,
        tally.padding,
        tally.absences
    );
    let _ = writeln!(
        text,
        "{} described items have no name in C and were not compared",
        report.unchecked.len()
    );
    let _ = writeln!(
        text,
        "{} described types were compared only where they are structs in C, or members of one",
        report.types
    );
    let (constants, structs) =
        (report.undescribed_constants.len(), report.undescribed_structs.len());
    let _ = writeln!(
        text,
        "{constants} constants and {structs} structs of the headers are not described"
    );
    let _ = write!(
        text,
        "{}",
        match report.mismatches.len() {
            0 => "no mismatches".to_owned(),
            1 => "1 mismatch".to_owned(),
            many => format!("{many} mismatches"),
        }
    );
    text
}

/// What is left out, by reason: the names too, or only how many.
#[must_use]
pub fn undescribed(judged: &Undescribed, names: bool) -> String {
    let mut text = String::new();
    for (why, excused) in &judged.excused {
        let _ = writeln!(text, "{:5}  {why}", excused.len());
        if names {
            text.push_str(&list(excused));
        }
    }
    if !judged.unexcused.is_empty() {
        let _ = writeln!(text, "{:5}  left out without a reason:", judged.unexcused.len());
        text.push_str(&list(&judged.unexcused));
    }
    text
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("         {name}\n")).collect()
}
