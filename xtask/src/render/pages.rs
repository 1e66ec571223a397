//! Documentation on its way around the parser: the tokens hold a mark for each text, and the text takes the mark's place once all is set.
//!
//! Documentation is half of what is generated. As attributes, each line would be quoted, parsed, unquoted and set; nothing of it can be wrong Rust.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::cell::RefCell;

/// How a mark begins, and how it ends, around its number.
const MARK: (&str, &str) = ("#[docs(", ")]");

/// The texts that wait for their place.
#[derive(Debug, Default)]
pub(super) struct Pages(RefCell<Vec<Vec<String>>>);

impl Pages {
    /// The mark that stands for these lines of documentation.
    pub(super) fn mark(&self, lines: Vec<String>) -> TokenStream {
        let mut pages = self.0.borrow_mut();
        let number = Literal::usize_unsuffixed(pages.len());
        pages.push(lines);
        quote!(#[docs(#number)])
    }

    /// Puts the texts where their marks are, each with the mark's indentation.
    pub(super) fn fill(&self, text: &str) -> String {
        let pages = self.0.borrow();
        let mut filled = String::with_capacity(text.len() * 2);
        for line in text.split_inclusive('\n') {
            let start = line.trim_start();
            let number = start.trim_end().strip_prefix(MARK.0).and_then(|rest| rest.strip_suffix(MARK.1)).and_then(|n| n.parse().ok());
            let Some(page) = number.and_then(|number: usize| pages.get(number)) else {
                filled.push_str(line);
                continue;
            };
            for text in page {
                filled.extend([&line[..line.len() - start.len()], "///", text, "\n"]);
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn a_text_takes_the_place_of_its_mark() {
        let pages = Pages::default();
        let marks: String = [vec![" One.".to_owned()], vec![" Two.".to_owned(), String::new(), " More.".to_owned()]]
            .map(|lines| pages.mark(lines).to_string())
            .concat();
        assert_eq!(marks.replace(' ', ""), "#[docs(0)]#[docs(1)]");
        let filled = pages.fill("#[docs(0)]\nmod a {\n    #[docs(1)]\n    const B: u8 = 1;\n}\n");
        assert_eq!(filled, "/// One.\nmod a {\n    /// Two.\n    ///\n    /// More.\n    const B: u8 = 1;\n}\n");
    }
}
