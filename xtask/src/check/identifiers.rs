//! Symbols must be names in Rust.

use super::Context;
use super::places::{name_at, name_of};
use super::report::{Report, fault};
use super::walk::{Kind, items, structs};
use crate::document::VariantKind;
use crate::yaml::Place;

/// Rust's keywords, those it keeps for later included.
const KEYWORDS: [&str; 52] = [
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue",
    "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if",
    "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub",
    "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    for file in &context.document.files {
        name(report, &file.name, || Place::root(&file.name), Case::Small);
    }
    for item in items(context.document) {
        let case = match item.kind {
            Kind::Field | Kind::Padding | Kind::BitField | Kind::Word | Kind::Variant => {
                Case::Small
            }
            _ => Case::AsWritten,
        };
        name(report, &item.head.name, || name_of(item.head), case);
    }
    for encoding in context.document.files.iter().flat_map(|file| &file.encodings) {
        for variant in &encoding.variants {
            let VariantKind::Fields { fields, .. } = &variant.kind else { continue };
            fields
                .iter()
                .for_each(|field| name(report, &field.name, || name_at(&field.place), Case::Small));
        }
    }
    for snapshot in structs(context.document).flat_map(|block| &block.snapshots) {
        name(report, &snapshot.name, || name_at(&snapshot.place), Case::Small);
        for member in &snapshot.members {
            name(report, &member.name, || name_at(&member.place), Case::Small);
        }
    }
}

/// In which case a name is written in Rust.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Perhaps in small letters, like modules, functions and fields.
    Small,
    /// Never in small letters, if the description has capitals.
    AsWritten,
}

fn name(report: &mut Report<'_>, name: &str, place: impl Fn() -> Place, case: Case) {
    if !is_identifier(name) {
        let help = "use letters, digits and `_`, not starting with a digit; where C's name differs, say so with `c`";
        report.add(fault(place(), format!("`{}` is no identifier", shown(name))).help(help));
    } else if is_keyword(name) || case == Case::Small && is_keyword(&name.to_ascii_lowercase()) {
        let help = format!(
            "choose another name, such as `{}_`, and give C's name with `c`",
            name.trim_end_matches('_')
        );
        report.add(fault(place(), format!("`{name}` is a keyword of Rust")).help(help));
    }
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == b'_');
    first
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
        && name.bytes().any(|letter| letter != b'_')
}

fn is_keyword(name: &str) -> bool {
    KEYWORDS.binary_search(&name).is_ok()
}

/// A name of bearable length.
fn shown(name: &str) -> String {
    let mut start: String = name.chars().take(40).collect();
    if start.len() < name.len() {
        start.push_str("...");
    }
    start
}

#[cfg(test)]
mod tests {
    use super::{KEYWORDS, is_identifier, is_keyword};

    #[test]
    fn keywords_are_those_that_rust_refuses() {
        assert!(KEYWORDS.is_sorted());
        for word in KEYWORDS.iter().filter(|word| !["gen"].contains(word)) {
            assert!(syn::parse_str::<syn::Ident>(word).is_err(), "{word}");
        }
        for word in ["union", "default", "auto", "dom", "selfie"] {
            assert!(!is_keyword(word) && syn::parse_str::<syn::Ident>(word).is_ok(), "{word}");
        }
    }

    #[test]
    fn identifiers_are_those_that_rust_accepts() {
        for word in ["a", "_a", "A1", "_1", "a__b_"] {
            assert!(is_identifier(word) && syn::parse_str::<syn::Ident>(word).is_ok(), "{word}");
        }
        for word in ["", "1a", "a-b", "a b", "a.b", "é", "_", "__", "a\u{0}"] {
            assert!(!is_identifier(word), "{word:?}");
        }
    }
}
