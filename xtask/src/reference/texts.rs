//! Texts of the description as HTML, links to items, and badges of availability.

use super::html::Html;
use super::items::Items;
use crate::export::{Abi, Availability, Head, Type};

/// What every part of a page needs.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) abi: &'a Abi,
    pub(super) items: &'a Items<'a>,
    /// The header of the page.
    pub(super) header: &'a str,
}

impl Context<'_> {
    /// Adds a documentation text: paragraphs, lists, and code between backticks.
    pub(super) fn doc(&self, html: &mut Html, doc: &str) {
        let mut list: Vec<String> = Vec::new();
        let flush = |html: &mut Html, list: &mut Vec<String>| {
            if !list.is_empty() {
                html.element("ul", &[], |html| {
                    for item in list.drain(..) {
                        html.element("li", &[], |html| self.inline(html, &item));
                    }
                });
            }
        };
        let mut paragraph = String::new();
        for line in doc.lines().chain([""]) {
            let line = line.trim();
            let bullet = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
            if (line.is_empty() || bullet.is_some()) && !paragraph.is_empty() {
                flush(html, &mut list);
                html.element("p", &[], |html| self.inline(html, &paragraph));
                paragraph.clear();
            }
            match bullet {
                Some(bullet) => list.push(bullet.to_owned()),
                None if line.is_empty() => flush(html, &mut list),
                None => match list.last_mut() {
                    Some(item) => item.extend([" ", line]),
                    None if paragraph.is_empty() => paragraph.push_str(line),
                    None => paragraph.extend([" ", line]),
                },
            }
        }
    }

    /// Adds a text in which code stands between backticks. Code that names an item is a link.
    pub(super) fn inline(&self, html: &mut Html, text: &str) {
        for (index, part) in text.split('`').enumerate() {
            if index % 2 == 0 {
                html.text(part);
            } else {
                html.element("code", &[], |html| self.name(html, part));
            }
        }
    }

    /// Adds a name, as a link if it is that of an item.
    pub(super) fn name(&self, html: &mut Html, name: &str) {
        match self.items.link(name, self.header) {
            Some(link) => html.leaf("a", &[("href", link)], name),
            None => html.text(name),
        }
    }

    /// Adds a type.
    pub(super) fn type_(&self, html: &mut Html, type_: &Type) {
        html.element("code", &[], |html| match (&type_.to, type_.kind) {
            (Some(to), _) => {
                html.text("handle of ");
                self.type_(html, to);
            }
            (None, "primitive") => html.text(&type_.name),
            (None, _) => self.name(html, &type_.name),
        });
    }

    /// Adds what limits the availability of an item, compared with all releases and architectures.
    pub(super) fn badges(&self, html: &mut Html, head: &Head) {
        for (class, text) in badges(self.abi, head) {
            html.leaf("span", &[("class", &format!("badge {class}"))], &text);
        }
    }
}

/// Returns the badges of an item: a class and a text.
fn badges(abi: &Abi, head: &Head) -> Vec<(&'static str, String)> {
    let mut badges = Vec::new();
    let archs: Vec<&str> = head.availability.keys().map(String::as_str).collect();
    if archs.len() < abi.architectures.len() {
        badges.push(("only", format!("only {}", archs.join(", "))));
    }
    let Some(first) = head.availability.values().next() else { return badges };
    if abi.releases.first() != Some(&first.since) {
        badges.push(("since", format!("since {}", first.since)));
    }
    if let Some(until) = &first.until {
        badges.push(("until", format!("until {until}")));
    }
    let is_honoured = |one: &&Availability| one.honoured_since.is_some();
    let honoured = head.availability.values().find(is_honoured);
    let since = honoured.and_then(|one| one.honoured_since.as_ref());
    if let Some(since) = since.filter(|since| **since != first.since) {
        badges.push(("since", format!("honoured since {since}")));
    }
    let refused: Vec<&str> = head
        .availability
        .iter()
        .filter(|(_, one)| one.honoured_since.is_none())
        .map(|(arch, _)| arch.as_str())
        .collect();
    if !refused.is_empty() {
        badges.push(("until", format!("not honoured on {}", refused.join(", "))));
    }
    if let Some(other) = &head.superseded_by {
        badges.push(("until", format!("use {other}")));
    }
    badges
}
