//! The pages: the index, and one for each header.

use super::html::Html;
use super::items::{self, Item, Items, Kind};
use super::section::{constants, head, section};
use super::texts::Context;
use crate::export::Abi;

/// The parts of a page: a heading and the kinds below it.
const PARTS: [(&str, &[Kind]); 9] = [
    ("Hypercalls", &[Kind::Hypercall]),
    ("Conventions", &[Kind::Convention]),
    ("Blocks", &[Kind::Block]),
    ("Arguments", &[Kind::Argument]),
    ("Enumerations", &[Kind::Enumeration]),
    ("Words of bit fields", &[Kind::Word]),
    ("Encodings", &[Kind::Encoding]),
    ("Types", &[Kind::Type]),
    ("Constants and strings", &[Kind::Constant, Kind::String]),
];

/// Returns the page of a header.
pub(super) fn header(abi: &Abi, items: &Items<'_>, header: &str) -> String {
    let context = Context { abi, items, header };
    page(header, |html| {
        html.element("div", &[("class", "layout")], |html| {
            html.element("nav", &[("aria-label", "Items of this header")], |html| {
                for (title, found) in parts(items, header) {
                    html.leaf("strong", &[], title);
                    html.element("ul", &[], |html| {
                        for item in found {
                            html.element("li", &[], |html| {
                                let link = format!("#{}", item.id);
                                html.leaf("a", &[("href", &link), ("class", "name")], item.name);
                            });
                        }
                    });
                }
            });
            html.element("main", &[], |html| {
                html.element("h1", &[], |html| {
                    html.leaf("code", &[], header);
                });
                for file in abi.files.iter().filter(|file| items::home(file) == header) {
                    context.doc(html, &file.doc);
                    html.element("p", &[("class", "dim")], |html| {
                        html.text("In Rust: ");
                        html.leaf("code", &[], &file.rust);
                        if let Some(feature) = &file.feature {
                            html.text(&format!(", with the feature {feature}"));
                        }
                    });
                }
                for (title, found) in parts(items, header) {
                    html.leaf("h2", &[], title);
                    match found.first().map(|item| item.kind) {
                        Some(Kind::Constant | Kind::String) => constants(html, context, &found),
                        _ => found.iter().for_each(|item| section(html, context, item)),
                    }
                    html.line();
                }
            });
        });
    })
}

/// Returns the items of a header, by part, each part sorted by name.
fn parts<'i, 'a>(items: &'i Items<'a>, header: &str) -> Vec<(&'static str, Vec<&'i Item<'a>>)> {
    let parts = PARTS.iter().map(|(title, kinds)| {
        let mut found: Vec<_> =
            items.of(header).iter().filter(|item| kinds.contains(&item.kind)).collect();
        found.sort_by_key(|item| item.name);
        (*title, found)
    });
    parts.filter(|(_, found)| !found.is_empty()).collect()
}

/// Returns the first page.
pub(super) fn index(abi: &Abi, items: &Items<'_>) -> String {
    let context = Context { abi, items, header: "" };
    page("Xen guest ABI", |html| {
        html.element("main", &[], |html| {
            html.leaf("h1", &[], "The Xen guest ABI");
            let (first, last) = (abi.releases.first(), abi.releases.last());
            let (first, last) = (first.map_or("", String::as_str), last.map_or("", String::as_str));
            let about = format!(
                "What a guest of Xen {first} to {last} shares with the hypervisor and with other \
                 domains: one page for each public header, with layouts for each architecture. \
                 Generated from the description in abi-yaml, which C compilers check against the \
                 headers of each release."
            );
            html.leaf("p", &[], &about);
            html.leaf("h2", &[], "Architectures");
            html.element("dl", &[], |html| {
                for arch in &abi.architectures {
                    html.element("dt", &[], |html| html.leaf("code", &[], &arch.name));
                    html.element("dd", &[], |html| context.inline(html, &arch.doc));
                }
            });
            html.leaf("h2", &[], "Headers");
            html.element("table", &[], |html| {
                head(html, &["header", "subject", "items"]);
                html.element("tbody", &[], |html| {
                    for header in items.headers() {
                        html.element("tr", &[], |html| {
                            html.element("td", &[("class", "name")], |html| {
                                html.leaf("a", &[("href", &items::page(header))], header);
                            });
                            html.element("td", &[], |html| {
                                let here = |file: &&_| items::home(file) == header;
                                let file = abi.files.iter().find(here);
                                let doc = file.and_then(|file| file.doc.lines().next());
                                match doc {
                                    Some(doc) => context.inline(html, doc),
                                    None => names_of(html, context, items.of(header)),
                                }
                            });
                            let count = items.of(header).len().to_string();
                            html.leaf("td", &[("class", "number")], &count);
                        });
                        html.line();
                    }
                });
            });
        });
    })
}

/// Adds the names of items, for a header that is no file's main one.
fn names_of(html: &mut Html, context: Context<'_>, items: &[Item<'_>]) {
    for (index, item) in items.iter().enumerate() {
        html.text(if index == 0 { "" } else { ", " });
        html.element("code", &[], |html| context.name(html, item.name));
    }
}

/// Returns a page with the search at its top.
fn page(title: &str, inside: impl FnOnce(&mut Html)) -> String {
    let mut html = Html::default();
    html.doctype();
    html.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |html| {
            html.open("meta", &[("charset", "utf-8")]);
            html.open("meta", &[("name", "generator"), ("content", super::GENERATOR)]);
            let viewport = ("content", "width=device-width, initial-scale=1");
            html.open("meta", &[("name", "viewport"), viewport]);
            html.leaf("title", &[], &format!("{title} - Xen guest ABI"));
            html.open("link", &[("rel", "icon"), ("href", "data:,")]);
            html.open("link", &[("rel", "stylesheet"), ("href", "style.css")]);
            html.leaf("script", &[("defer", ""), ("src", "items.js")], "");
            html.leaf("script", &[("defer", ""), ("src", "search.js")], "");
        });
        html.line();
        html.element("body", &[], |html| {
            html.element("header", &[], |html| {
                html.leaf("a", &[("href", "index.html")], "Xen guest ABI");
                html.element("form", &[("id", "search"), ("role", "search")], |html| {
                    let label = "Search for a name; press / to start";
                    html.open(
                        "input",
                        &[
                            ("id", "query"),
                            ("type", "search"),
                            ("autocomplete", "off"),
                            ("spellcheck", "false"),
                            ("aria-label", label),
                            ("placeholder", label),
                        ],
                    );
                });
                html.leaf("span", &[("id", "status"), ("role", "status")], "");
            });
            html.leaf("ol", &[("id", "results"), ("aria-label", "Results")], "");
            inside(html);
        });
    });
    html.line();
    html.finish()
}
