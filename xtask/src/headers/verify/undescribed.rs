//! Facts that the description leaves out on purpose, with the reason, and how many there are: a new
//! one changes the count.
//!
//! ```text
//! [Trace records are read by the tools, not by a guest.]
//! constants 154: TRC_* TRACE_*
//! structs 3: t_buf t_info t_rec
//! headers 40: trace.h io/*
//! ```
//!
//! A line of headers covers all names of these headers. A pattern can begin or end
//! with `*`.

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
pub(super) enum Kind {
    Constants,
    Structs,
    Strings,
    Macros,
    Headers,
}

/// A name that the description leaves out.
#[derive(Clone, Copy)]
struct Fact<'r> {
    kind: Kind,
    name: &'r str,
    header: &'r str,
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
    const ALL: [Self; 5] =
        [Self::Constants, Self::Structs, Self::Strings, Self::Macros, Self::Headers];

    fn name(self) -> &'static str {
        match self {
            Self::Constants => "constants",
            Self::Structs => "structs",
            Self::Strings => "strings",
            Self::Macros => "macros",
            Self::Headers => "headers",
        }
    }
}

impl Report {
    /// Returns every name that the description leaves out.
    fn left_out(&self) -> impl Iterator<Item = Fact<'_>> {
        let header = |key: &str| self.headers.get(key).map_or("", |header| header);
        let named = [
            (Kind::Constants, &self.undescribed_constants),
            (Kind::Strings, &self.undescribed_strings),
            (Kind::Macros, &self.undescribed_macros),
        ];
        let named = named.into_iter().flat_map(move |(kind, names)| {
            names.iter().map(move |name| (kind, name, header(name)))
        });
        let structs = self.undescribed_structs.iter();
        let structs =
            structs.map(move |name| (Kind::Structs, name, header(&format!("struct {name}"))));
        named.chain(structs).map(|(kind, name, header)| Fact { kind, name, header })
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
        let free = report
            .left_out()
            .filter(|fact| !self.groups().any(|group| group.pattern(*fact).is_some()));
        judged.unexcused.extend(free.map(|fact| match fact.header {
            "" => fact.name.to_owned(),
            header => format!("{} ({header})", fact.name),
        }));
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
                    mine.iter().any(|fact| group.pattern(*fact) == Some(pattern.as_str()))
                };
                let idle = group.patterns.iter().filter(|pattern| !used(pattern));
                judged.stale.extend(idle.map(|pattern| {
                    format!("[{}] `{pattern}` names nothing that is left out", reason.why)
                }));
                names.extend(mine.iter().map(|fact| fact.name.to_owned()));
            }
            judged.excused.push((reason.why.clone(), names));
        }
        judged
    }

    /// Returns the file's text, with the counts that hold and without patterns that match nothing.
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
                    mine.iter().any(|fact| group.pattern(*fact) == Some(pattern.as_str()))
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

    /// Returns whether a rule leaves out a constant of that header.
    #[must_use]
    pub fn omit_constant(&self, name: &str, header: &str) -> bool {
        self.why(Kind::Constants, name, header).is_some()
    }

    /// Returns whether a rule leaves out a struct of that header.
    #[must_use]
    pub fn omit_struct(&self, name: &str, header: &str) -> bool {
        self.why(Kind::Structs, name, header).is_some()
    }

    /// Returns whether a rule leaves out a string or another macro of that header.
    #[must_use]
    pub fn omit_text(&self, name: &str, header: &str, is_string: bool) -> bool {
        let kind = if is_string { Kind::Strings } else { Kind::Macros };
        self.why(kind, name, header).is_some()
    }

    /// Returns the reason for which something is left out.
    pub(super) fn why(&self, kind: Kind, name: &str, header: &str) -> Option<&str> {
        let fact = Fact { kind, name, header };
        let mut reasons = self.reasons.iter();
        let reason = reasons
            .find(|reason| reason.groups.iter().any(|group| group.pattern(fact).is_some()))?;
        Some(&reason.why)
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.reasons.iter().flat_map(|reason| &reason.groups)
    }

    /// Returns the facts for which this group is the first that matches.
    fn names<'r>(&self, group: &Group, report: &'r Report) -> Vec<Fact<'r>> {
        let first = |fact| self.groups().find(|group| group.pattern(fact).is_some());
        let mine = report
            .left_out()
            .filter(|fact| first(*fact).is_some_and(|first| std::ptr::eq(first, group)));
        mine.collect()
    }
}

impl Group {
    /// Returns the first of its patterns that matches.
    fn pattern(&self, fact: Fact<'_>) -> Option<&str> {
        let text = match self.kind {
            Kind::Headers => fact.header,
            kind if kind == fact.kind => fact.name,
            _ => return None,
        };
        let matches =
            |pattern: &&String| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
                (Some(end), _) => text.ends_with(end),
                (None, Some(start)) => text.starts_with(start),
                (None, None) => text == pattern.as_str(),
            };
        self.patterns.iter().find(matches).map(String::as_str)
    }
}

fn read_group(line: &str) -> Option<Group> {
    let (head, patterns) = line.split_once(':')?;
    let (kind, count) = head.split_once(' ')?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
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
        "# why\n[Tools.]\nconstants 2: TRC_* *X\n[Else.]\nconstants 1: TRC_OTHER Y*\n";

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
    fn a_header_covers_what_no_earlier_rule_names() {
        let mut report = report(&["A", "B", "X"]);
        report.headers = [("A", "io/a.h"), ("B", "io/b.h"), ("X", "x.h")]
            .map(|(name, header)| (name.to_owned(), header.into()))
            .into();
        let judged = Rules::read("[One.]\nconstants 1: A\n[All.]\nheaders 1: io/*\n")
            .unwrap()
            .judge(&report);
        assert_eq!(judged.excused[1].1, ["B"]);
        assert_eq!((judged.unexcused, judged.stale), (vec!["X (x.h)".to_owned()], Vec::new()));
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        assert_eq!(
            Rules::read("constants 1: A"),
            Err("undescribed.txt:1: a list of names before the first [reason]".to_owned())
        );
        assert!(Rules::read("[a]\nfields 1: A").is_err());
        assert!(Rules::read("[a]\nconstants many: A").is_err());
    }
}
