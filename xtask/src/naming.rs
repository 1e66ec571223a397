//! How the description's names become Rust's: the rules, as data.

use proc_macro2::{Ident, Span};

/// How Rust writes a kind of name.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// `VcpuInfo`
    Pascal,
    /// `vcpu_info`
    Snake,
    /// `VCPU_INFO`
    Screaming,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// An ending that C's names have and Rust's do not.
    drop: &'static str,
    /// The letters' case.
    case: Case,
    /// What is added.
    suffix: &'static str,
}

/// Aliases, enumerations, encodings, blocks, arguments and commands.
pub(crate) const TYPE: Rule = Rule { drop: "_t", case: Case::Pascal, suffix: "" };
/// A form of an encoding.
pub(crate) const VARIANT: Rule = Rule { drop: "", case: Case::Pascal, suffix: "" };
/// The type that holds the forms of an encoding.
pub(crate) const VARIANTS: Rule = Rule { drop: "_t", case: Case::Pascal, suffix: "Variant" };
/// Constants, named values and bit fields.
pub(crate) const CONSTANT: Rule = Rule { drop: "", case: Case::Screaming, suffix: "" };
/// The number of elements of a block's field.
pub(crate) const COUNT: Rule = Rule { drop: "", case: Case::Screaming, suffix: "_COUNT" };
/// Words, the values of a bit field, and the commands of a hypercall.
pub(crate) const MODULE: Rule = Rule { drop: "_t", case: Case::Snake, suffix: "" };
/// Fields, accessors, arguments of functions.
pub(crate) const FIELD: Rule = Rule { drop: "", case: Case::Snake, suffix: "" };

/// Words that Rust keeps for itself. The checks refuse them; here a line below keeps the result
/// Rust all the same.
const KEYWORDS: &[&str] = &[
    "_", "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue",
    "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if",
    "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub",
    "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

impl Rule {
    /// The Rust name for `name`.
    pub(crate) fn apply(self, name: &str) -> String {
        let kept = name.strip_suffix(self.drop).filter(|kept| !kept.is_empty()).unwrap_or(name);
        let mut made = match self.case {
            Case::Pascal => words(kept).map(pascal).collect::<String>(),
            Case::Snake => words(kept).map(str::to_lowercase).collect::<Vec<_>>().join("_"),
            Case::Screaming => words(kept).map(str::to_uppercase).collect::<Vec<_>>().join("_"),
        };
        made.push_str(self.suffix);
        made
    }

    /// The Rust name for `name`, as a token.
    pub(crate) fn ident(self, name: &str) -> Ident {
        ident(&self.apply(name))
    }
}

/// A token for any text: what cannot stand in an identifier becomes a line.
pub(crate) fn ident(text: &str) -> Ident {
    let mut name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        name.insert(0, '_');
    }
    if KEYWORDS.contains(&name.as_str()) {
        name.push('_');
    }
    Ident::new(&name, Span::call_site())
}

/// The words of a name: between lines, and where a capital follows a small letter.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split('_').filter(|part| !part.is_empty()).flat_map(humps)
}

fn humps(part: &str) -> impl Iterator<Item = &str> {
    let bytes = part.as_bytes();
    let starts = (1..bytes.len())
        .filter(|&at| bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase());
    let mut bounds = vec![0];
    bounds.extend(starts);
    bounds.push(part.len());
    (0..bounds.len() - 1).map(move |at| &part[bounds[at]..bounds[at + 1]])
}

fn pascal(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{CONSTANT, FIELD, MODULE, TYPE, VARIANTS, ident};

    #[test]
    fn types_lose_the_ending_of_c() {
        assert_eq!(TYPE.apply("vcpu_time_info"), "VcpuTimeInfo");
        assert_eq!(TYPE.apply("xen_pfn_t"), "XenPfn");
        assert_eq!(TYPE.apply("evtchn_port_t"), "EvtchnPort");
        assert_eq!(VARIANTS.apply("callback_via"), "CallbackViaVariant");
        assert_eq!(TYPE.apply("_t"), "T");
    }

    #[test]
    fn case_follows_the_kind() {
        assert_eq!(CONSTANT.apply("hvm_callback_vector"), "HVM_CALLBACK_VECTOR");
        assert_eq!(MODULE.apply("GTF_type"), "gtf_type");
        assert_eq!(FIELD.apply("oneShot"), "one_shot");
        assert_eq!(FIELD.apply("cr3_offset"), "cr3_offset");
    }

    #[test]
    fn every_text_becomes_an_identifier() {
        assert_eq!(ident("type").to_string(), "type_");
        assert_eq!(ident("4gb").to_string(), "_4gb");
        assert_eq!(ident("a-b").to_string(), "a_b");
        assert_eq!(ident("").to_string(), "__");
    }
}
