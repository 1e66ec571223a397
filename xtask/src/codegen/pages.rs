//! Text on its way around the parser: the tokens hold a mark for each text, and the text takes the
//! mark's place once all is set.
//!
//! Documentation is half of what is generated. As attributes, each line would be quoted, parsed,
//! unquoted and set; nothing of it can be wrong Rust. The proofs of layouts are another quarter,
//! and nothing but calls of macros, whose content no formatter sets.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::cell::RefCell;

/// How the mark of documentation begins, and how it ends, around its number.
const DOCS: (&str, &str) = ("#[docs(", ")]");
/// The same for calls of macros.
const CALLS: (&str, &str) = ("calls!(", ");");
/// How many letters a call may have on one line.
const WIDTH: usize = 120;

/// The texts that wait for their place.
#[derive(Debug, Default)]
pub(super) struct Pages(RefCell<Vec<Page>>);

#[derive(Debug)]
enum Page {
    Docs(Vec<String>),
    Calls(Vec<Call>),
}

/// A call of a macro of the access module, as an item:
/// `crate::access::layout!(Name, "name": 8 { field: 0, other: 4 });`.
#[derive(Debug)]
pub(super) struct Call {
    /// The attribute before it, if any.
    pub(super) cfg: String,
    /// The macro's name and what stands before the list.
    pub(super) head: String,
    /// What stands in the braces.
    pub(super) list: Vec<String>,
}

impl Pages {
    /// The mark that stands for these lines of documentation.
    pub(super) fn docs(&self, lines: Vec<String>) -> TokenStream {
        let number = self.add(Page::Docs(lines));
        quote!(#[docs(#number)])
    }

    /// The mark that stands for these calls.
    pub(super) fn calls(&self, calls: Vec<Call>) -> TokenStream {
        let number = self.add(Page::Calls(calls));
        quote!(calls!(#number);)
    }

    fn add(&self, page: Page) -> Literal {
        let mut pages = self.0.borrow_mut();
        pages.push(page);
        Literal::usize_unsuffixed(pages.len() - 1)
    }

    /// Puts the texts where their marks are, each with the mark's indentation.
    pub(super) fn fill(&self, text: &str) -> String {
        let pages = self.0.borrow();
        let mut filled = String::with_capacity(text.len() * 2);
        for line in text.split_inclusive('\n') {
            let start = line.trim_start();
            let indent = &line[..line.len() - start.len()];
            match number(start.trim_end()).and_then(|number| pages.get(number)) {
                Some(Page::Docs(lines)) => {
                    lines.iter().for_each(|text| filled.extend([indent, "///", text, "\n"]))
                }
                Some(Page::Calls(calls)) => {
                    calls.iter().for_each(|call| call.write(indent, &mut filled))
                }
                None => filled.push_str(line),
            }
        }
        filled
    }
}

/// The number of a mark.
fn number(line: &str) -> Option<usize> {
    let inside = |mark: (&str, &str)| line.strip_prefix(mark.0)?.strip_suffix(mark.1)?.parse().ok();
    inside(DOCS).or_else(|| inside(CALLS))
}

impl Call {
    /// On one line if it fits, or else with as much of the list on each line as fits.
    fn write(&self, indent: &str, to: &mut String) {
        if !self.cfg.is_empty() {
            to.extend([indent, &self.cfg, "\n"]);
        }
        to.extend([indent, "crate::access::", &self.head, " {"]);
        let length = self.list.iter().map(|part| part.len() + 2).sum::<usize>();
        let mut column = indent.len() + self.head.len() + length + 21;
        let short = column <= WIDTH;
        for (at, part) in self.list.iter().enumerate() {
            if !short && (at == 0 || column + part.len() + 2 > WIDTH) {
                to.extend(["\n", indent, "    "]);
                column = indent.len() + 4;
            } else {
                to.push(' ');
            }
            to.push_str(part);
            to.push_str(if at + 1 == self.list.len() { "" } else { "," });
            column += part.len() + 2;
        }
        to.extend(if short { [" ", ""] } else { ["\n", indent] });
        to.push_str("});\n");
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Pages};

    #[test]
    fn a_text_takes_the_place_of_its_mark() {
        let pages = Pages::default();
        let marks: String = [
            vec![" One.".to_owned()],
            vec![" Two.".to_owned(), String::new(), " More.".to_owned()],
        ]
        .map(|lines| pages.docs(lines).to_string())
        .concat();
        assert_eq!(marks.replace(' ', ""), "#[docs(0)]#[docs(1)]");
        let filled = pages.fill("#[docs(0)]\nmod a {\n    #[docs(1)]\n    const B: u8 = 1;\n}\n");
        assert_eq!(
            filled,
            "/// One.\nmod a {\n    /// Two.\n    ///\n    /// More.\n    const B: u8 = 1;\n}\n"
        );
    }

    #[test]
    fn long_calls_are_broken() {
        let pages = Pages::default();
        let call = |list: Vec<String>| Call {
            cfg: "#[cfg(unix)]".to_owned(),
            head: "layout!(X:".to_owned(),
            list,
        };
        let long: Vec<String> = (0..20).map(|at| format!("field_{at}: {at}")).collect();
        assert_eq!(
            pages
                .calls(vec![call(vec!["a: 0".to_owned(), "b: 1".to_owned()]), call(long)])
                .to_string()
                .replace(' ', ""),
            "calls!(0);"
        );
        let filled = pages.fill("  calls!(0);\n");
        assert!(filled.starts_with(
            "  #[cfg(unix)]\n  crate::access::layout!(X: { a: 0, b: 1 });\n  #[cfg(unix)]\n  crate::access::layout!(X: {\n      field_0: 0,"
        ));
        assert!(filled.ends_with("field_19: 19\n  });\n"), "{filled}");
        assert!(
            filled.lines().count() > 6 && filled.lines().all(|line| line.len() <= 120),
            "{filled}"
        );
    }
}
