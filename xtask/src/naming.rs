//! Creates the Rust names of everything in the description. No other module creates names.

use crate::document::{Document, Head};
use crate::yaml::Place;
use proc_macro2::{Ident, Span};
use std::collections::HashMap;

/// The case of a kind of name in Rust.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// `VcpuInfo`
    Pascal,
    /// `vcpu_info`
    Snake,
    /// `VCPU_INFO`
    Screaming,
}

/// The rule that converts a name.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A suffix of C names that is removed.
    drop: &'static str,
    /// The prefix that is added.
    prefix: &'static str,
    /// The case of the letters.
    case: Case,
    /// The suffix that is added.
    suffix: &'static str,
}

const PLAIN: Rule = Rule { drop: "", prefix: "", case: Case::Snake, suffix: "" };

/// Aliases, enumerations, encodings, blocks, arguments and commands.
pub const TYPE: Rule = Rule { drop: "_t", case: Case::Pascal, ..PLAIN };
/// A form of an encoding.
pub const VARIANT: Rule = Rule { case: Case::Pascal, ..PLAIN };
/// The type that holds the forms of an encoding.
pub const VARIANTS: Rule = Rule { suffix: "Variant", ..TYPE };
/// Constants, named values and bit fields.
pub const CONSTANT: Rule = Rule { case: Case::Screaming, ..PLAIN };
/// The number of elements of a block's field.
pub const COUNT: Rule = Rule { suffix: "_COUNT", ..CONSTANT };
/// Files, words, the values of a bit field, and the commands of a hypercall.
pub const MODULE: Rule = Rule { drop: "_t", ..PLAIN };
/// Fields, accessors, snapshots, arguments of functions.
pub const FIELD: Rule = PLAIN;
/// The method that reads a snapshot together with another value.
pub const SNAPSHOT_WITH: Rule = Rule { suffix: "_with", ..PLAIN };
/// The method that writes a snapshot.
pub const PUBLISH: Rule = Rule { prefix: "publish_", ..PLAIN };
/// The function that creates a union from a member.
pub const FROM: Rule = Rule { prefix: "from_", ..PLAIN };

/// Rust's keywords, including the reserved ones.
const KEYWORDS: [&str; 52] = [
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue",
    "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if",
    "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub",
    "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Returns whether the word is a keyword of Rust.
#[must_use]
pub fn is_keyword(name: &str) -> bool {
    KEYWORDS.binary_search(&name).is_ok()
}

/// Returns whether a name of the description can become a Rust name: it has only ASCII letters,
/// digits and `_`, does not start with a digit, and has a letter. (Without a letter, `_1` would be
/// both a constant and a field.)
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    let is_part = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(is_part)
        && name.bytes().any(|letter| letter.is_ascii_alphabetic())
}

impl Rule {
    /// Returns the Rust name for `name`.
    #[must_use]
    pub fn name(self, name: &str) -> String {
        finished(self.unfinished(name))
    }

    /// Returns the Rust name for `name`, as a token.
    #[must_use]
    pub fn ident(self, name: &str) -> Ident {
        ident(&self.name(name))
    }

    fn unfinished(self, name: &str) -> String {
        let kept = name.strip_suffix(self.drop).filter(|kept| !kept.is_empty()).unwrap_or(name);
        let mut made = self.prefix.to_owned();
        for word in words(kept) {
            if !matches!(self.case, Case::Pascal) && made.len() > self.prefix.len() {
                made.push('_');
            }
            let start = made.len();
            made.push_str(word);
            match self.case {
                Case::Screaming => made[start..].make_ascii_uppercase(),
                Case::Snake => made[start..].make_ascii_lowercase(),
                Case::Pascal => {
                    made[start..].make_ascii_lowercase();
                    let first = word.chars().next().map_or(0, char::len_utf8);
                    made[start..start + first].make_ascii_uppercase();
                }
            }
        }
        // A name that is taken gets an underscore at its end.
        made + if self.suffix.is_empty() && kept.ends_with('_') { "_" } else { self.suffix }
    }
}

/// Returns the type name of an inner item: a union or a struct inside a struct, or a block's
/// snapshot.
#[must_use]
pub fn inner(outer: &str, name: &str) -> String {
    format!("{}{}", outer.trim_end_matches('_'), TYPE.unfinished(name))
}

/// Returns a token for a name that this module created, or that Rust defines.
///
/// # Panics
/// Never: characters that an identifier cannot have are replaced.
#[must_use]
pub fn ident(name: &str) -> Ident {
    Ident::new(&finished(name.to_owned()), Span::call_site())
}

/// Converts any text to an identifier. A keyword gets an underscore at its end.
fn finished(text: String) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut name =
        if text.chars().all(is_part) { text } else { text.replace(|c| !is_part(c), "_") };
    if name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() {
        name.insert(0, '_');
    }
    if is_keyword(&name) || name == "_" {
        name.push('_');
    }
    name
}

/// Returns the words of a name: parts between underscores, and between a small letter and a
/// following capital.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split('_').filter(|part| !part.is_empty()).flat_map(humps)
}

fn humps(part: &str) -> impl Iterator<Item = &str> {
    let mut rest = part;
    std::iter::from_fn(move || {
        let bytes = rest.as_bytes();
        let hump =
            |&at: &usize| bytes[at - 1].is_ascii_lowercase() && bytes[at].is_ascii_uppercase();
        let (word, after) = rest.split_at((1..bytes.len()).find(hump).unwrap_or(bytes.len()));
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// Returns the Rust names of `heads`, in their order. If two items of one name exist on one
/// architecture in different releases, only the latest has the name, because the older meaning is
/// no longer useful.
#[must_use]
pub fn distinct(rule: Rule, heads: &[&Head]) -> Vec<Option<String>> {
    let names: Vec<String> = heads.iter().map(|head| rule.name(&head.name)).collect();
    let outlived = outlived(heads, &names);
    names.into_iter().zip(outlived).map(|(name, outlived)| (!outlived).then_some(name)).collect()
}

/// Returns, for each of `heads`, whether a later item has the same name on one of its
/// architectures.
fn outlived(heads: &[&Head], names: &[String]) -> Vec<bool> {
    let mut by_name: HashMap<&str, Vec<&Head>> = HashMap::new();
    for (head, name) in heads.iter().zip(names) {
        by_name.entry(name).or_default().push(head);
    }
    let comes_after = |head: &Head, other: &Head| {
        other.availability.releases.since > head.availability.releases.until
            && !other.availability.archs.and(head.availability.archs).is_empty()
    };
    let of_name = |name: &String| by_name.get(name.as_str()).into_iter().flatten();
    heads
        .iter()
        .zip(names)
        .map(|(head, name)| of_name(name).any(|other| comes_after(head, other)))
        .collect()
}

/// The names of top-level types and words. If a later release reused a type's name, the older type
/// gets its last release as a suffix, because other items of that release may need it.
#[derive(Debug)]
pub struct Names<'d> {
    /// The names that differ from their rule's result, by the items' places.
    renamed: HashMap<&'d Place, String>,
}

impl<'d> Names<'d> {
    /// Creates the names of `document`.
    #[must_use]
    pub fn new(document: &'d Document) -> Self {
        let mut renamed = HashMap::new();
        for file in &document.files {
            let mut types: Vec<&Head> = file.types.iter().map(|item| &item.head).collect();
            types.extend(file.enumerations.iter().map(|item| &item.head));
            types.extend(file.encodings.iter().map(|item| &item.head));
            types.extend(file.structs.iter().map(|item| &item.head));
            let words: Vec<&Head> = file.words.iter().map(|item| &item.head).collect();
            for (rule, heads) in [(TYPE, types), (MODULE, words)] {
                let names: Vec<String> = heads.iter().map(|head| rule.name(&head.name)).collect();
                for (head, _) in heads.iter().zip(outlived(&heads, &names)).filter(|pair| pair.1) {
                    let until = document.manifest.release(head.availability.releases.until);
                    let name = format!("{}_until_{}_{}", head.name, until.major, until.minor);
                    renamed.insert(&head.place, rule.name(&name));
                }
            }
        }
        Self { renamed }
    }

    /// Returns the Rust name of a top-level item.
    #[must_use]
    pub fn item(&self, rule: Rule, head: &Head) -> String {
        self.renamed.get(&head.place).cloned().unwrap_or_else(|| rule.name(&head.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_lose_the_ending_of_c() {
        assert_eq!(TYPE.name("vcpu_time_info"), "VcpuTimeInfo");
        assert_eq!(TYPE.name("xen_pfn_t"), "XenPfn");
        assert_eq!(TYPE.name("evtchn_port_t"), "EvtchnPort");
        assert_eq!(VARIANTS.name("callback_via"), "CallbackViaVariant");
        assert_eq!(TYPE.name("_t"), "T");
    }

    #[test]
    fn case_follows_the_kind() {
        assert_eq!(CONSTANT.name("hvm_callback_vector"), "HVM_CALLBACK_VECTOR");
        assert_eq!(COUNT.name("vcpu_info"), "VCPU_INFO_COUNT");
        assert_eq!(MODULE.name("GTF_type"), "gtf_type");
        assert_eq!(FIELD.name("oneShot"), "one_shot");
        assert_eq!(FIELD.name("cr3_offset"), "cr3_offset");
    }

    #[test]
    fn a_keyword_is_avoided_and_only_at_the_end() {
        for (rule, name, expected) in [
            (FIELD, "type_", "type_"),
            (FIELD, "Type", "type_"),
            (FIELD, "from_ptr_", "from_ptr_"),
            (MODULE, "self_t", "self_"),
            (TYPE, "self_", "Self_"),
            (SNAPSHOT_WITH, "type_", "type_with"),
            (PUBLISH, "type_", "publish_type_"),
            (FROM, "match_", "from_match_"),
            (CONSTANT, "type_", "TYPE_"),
        ] {
            assert_eq!(rule.name(name), expected, "{rule:?}");
            assert_eq!(rule.ident(name), expected, "{rule:?}");
        }
        assert_eq!(inner("Page_", "self_"), "PageSelf_");
    }

    #[test]
    fn every_text_becomes_an_identifier() {
        for (text, expected) in
            [("type", "type_"), ("4gb", "_4gb"), ("a-b", "a_b"), ("", "__"), ("_", "__")]
        {
            assert_eq!(ident(text), expected);
        }
    }

    #[test]
    fn keywords_are_those_that_rust_refuses() {
        assert!(KEYWORDS.is_sorted());
        for word in KEYWORDS.iter().filter(|word| !["gen"].contains(word)) {
            assert!(syn::parse_str::<Ident>(word).is_err(), "{word}");
        }
        for word in ["union", "default", "auto", "dom", "selfie"] {
            assert!(!is_keyword(word) && syn::parse_str::<Ident>(word).is_ok(), "{word}");
        }
    }

    #[test]
    fn identifiers_are_those_that_rust_accepts() {
        for word in ["a", "_a", "A1", "a__b_"] {
            assert!(is_identifier(word) && syn::parse_str::<Ident>(word).is_ok(), "{word}");
        }
        for word in ["", "1a", "a-b", "a b", "a.b", "é", "_", "__", "_1", "a\u{0}"] {
            assert!(!is_identifier(word), "{word:?}");
        }
    }
}
