//! The reference: static HTML with one page for each upstream header, made of the export.
//!
//! The pages need no server: the search runs in the browser over `items.js`, which this module
//! writes.

mod check;
mod html;
mod items;
mod maps;
mod page;
mod section;
mod texts;

pub use check::{in_browser, links};

use crate::export::Abi;
use items::{Items, Kind};
use std::collections::BTreeMap;

/// The generator that each page names.
const GENERATOR: &str = "cargo xtask reference";

/// The text by which a page of the reference is known.
pub const MARK: &str = "content=\"cargo xtask reference\"";

/// The files of the reference: their names and texts.
pub type Files = BTreeMap<String, String>;

/// Writes the reference.
#[must_use]
pub fn generate(abi: &Abi) -> Files {
    let items = Items::new(abi);
    let mut files = Files::new();
    for header in items.headers() {
        files.insert(items::page(header), page::header(abi, &items, header));
    }
    files.insert("index.html".to_owned(), page::index(abi, &items));
    files.insert("items.js".to_owned(), script(&items));
    files.insert("search.js".to_owned(), include_str!("search.js").to_owned());
    files.insert("style.css".to_owned(), include_str!("style.css").to_owned());
    files
}

/// Returns what the search looks through.
fn script(items: &Items<'_>) -> String {
    let pages: Vec<String> = items.headers().map(items::page).collect();
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let mut lines = Vec::new();
    for (page, header) in items.headers().enumerate() {
        for item in items.of(header) {
            let kind = item.kind as usize;
            lines.push(serde_json::json!([item.name, kind, page, item.id]).to_string());
            for (name, kind) in item.parts() {
                lines.push(serde_json::json!([name, kind as usize, page, item.id]).to_string());
            }
        }
    }
    format!(
        "const PAGES = {};\nconst KINDS = {};\nconst ITEMS = [\n{}\n];\n",
        serde_json::json!(pages),
        serde_json::json!(kinds),
        lines.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::{generate, links};
    use crate::commands::workspace_root;
    use crate::{export, generate as generator, yaml};

    #[test]
    fn every_link_leads_somewhere_and_the_same_description_gives_the_same_pages() {
        let made = || {
            let sources = yaml::load(&workspace_root().join("abi-yaml")).expect("the description");
            let abi = generator::checked(sources, |document, layouts| {
                Ok(export::resolve(document, layouts))
            });
            generate(&abi.unwrap_or_else(|why| panic!("{why:?}")))
        };
        let mut files = made();
        let count = links(&files).unwrap_or_else(|broken| panic!("{}", broken.join("\n")));
        assert!(count > 1_200, "only {count} links");
        assert!(files == made());
        let page = files.get_mut("xen.h.html").expect("the page of xen.h");
        *page = page.replace("id=\"block-vcpu_info\"", "id=\"moved\"");
        assert!(links(&files).is_err(), "a broken link is not found");
    }

    #[test]
    fn a_name_that_several_headers_have_leads_to_that_of_the_page() {
        let manifest = "
releases: [\"4.4\", \"4.5\"]
architectures:
  x86_64: { doc: 64-bit x86., pointer: 64, align_u64: 8, max_atomic: 64 }
files: [one, two]
";
        let file = |header: &str, range: &str| {
            let constant = format!("name: LIMIT, type: u32, value: 1, {range}");
            let doc = "How many `LIMIT` there can be.";
            format!(
                "doc: Some `LIMIT`.\nheader: {header}\nconstants: [{{ {constant}, doc: {doc} }}]"
            )
        };
        let one = file("one.h", "until: \"4.4\"");
        let two = file("two.h", "since: \"4.5\"");
        let texts = [("manifest", manifest), ("one", &one), ("two", &two)];
        let abi = generator::checked(yaml::Sources::from_texts(texts), |document, layouts| {
            Ok(export::resolve(document, layouts))
        });
        let files = generate(&abi.unwrap_or_else(|why| panic!("{why:?}")));
        for header in ["one.h.html", "two.h.html"] {
            assert!(files[header].contains(&format!("\"{header}#constant-LIMIT\"")), "{header}");
        }
        assert!(!files["two.h.html"].contains("one.h.html#"));
        assert!(!files["one.h.html"].contains("two.h.html#"));
    }
}
