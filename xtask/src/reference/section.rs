//! The sections of a page: one for each item.

use super::html::Html;
use super::items::{Item, What};
use super::maps;
use super::texts::Context;
use crate::export::{
    Abi, Alias, BitField, Constant, Convention, Encoding, Enumeration, Field, Head, Hypercall,
    Layout, Placed, StringConstant, Struct, Value, Word,
};
use std::collections::BTreeMap;

/// Adds the head of a table.
pub(super) fn head(html: &mut Html, titles: &[&str]) {
    html.element("thead", &[], |html| {
        html.element("tr", &[], |html| {
            for title in titles {
                html.leaf("th", &[("scope", "col")], title);
            }
        });
    });
}

/// Adds an item with its heading.
pub(super) fn section(html: &mut Html, context: Context<'_>, item: &Item<'_>) {
    html.element("section", &[("id", &item.id)], |html| {
        html.element("h3", &[], |html| {
            html.leaf("span", &[("class", "name")], item.name);
            if let Some(head) = item.head() {
                context.badges(html, head);
            }
        });
        if let Some(head) = item.head() {
            context.doc(html, &head.doc);
            html.element("p", &[("class", "dim")], |html| names(html, head));
        }
        match item.what {
            What::Alias(item) => alias(html, context, item),
            What::Enumeration(item) => enumeration(html, context, item),
            What::Word(item) => word(html, context, item),
            What::Encoding(item) => encoding(html, context, item),
            What::Convention(item) => convention(html, context, item),
            What::Struct(item) => struct_(html, context, item),
            What::Hypercall(item) => hypercall(html, context, item),
            What::Constant(_) | What::String(_) => {}
        }
    });
    html.line();
}

impl<'a> Item<'a> {
    fn head(&self) -> Option<&'a Head> {
        Some(match self.what {
            What::Alias(item) => &item.head,
            What::Constant(item) => &item.head,
            What::String(item) => &item.head,
            What::Enumeration(item) => &item.head,
            What::Word(item) => &item.head,
            What::Encoding(item) => &item.head,
            What::Struct(item) => &item.head,
            What::Convention(_) | What::Hypercall(_) => return None,
        })
    }
}

/// Adds the names in C and in Rust.
fn names(html: &mut Html, head: &Head) {
    let names = [("In C: ", &head.c), ("In Rust: ", &head.rust)];
    for (index, (what, name)) in names.iter().filter(|(_, name)| name.is_some()).enumerate() {
        html.text(if index == 0 { "" } else { " " });
        html.text(what);
        html.leaf("code", &[], name.as_deref().unwrap_or(""));
    }
}

/// Returns values by architecture as text: one, if all are the same.
fn per_arch<T: PartialEq>(values: &BTreeMap<String, T>, show: impl Fn(&T) -> String) -> String {
    let mut each = values.values();
    match each.next() {
        Some(first) if each.all(|value| value == first) => show(first),
        _ => {
            let each = values.iter().map(|(arch, value)| format!("{} ({arch})", show(value)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

fn number(value: i128, radix: u32) -> String {
    match (radix, value < 0) {
        (16, true) => format!("-0x{:X}", value.unsigned_abs()),
        (16, false) => format!("0x{value:X}"),
        _ => value.to_string(),
    }
}

pub(super) fn constants(html: &mut Html, context: Context<'_>, found: &[&Item<'_>]) {
    html.element("table", &[], |html| {
        head(html, &["name", "value", "meaning"]);
        html.element("tbody", &[], |html| {
            for item in found {
                let (head, value) = match item.what {
                    What::Constant(Constant { head, value, radix, .. }) => {
                        (head, per_arch(value, |value| number(*value, *radix)))
                    }
                    What::String(StringConstant { head, value }) => {
                        (head, per_arch(value, |value| format!("\"{value}\"")))
                    }
                    _ => continue,
                };
                row(html, context, Some(&item.id), head, &[&value], |html| {
                    if let What::Constant(item) = item.what {
                        context.type_(html, &item.type_);
                        html.text(". ");
                    }
                });
            }
        });
    });
}

/// Adds a row: the name with badges, some cells, and what it means.
fn row(
    html: &mut Html,
    context: Context<'_>,
    id: Option<&str>,
    head: &Head,
    cells: &[&str],
    before: impl FnOnce(&mut Html),
) {
    let id = id.map(|id| ("id", id));
    html.element("tr", id.as_slice(), |html| {
        html.element("td", &[("class", "name")], |html| {
            html.text(head.c.as_deref().unwrap_or(&head.name));
            context.badges(html, head);
        });
        for cell in cells {
            html.leaf("td", &[("class", "number")], cell);
        }
        html.element("td", &[], |html| {
            before(html);
            context.inline(html, &head.doc);
        });
    });
    html.line();
}

fn alias(html: &mut Html, context: Context<'_>, item: &Alias) {
    html.element("p", &[], |html| {
        let same = item.is.values().all(|type_| Some(type_) == item.is.values().next());
        for (arch, type_) in item.is.iter().take(if same { 1 } else { usize::MAX }) {
            context.type_(html, type_);
            if !same {
                html.text(&format!(" on {arch}. "));
            }
        }
        if let Some(count) = &item.count {
            let count = per_arch(count, |count| {
                count.number.map_or_else(|| "open".to_owned(), |number| number.to_string())
            });
            html.text(&format!(", {count} elements"));
        }
        html.text(&format!("; {} bytes", per_arch(&item.size, u64::to_string)));
    });
}

fn values(html: &mut Html, context: Context<'_>, values: &[Value]) {
    html.element("table", &[], |html| {
        head(html, &["name", "value", "meaning"]);
        html.element("tbody", &[], |html| {
            for value in values {
                let shown = number(value.value, value.radix);
                row(html, context, None, &value.head, &[&shown], |_| {});
            }
        });
    });
}

fn enumeration(html: &mut Html, context: Context<'_>, item: &Enumeration) {
    html.element("p", &[("class", "dim")], |html| {
        html.text("Held by ");
        html.leaf("code", &[], item.is);
    });
    values(html, context, &item.values);
}

fn word(html: &mut Html, context: Context<'_>, item: &Word) {
    let newest: Vec<&BitField> = item
        .fields
        .iter()
        .filter(|field| field.head.availability.values().all(|one| one.until.is_none()))
        .collect();
    let width = match item.is {
        "u8" | "i8" | "char" => 8,
        "u16" | "i16" => 16,
        "u32" | "i32" => 32,
        _ => 64,
    };
    html.element("figure", &[], |html| {
        maps::bits(html, width, &newest);
        html.leaf("figcaption", &[], &format!("{width} bits, the highest first"));
    });
    html.element("table", &[], |html| {
        head(html, &["name", "bits", "mask", "meaning"]);
        html.element("tbody", &[], |html| {
            for field in &item.fields {
                let bits = match field.high == field.low {
                    true => field.low.to_string(),
                    false => format!("{}:{}", field.high, field.low),
                };
                let mask = format!("0x{:X}", field.mask);
                row(html, context, None, &field.head, &[&bits, &mask], |_| {});
                for value in &field.values {
                    let shown = number(value.value, value.radix);
                    row(html, context, None, &value.head, &["", &shown], |_| {});
                }
            }
        });
    });
}

fn encoding(html: &mut Html, context: Context<'_>, item: &Encoding) {
    html.element("p", &[("class", "dim")], |html| {
        html.text(&format!("The form is in bits {}:{} of ", item.high, item.low));
        html.leaf("code", &[], item.is);
    });
    for form in &item.variants {
        html.element("p", &[], |html| {
            html.leaf("code", &[], &form.head.name);
            match (form.tag, form.value) {
                (Some(tag), _) => html.text(&format!(", tag {tag}: ")),
                (None, Some(value)) => html.text(&format!(", value 0x{value:X}: ")),
                (None, None) => html.text(": "),
            }
            context.inline(html, &form.head.doc);
            context.badges(html, &form.head);
        });
        if form.fields.is_empty() {
            continue;
        }
        html.element("table", &[], |html| {
            head(html, &["field", "bits", "range", "meaning"]);
            html.element("tbody", &[], |html| {
                for field in &form.fields {
                    html.element("tr", &[], |html| {
                        html.leaf("td", &[("class", "name")], &field.name);
                        let bits = format!("{}:{}", field.high, field.low);
                        html.leaf("td", &[("class", "number")], &bits);
                        let range = format!("{} to 0x{:X}", field.min, field.max);
                        html.leaf("td", &[("class", "number")], &range);
                        html.element("td", &[], |html| context.inline(html, &field.doc));
                    });
                }
            });
        });
    }
}

fn convention(html: &mut Html, context: Context<'_>, item: &Convention) {
    context.doc(html, &item.doc);
    html.element("dl", &[], |html| {
        let page = if item.page { "yes" } else { "no" };
        let lists = [
            ("number", item.number.clone()),
            ("arguments", item.arguments.join(", ")),
            ("result", item.result.clone()),
            ("instructions", item.instructions.join(", ")),
            ("clobbers", item.clobbers.join(", ")),
            ("hypercall page", page.to_owned()),
        ];
        for (what, text) in lists {
            html.leaf("dt", &[], what);
            html.element("dd", &[], |html| html.leaf("code", &[], &text));
        }
    });
}

fn hypercall(html: &mut Html, context: Context<'_>, item: &Hypercall) {
    context.doc(html, &item.doc);
    if !item.number.is_empty() {
        let number = per_arch(&item.number, i128::to_string);
        html.leaf("p", &[("class", "dim")], &format!("Hypercall number {number}"));
    }
    html.element("table", &[], |html| {
        head(html, &["command", "number", "argument", "result", "meaning"]);
        html.element("tbody", &[], |html| {
            for command in &item.commands {
                html.element("tr", &[], |html| {
                    html.element("td", &[("class", "name")], |html| {
                        html.text(command.head.c.as_deref().unwrap_or(&command.head.name));
                        context.badges(html, &command.head);
                    });
                    html.leaf("td", &[("class", "number")], &command.number.to_string());
                    html.element("td", &[], |html| match &command.argument {
                        Some(type_) => {
                            context.type_(html, type_);
                            if command.shape != "argument" {
                                html.text(&format!(" ({})", command.shape));
                            }
                        }
                        None => html.text(command.shape),
                    });
                    html.leaf("td", &[], command.result);
                    html.element("td", &[], |html| {
                        context.inline(html, &command.head.doc);
                        if let Some(hazard) = &command.hazard {
                            html.leaf("strong", &[], " Hazard: ");
                            context.inline(html, hazard);
                        } else if !command.safe {
                            html.text(" Unsafe: Xen accesses memory beyond the argument.");
                        }
                    });
                });
                html.line();
            }
        });
    });
}

/// Adds the maps of the newest layouts, the fields, and the maps of older layouts.
fn struct_(html: &mut Html, context: Context<'_>, item: &Struct) {
    let mut groups: Vec<(Vec<&str>, &[Layout])> = Vec::new();
    for (arch, layouts) in &item.layouts {
        match groups.iter_mut().find(|(_, known)| is_same(known, layouts)) {
            Some((archs, _)) => archs.push(arch),
            None => groups.push((vec![arch], layouts)),
        }
    }
    html.element("div", &[("class", "maps")], |html| {
        for (archs, layouts) in &groups {
            if let Some(newest) = layouts.last() {
                figure(html, archs, newest);
            }
        }
    });
    let mut titles: Vec<String> = match groups.as_slice() {
        [_] => vec!["offset".to_owned()],
        groups => groups.iter().map(|(archs, _)| format!("offset, {}", archs.join(", "))).collect(),
    };
    titles.extend(["field", "type", "use", "meaning"].map(str::to_owned));
    html.element("table", &[], |html| {
        head(html, &titles.iter().map(String::as_str).collect::<Vec<_>>());
        html.element("tbody", &[], |html| {
            let placed: Vec<(&str, Option<&Layout>, &[Placed])> = groups
                .iter()
                .map(|(archs, layouts)| {
                    let newest = layouts.last();
                    let fields = newest.map_or(&[][..], |newest| newest.fields.as_slice());
                    (archs[0], newest, fields)
                })
                .collect();
            fields(html, context, &item.fields, &placed, 0);
        });
    });
    for snapshot in &item.snapshots {
        html.element("p", &[], |html| {
            html.text("Snapshot ");
            html.leaf("code", &[], &snapshot.name);
            html.text(", under the counter ");
            html.leaf("code", &[], &snapshot.counter);
            html.text(": ");
            context.inline(html, &snapshot.doc);
        });
    }
    if groups.iter().any(|(_, layouts)| layouts.len() > 1) {
        html.element("details", &[], |html| {
            html.leaf("summary", &[], "Earlier layouts");
            html.element("div", &[("class", "maps")], |html| {
                for (archs, layouts) in &groups {
                    layouts.iter().rev().skip(1).for_each(|layout| figure(html, archs, layout));
                }
            });
        });
    }
}

/// Whether two architectures have the same layouts in all releases.
fn is_same(one: &[Layout], other: &[Layout]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            (&one.since, &one.until, one.size, one.align, &one.fields, &one.padding)
                == (
                    &other.since,
                    &other.until,
                    other.size,
                    other.align,
                    &other.fields,
                    &other.padding,
                )
        })
}

fn figure(html: &mut Html, archs: &[&str], layout: &Layout) {
    html.element("figure", &[], |html| {
        maps::bytes(html, layout);
        let range = match &layout.until {
            Some(until) => format!("Xen {} to {until}", layout.since),
            None => format!("since Xen {}", layout.since),
        };
        let text = format!(
            "{}, {range}: {} bytes, aligned to {}",
            archs.join(", "),
            layout.size,
            layout.align
        );
        html.leaf("figcaption", &[], &text);
    });
}

/// Adds a row for each field, with its offset in each newest layout that has it.
fn fields(
    html: &mut Html,
    context: Context<'_>,
    all: &[Field],
    placed: &[(&str, Option<&Layout>, &[Placed])],
    depth: usize,
) {
    for field in all {
        let there: Vec<Option<&Placed>> = placed
            .iter()
            .map(|(arch, layout, fields)| {
                let is_there = layout.is_some_and(|layout| has(context.abi, field, arch, layout));
                fields.iter().find(|placed| is_there && placed.name == field.head.name)
            })
            .collect();
        html.element("tr", &[], |html| {
            for placed in &there {
                let offset = placed.map_or_else(|| "-".to_owned(), |it| it.offset.to_string());
                html.leaf("td", &[("class", "number")], &offset);
            }
            let class = format!("name in{}", depth.min(3));
            html.element("td", &[("class", &class)], |html| {
                html.text(&field.head.name);
                context.badges(html, &field.head);
            });
            html.element("td", &[], |html| {
                match (&field.type_, field.group) {
                    (Some(type_), _) => context.type_(html, type_),
                    (None, group) => html.text(group.unwrap_or("")),
                }
                if let Some(count) = &field.count {
                    let shown = per_arch(count, |count| {
                        count.number.map_or_else(String::new, |number| number.to_string())
                    });
                    html.text(&format!(" [{shown}]"));
                }
            });
            html.element("td", &[], |html| {
                let words = [field.access, field.direction].into_iter().flatten();
                let writer = field.writer.map(|writer| format!("{writer} writes"));
                let words: Vec<String> = words.map(str::to_owned).chain(writer).collect();
                html.text(&words.join(", "));
            });
            html.element("td", &[], |html| context.inline(html, &field.head.doc));
        });
        html.line();
        if !field.members.is_empty() {
            let inner: Vec<(&str, Option<&Layout>, &[Placed])> = placed
                .iter()
                .zip(&there)
                .map(|((arch, layout, _), there)| {
                    (*arch, *layout, there.map_or(&[][..], |there| there.members.as_slice()))
                })
                .collect();
            fields(html, context, &field.members, &inner, depth + 1);
        }
    }
}

/// Whether a field is part of a layout; another of its name can be part of others.
fn has(abi: &Abi, field: &Field, arch: &str, layout: &Layout) -> bool {
    let position = |release: &str| abi.releases.iter().position(|known| known == release);
    field.head.availability.get(arch).is_some_and(|range| {
        let until = |until: &Option<String>| {
            until.as_ref().map_or(Some(abi.releases.len()), |until| position(until))
        };
        position(&range.since) <= position(&layout.since)
            && until(&layout.until) <= until(&range.until)
    })
}
