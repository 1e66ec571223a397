//! Sets tokens as text. `prettyplease` sets the code; what it leaves alone is set here: long lines
//! of documentation, and calls of the crate's own macros.

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};
use quote::quote;

/// Separates the lines of documentation in one attribute. No text of the description can have it.
pub(super) const BREAK: &str = "\u{b}";

/// The width of a line.
const WIDTH: usize = 100;

/// Around the text of a raw string.
const QUOTES: (&str, &str) = ("r##\"", "\"##");

/// How a line begins that calls a macro of the crate.
const CALLS: [&str; 2] = ["crate::access::", "crate::command::"];

/// How a line begins that goes on after an item, with an empty line between them.
const ITEMS: [&str; 6] = ["///", "#[", "pub ", "const ", "impl", "crate::access::"];

/// Sets a file.
///
/// # Errors
/// If the tokens are not a file of Rust.
pub(super) fn set(tokens: TokenStream) -> Result<String, syn::Error> {
    let text = prettyplease::unparse(&syn::parse2(tokens)?);
    let mut set = String::with_capacity(text.len());
    let mut in_code = false;
    let mut before = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        let indent = &line[..line.len() - start.len()];
        let is_item = ITEMS.iter().any(|item| start.starts_with(item));
        let is_after_item = before.trim_start() == "}" || before.starts_with("//!");
        let is_after_call = before.ends_with(");") && start.starts_with("///");
        if is_item && is_after_item || is_after_call && indent.len() <= 4 {
            set.push('\n');
        }
        before = line;
        if let Some((marks, text)) = documentation(start) {
            let prefix = format!("{indent}{marks}");
            for words in text.split(BREAK) {
                let fence = words.trim_start().starts_with("```");
                in_code ^= fence;
                if prefix.len() + words.len() <= WIDTH
                    || fence
                    || in_code
                    || words.starts_with(" |")
                {
                    set.extend([&prefix, words, "\n"]);
                } else {
                    wrap(&prefix, words, &mut set);
                }
            }
        } else if CALLS.iter().any(|path| start.starts_with(path)) && start.contains("!(") {
            let mut written = start.to_owned();
            if start.ends_with('(') {
                let end = format!("{indent})");
                while !before.starts_with(&end) {
                    let Some(line) = lines.next() else { break };
                    written.extend(["\n", line]);
                    before = line;
                }
            }
            let call = set_literal(indent, &written);
            set.push_str(&call.unwrap_or_else(|| format!("{indent}{written}\n")));
        } else {
            set.extend([line, "\n"]);
        }
    }
    Ok(set)
}

/// Returns the marks and the text of a line of documentation.
fn documentation(line: &str) -> Option<(&str, &str)> {
    (line.starts_with("///") || line.starts_with("//!")).then(|| line.split_at(3))
}

/// Breaks a paragraph into lines, never before a word that would begin a list, a heading or a
/// quotation. The lines of a list's item are indented.
fn wrap(prefix: &str, paragraph: &str, set: &mut String) {
    let paragraph = paragraph.strip_prefix(' ').unwrap_or(paragraph);
    let hang = if is_bullet(paragraph.split(' ').next().unwrap_or("")) { "  " } else { "" };
    let mut line = prefix.to_owned();
    let mut words = paragraph.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let mut word = word.to_owned();
        while let Some(markup) = words.next_if(|next| begins_markup(next)) {
            word.extend([" ", markup]);
        }
        if line.len() + 1 + word.len() > WIDTH && line != prefix {
            set.extend([&line, "\n"]);
            line = format!("{prefix}{hang}");
        }
        line.extend([" ", &word]);
    }
    set.extend([&line, "\n"]);
}

/// True if a paragraph that begins with this word is the item of a list.
pub(super) fn is_bullet(word: &str) -> bool {
    match word.as_bytes() {
        [b'-' | b'*' | b'+'] => true,
        [digits @ .., b'.' | b')'] => {
            (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

fn begins_markup(word: &str) -> bool {
    match word.as_bytes().first() {
        Some(b'-' | b'+' | b'*' | b'#' | b'>' | b'=' | b'|' | b'~' | b':') => true,
        Some(b'`') => word.starts_with("```"),
        _ => is_bullet(word),
    }
}

/// Calls a macro of the crate. The arguments become one literal, [`BREAK`]s between the entries of
/// the list that they are or end with, and are set by [`set`]: neither `syn` nor `prettyplease` has
/// to read them.
pub(super) fn call(path: &TokenStream, arguments: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    let parts = match tokens.split_last() {
        Some((TokenTree::Group(list), head)) if list.delimiter() == Delimiter::Brace => {
            let list: Vec<TokenTree> = list.stream().into_iter().collect();
            [vec![spaced(head) + " {"], entries(&list)].concat()
        }
        _ => entries(&tokens),
    };
    let arguments = literal(&parts.join(BREAK));
    quote!(#path!(#arguments))
}

/// Returns the string literal of a text: a raw one, because neither writing nor parsing that looks
/// at each character. Documentation is half of what is generated.
pub(super) fn literal(text: &str) -> Literal {
    let raw = [QUOTES.0, text, QUOTES.1].concat();
    raw.parse().ok().filter(|_| !text.contains(QUOTES.1)).unwrap_or_else(|| Literal::string(text))
}

/// Sets a call whose arguments are a literal: on one line if it fits, or else with the list at its
/// end on lines of its own.
fn set_literal(indent: &str, written: &str) -> Option<String> {
    let (name, rest) = written.split_once('(')?;
    let (literal, after) = rest.rsplit_once(')')?;
    let arguments = literal.trim().strip_prefix(QUOTES.0)?.strip_suffix(QUOTES.1)?;
    let parts: Vec<String> = arguments.split(BREAK).map(str::to_owned).collect();
    if let Some(head) = parts[0].strip_suffix('{') {
        return Some(set_call(indent, name, head, &parts[1..], after));
    }
    let line = format!("{indent}{name}({}){after}\n", parts.join(", "));
    if line.len() <= WIDTH + 1 {
        return Some(line);
    }
    let list = set_list(&format!("{indent}    "), &parts);
    Some(format!("{indent}{name}(\n{list}{indent}){after}\n"))
}

/// Sets the call `name(head { list })`.
pub(super) fn set_call(
    indent: &str,
    name: &str,
    head: &str,
    list: &[String],
    after: &str,
) -> String {
    let line = format!("{indent}{name}({head}{{ {} }}){after}\n", list.join(", "));
    if line.len() <= WIDTH + 1 && !line.contains('#') && !list.is_empty() {
        return line;
    }
    let (first, deeper) = (format!("{indent}{name}({head}{{"), format!("{indent}    "));
    if list.is_empty() {
        format!("{first}}}){after}\n")
    } else if first.len() <= WIDTH {
        format!("{first}\n{}{indent}}}){after}\n", set_list(&deeper, list))
    } else {
        let list = set_list(&format!("{deeper}    "), list);
        format!("{indent}{name}(\n{deeper}{head}{{\n{list}{deeper}}}\n{indent}){after}\n")
    }
}

/// Sets a list: as many entries on a line as fit, or one on each if there are attributes.
fn set_list(indent: &str, entries: &[String]) -> String {
    let mut set = String::new();
    if entries.iter().any(|entry| entry.starts_with('#')) {
        for line in entries.iter().flat_map(|entry| entry.lines()) {
            set.extend([indent, line, if line.starts_with('#') { "\n" } else { ",\n" }]);
        }
        return set;
    }
    let mut line = indent.to_owned();
    for entry in entries {
        if line != indent {
            if line.len() + entry.len() + 2 > WIDTH {
                set.extend([&line, "\n"]);
                line = indent.to_owned();
            } else {
                line.push(' ');
            }
        }
        line.extend([entry, ","]);
    }
    set + &line + "\n"
}

/// Returns the entries of a list, each with its attributes on lines of their own.
fn entries(list: &[TokenTree]) -> Vec<String> {
    let is = |token: &TokenTree, mark| matches!(token, TokenTree::Punct(p) if p.as_char() == mark);
    let entries = list.split(|token| is(token, ',')).filter(|entry| !entry.is_empty());
    let written = |entry: &[TokenTree]| {
        let mut rest = entry;
        let mut written = String::new();
        while let [mark, attribute, after @ ..] = rest
            && is(mark, '#')
        {
            written.extend(["#", &spaced(std::slice::from_ref(attribute)), "\n"]);
            rest = after;
        }
        written + &spaced(rest)
    };
    entries.map(written).collect()
}

/// Writes tokens with the spaces that people write: in types, paths, lists and calls.
fn spaced(tokens: &[TokenTree]) -> String {
    let mut text = String::new();
    for token in tokens {
        let written = match token {
            TokenTree::Group(group) => {
                let inside = spaced(&group.stream().into_iter().collect::<Vec<_>>());
                match group.delimiter() {
                    Delimiter::Parenthesis => format!("({inside})"),
                    Delimiter::Bracket => format!("[{inside}]"),
                    Delimiter::Brace if inside.is_empty() => "{}".to_owned(),
                    Delimiter::Brace => format!("{{ {inside} }}"),
                    Delimiter::None => inside,
                }
            }
            other => other.to_string(),
        };
        if needs_space(&text, &written) {
            text.push(' ');
        }
        text.push_str(&written);
    }
    text
}

/// True if a space goes between what is written and what follows.
fn needs_space(before: &str, next: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '"');
    let Some(last) = before.chars().last() else { return false };
    match next.chars().next() {
        Some('=' | '{') => true,
        Some('-') => last != '(',
        // A number in parentheses is a value, and not the argument of what is before it.
        Some('(') if next[1..].starts_with(|next: char| next.is_ascii_digit()) => last != '(',
        Some('(') => matches!(last, ',' | ':' | '='),
        Some('[') => matches!(last, ',' | ':' | '=') && !before.ends_with("::"),
        Some(letter) if is_word(letter) || letter == '\'' => {
            is_word(last)
                || matches!(last, ',' | ';' | '=' | ')' | ']' | '}')
                || last == ':' && !before.ends_with("::")
                || before.ends_with("->")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_holds_any_text() {
        for text in ["", "a \"#\" b", "a \"## b\\", "a\u{b}b\rc\n"] {
            let read: syn::LitStr = syn::parse_str(&literal(text).to_string()).unwrap();
            assert_eq!(read.value(), text);
        }
    }

    #[test]
    fn documentation_is_broken_where_its_indentation_leaves_room() {
        let long = format!(" {}- x", "word ".repeat(20));
        let item = format!(" - {}", "word ".repeat(24).trim_end());
        let row = format!(" | {} |", "word ".repeat(24));
        let code = [" ```text", &format!(" {}", "word ".repeat(24).trim_end()), " ```"];
        let text = set(quote! {
            #![doc = #long]
            mod inside {
                #[doc = #item]
                #[doc = ""]
                #[doc = #row]
                #(#[doc = #code])*
                const A: u8 = 0;
            }
        })
        .unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| !line.contains("//! -")), "{text}");
        assert!(lines[0].len() <= WIDTH && lines[1] == "//! word - x", "{text}");
        assert!(text.contains("    /// - word"), "{text}");
        assert!(text.contains("    ///   word"), "{text}");
        assert!(text.contains(&row) && text.contains(code[1]), "{text}");
    }

    #[test]
    fn calls_are_set_as_people_write_them() {
        let fields = (0..12).map(|at| quote::format_ident!("a_long_field_{at}"));
        let calls = [
            (
                quote!(crate::access::raw),
                quote!(Short { a: u32, b: [crate::base::X; super::Y as usize] }),
            ),
            (
                quote!(crate::access::raw),
                quote!(Long {
                    #[cfg(any(unix, target_os = "uefi"))] a: u32, b: crate::access::Handle<u8>
                }),
            ),
            (quote!(crate::access::layout), quote!(raw::Long, "long": 48 { #(#fields: 4),* })),
            (
                quote!(crate::command::command),
                quote!(
                    safe Poll: SCHED_OP, 3, "SCHEDOP_poll", Argument(SchedPoll) -> Nothing,
                    since(4, 4), honoured(4, 10)
                ),
            ),
        ];
        let calls = calls.into_iter().map(|(path, arguments)| call(&path, arguments));
        let text = set(quote! {
            #(#calls;)*
            fn f(&self) -> u32 { crate::access::field!(self.ptr, Bits, name) }
        })
        .unwrap();
        let expected = "\
crate::access::raw!(Short { a: u32, b: [crate::base::X; super::Y as usize] });
crate::access::raw!(Long {
    #[cfg(any(unix, target_os = \"uefi\"))]
    a: u32,
    b: crate::access::Handle<u8>,
});
crate::access::layout!(raw::Long, \"long\": 48 {
    a_long_field_0: 4, a_long_field_1: 4, a_long_field_2: 4, a_long_field_3: 4, a_long_field_4: 4,
    a_long_field_5: 4, a_long_field_6: 4, a_long_field_7: 4, a_long_field_8: 4, a_long_field_9: 4,
    a_long_field_10: 4, a_long_field_11: 4,
});
crate::command::command!(
    safe Poll: SCHED_OP, 3, \"SCHEDOP_poll\", Argument(SchedPoll) -> Nothing, since (4, 4),
    honoured (4, 10),
);
fn f(&self) -> u32 {
    crate::access::field!(self.ptr, Bits, name)
}
";
        assert_eq!(text, expected);
    }
}
