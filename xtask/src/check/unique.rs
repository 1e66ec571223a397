//! Finds things of one name (or number) that exist in the same release on the same architecture.

use super::Context;
use super::report::{Report, fault};
use crate::document::Availability;
use crate::yaml::Place;
use std::collections::HashMap;

/// Things that must have different keys wherever they exist together.
#[derive(Debug)]
pub(super) struct Unique<'d> {
    what: &'static str,
    verb: &'static str,
    order: Vec<String>,
    by_key: HashMap<String, Vec<Entry<'d>>>,
}

#[derive(Debug)]
struct Entry<'d> {
    name: &'d str,
    availability: Availability,
    place: Place,
}

impl<'d> Unique<'d> {
    /// A set of things whose keys are names of their own: each is a `what`.
    pub(super) fn new(what: &'static str) -> Self {
        Self::with_verb(what, "are the")
    }

    /// A set of things whose keys are something else that they have, or become: a number, a name in
    /// another language.
    pub(super) fn with_verb(what: &'static str, verb: &'static str) -> Self {
        Self { what, verb, order: Vec::new(), by_key: HashMap::new() }
    }

    /// Adds the thing called `name`, which is told from others by `key`.
    pub(super) fn add(
        &mut self,
        key: String,
        name: &'d str,
        availability: Availability,
        place: Place,
    ) {
        let same = self.by_key.entry(key).or_insert_with_key(|key| {
            self.order.push(key.clone());
            Vec::new()
        });
        same.push(Entry { name, availability, place });
    }

    /// Tells of each thing whose key another has.
    pub(super) fn check(&self, context: &Context<'_>, report: &mut Report<'_>) {
        for key in &self.order {
            let same = &self.by_key[key];
            if same.len() > 1 {
                self.compare(context, report, key, same);
            }
        }
    }

    /// Puts each into the cells where it exists, so that the cost does not grow with the square of
    /// how many there are.
    fn compare(
        &self,
        context: &Context<'_>,
        report: &mut Report<'_>,
        key: &str,
        same: &[Entry<'_>],
    ) {
        let mut first = HashMap::new();
        for entry in same {
            for cell in context.symbols().cells(entry.availability) {
                let known: &Entry<'_> = first.entry(cell).or_insert(entry);
                if std::ptr::eq(known, entry) || known.place == entry.place {
                    continue;
                }
                let message = if key == entry.name && key == known.name {
                    format!("the {} `{key}` is described twice", self.what)
                } else {
                    format!(
                        "`{}` and `{}` both {} {} `{key}`",
                        known.name, entry.name, self.verb, self.what
                    )
                };
                let found = fault(entry.place.clone(), message)
                    .label("again here")
                    .related(known.place.clone(), "first described here");
                report.add_clash(cell, entry.availability, &known.place, found);
            }
        }
    }
}
