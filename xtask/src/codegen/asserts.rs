//! The proof of the layout on the target: a constant for each struct that does not compile if a
//! field has moved.

use super::aggregate::Aggregate;
use super::context::Context;
use super::pages::Call;
use super::types::View;
use crate::document::{ArchId, ArchSet};
use crate::naming;

pub(super) fn render(context: &Context<'_, '_>, aggregate: &Aggregate<'_>) -> Vec<Call> {
    let raw = if aggregate.view == View::Raw { "raw::" } else { "" };
    let all = context.manifest().all_archs();
    let groups = groups(aggregate).into_iter();
    let calls = groups.map(|(archs, first)| {
        let layout = &aggregate.layouts[first].1;
        let list = layout.fields.iter().map(|placed| {
            let name = naming::FIELD.ident(&aggregate.fields[placed.index].head.name);
            format!("{name}: {}", placed.offset)
        });
        let head = format!(
            "layout!({raw}{}, \"{}\": {}",
            naming::ident(&aggregate.name),
            aggregate.label,
            layout.size
        );
        Call { cfg: context.cfg_text(archs, all), head, list: list.collect() }
    });
    calls.collect()
}

/// Architectures with the same layout, and the index of the first.
fn groups(aggregate: &Aggregate<'_>) -> Vec<(ArchSet, usize)> {
    let mut groups: Vec<(Vec<ArchId>, usize)> = Vec::new();
    for (at, (arch, layout)) in aggregate.layouts.iter().enumerate() {
        let same = |first: usize| {
            let other = &aggregate.layouts[first].1;
            other.size == layout.size
                && other.fields.len() == layout.fields.len()
                && other
                    .fields
                    .iter()
                    .zip(&layout.fields)
                    .all(|(a, b)| (a.index, a.offset) == (b.index, b.offset))
        };
        match groups.iter_mut().find(|(_, first)| same(*first)) {
            Some((archs, _)) => archs.push(*arch),
            None => groups.push((vec![*arch], at)),
        }
    }
    groups.into_iter().map(|(archs, first)| (archs.into_iter().collect(), first)).collect()
}
