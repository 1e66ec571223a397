//! Facts that the description leaves out on purpose, with the reason, and how many there are: a new
//! one changes the count.
//!
//! ```text
//! [Trace records are read by the tools, not by a guest.]
//! constants 154: TRC_* TRACE_*
//! structs 3: t_buf t_info t_rec
//! ```

use super::Report;
use std::fmt::Write as _;

/// The file in the folder of facts.
pub const FILE: &str = "undescribed.txt";

/// The rules, in the file's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    reasons: Vec<Reason>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    why: String,
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    kind: Kind,
    count: usize,
    patterns: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Constants,
    Structs,
}

/// The undescribed facts, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undescribed {
    /// Each reason with its constants and its structs.
    pub excused: Vec<(String, Vec<String>)>,
    /// Names that no rule mentions.
    pub unexcused: Vec<String>,
    /// What is wrong with the rules: counts that do not hold, patterns that match nothing.
    pub stale: Vec<String>,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Constants => "constants",
            Self::Structs => "structs",
        }
    }

    fn of(self, report: &Report) -> &[String] {
        match self {
            Self::Constants => &report.undescribed_constants,
            Self::Structs => &report.undescribed_structs,
        }
    }
}

impl Rules {
    /// Reads the rules.
    ///
    /// # Errors
    /// Names the first line that is not of the form above.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut rules = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let wrong = |why: &str| format!("{FILE}:{}: {why}", index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(why) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                rules.reasons.push(Reason { why: why.to_owned(), groups: Vec::new() });
                continue;
            }
            let group = read_group(line)
                .ok_or_else(|| wrong("not of the form `constants 12: NAME PREFIX_*`"))?;
            let reason = rules
                .reasons
                .last_mut()
                .ok_or_else(|| wrong("a list of names before the first [reason]"))?;
            reason.groups.push(group);
        }
        Ok(rules)
    }

    /// Sorts what the report calls undescribed by reason.
    #[must_use]
    pub fn judge(&self, report: &Report) -> Undescribed {
        let mut judged = Undescribed::default();
        for kind in [Kind::Constants, Kind::Structs] {
            let free = kind
                .of(report)
                .iter()
                .filter(|name| !self.groups(kind).any(|group| group.pattern(name).is_some()));
            judged.unexcused.extend(free.cloned());
        }
        for reason in &self.reasons {
            let mut names = Vec::new();
            for group in &reason.groups {
                let mine = self.names(group, report);
                if mine.len() != group.count {
                    judged.stale.push(format!(
                        "[{}] {} {}: there are {}",
                        reason.why,
                        group.kind.name(),
                        group.count,
                        mine.len()
                    ));
                }
                let used = |pattern: &&String| {
                    mine.iter().any(|name| group.pattern(name) == Some(pattern.as_str()))
                };
                let idle = group.patterns.iter().filter(|pattern| !used(pattern));
                judged.stale.extend(idle.map(|pattern| {
                    format!("[{}] `{pattern}` names nothing that is left out", reason.why)
                }));
                names.extend(mine);
            }
            judged.excused.push((reason.why.clone(), names));
        }
        judged
    }

    /// The file's text, with the counts that hold and without patterns that match nothing.
    #[must_use]
    pub fn updated(&self, report: &Report) -> String {
        let mut text = String::from(
            "# What the facts have and the description leaves out: [why], then how many and which. \
             The first match counts.\n",
        );
        for reason in &self.reasons {
            let _ = writeln!(text, "\n[{}]", reason.why);
            for group in &reason.groups {
                let mine = self.names(group, report);
                let used = |pattern: &&String| {
                    mine.iter().any(|name| group.pattern(name) == Some(pattern.as_str()))
                };
                let patterns: Vec<&str> =
                    group.patterns.iter().filter(used).map(String::as_str).collect();
                if !patterns.is_empty() {
                    let _ = writeln!(
                        text,
                        "{} {}: {}",
                        group.kind.name(),
                        mine.len(),
                        patterns.join(" ")
                    );
                }
            }
        }
        text
    }

    fn groups(&self, kind: Kind) -> impl Iterator<Item = &Group> {
        self.reasons
            .iter()
            .flat_map(|reason| &reason.groups)
            .filter(move |group| group.kind == kind)
    }

    /// The names for which this group is the first that matches.
    fn names(&self, group: &Group, report: &Report) -> Vec<String> {
        let first =
            |name: &str| self.groups(group.kind).find(|group| group.pattern(name).is_some());
        let mine = group
            .kind
            .of(report)
            .iter()
            .filter(|name| first(name).is_some_and(|first| std::ptr::eq(first, group)));
        mine.cloned().collect()
    }
}

impl Group {
    /// The first of its patterns that matches.
    fn pattern(&self, name: &str) -> Option<&str> {
        let matches = |pattern: &&String| {
            pattern
                .strip_suffix('*')
                .map_or(name == pattern.as_str(), |prefix| name.starts_with(prefix))
        };
        self.patterns.iter().find(matches).map(String::as_str)
    }
}

fn read_group(line: &str) -> Option<Group> {
    let (head, patterns) = line.split_once(':')?;
    let (kind, count) = head.split_once(' ')?;
    let kind = [Kind::Constants, Kind::Structs].into_iter().find(|known| known.name() == kind)?;
    Some(Group {
        kind,
        count: count.trim().parse().ok()?,
        patterns: patterns.split_whitespace().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(constants: &[&str]) -> Report {
        Report {
            undescribed_constants: constants.iter().map(|name| (*name).to_owned()).collect(),
            ..Report::default()
        }
    }

    const RULES: &str =
        "# why\n[Tools.]\nconstants 2: TRC_* X\n[Else.]\nconstants 1: TRC_OTHER Y*\n";

    #[test]
    fn what_no_rule_mentions_is_named() {
        let judged = Rules::read(RULES).unwrap().judge(&report(&["TRC_A", "X", "Y1", "NEW"]));
        assert_eq!(judged.unexcused, ["NEW"]);
        assert_eq!(judged.stale, ["[Else.] `TRC_OTHER` names nothing that is left out"]);
        assert_eq!(
            judged.excused[0],
            ("Tools.".to_owned(), vec!["TRC_A".to_owned(), "X".to_owned()])
        );
    }

    #[test]
    fn one_more_under_a_known_prefix_is_noticed_and_can_be_accepted() {
        let rules = Rules::read(RULES).unwrap();
        let report = report(&["TRC_A", "TRC_B", "X", "Y1"]);
        assert_eq!(rules.judge(&report).stale[0], "[Tools.] constants 2: there are 3");
        let updated = Rules::read(&rules.updated(&report)).unwrap();
        assert_eq!(updated.judge(&report).stale, Vec::<String>::new());
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        assert_eq!(
            Rules::read("constants 1: A"),
            Err("undescribed.txt:1: a list of names before the first [reason]".to_owned())
        );
        assert!(Rules::read("[a]\nmacros 1: A").is_err());
        assert!(Rules::read("[a]\nconstants many: A").is_err());
    }
}
