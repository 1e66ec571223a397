//! Reads texts and numbers, and shortens texts for messages.

use crate::diagnostic::{Diagnostic, nearest};

/// How much of a name is shown in a message.
const LONGEST: usize = 64;

/// Returns whether text that stands without quotes is text to every reader of YAML, and no number,
/// truth value or nothing.
pub(super) fn is_text(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+', '.']);
    let number = digits.starts_with(|first: char| first.is_ascii_digit())
        && (text.parse::<f64>().is_ok() || number(text).is_some() || octal(digits));
    !number && !matches!(text, "" | "~" | "null" | "true" | "false")
}

/// Returns whether some reader of YAML takes the digits for an octal number.
pub(super) fn octal(digits: &str) -> bool {
    let digits = digits.strip_prefix("0o").unwrap_or(digits);
    digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// Returns whether a character cannot be seen, or turns the text around it: none of these may stand
/// in documentation, and rustc refuses some of them.
pub(super) fn is_hidden(char: char) -> bool {
    char.is_control() && !matches!(char, '\n' | '\t')
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
        || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a decimal or hexadecimal number, as the description writes it.
pub(super) fn number(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let all =
        |digits: &str, allowed: fn(u8) -> bool| !digits.is_empty() && digits.bytes().all(allowed);
    let value = match digits.strip_prefix("0x") {
        Some(digits) if all(digits, |digit| digit.is_ascii_hexdigit()) => {
            i128::from_str_radix(digits, 16).ok()?
        }
        None if all(digits, |digit| digit.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0')) =>
        {
            digits.parse().ok()?
        }
        _ => return None,
    };
    Some(sign * value)
}

/// Adds what was perhaps meant, or else what there is to choose from.
pub(super) fn suggest<'n>(
    wrong: Diagnostic,
    given: &str,
    known: impl Iterator<Item = &'n str> + Clone,
    intro: &str,
) -> Diagnostic {
    if let Some(meant) = nearest(given, known.clone()) {
        return wrong.label(format!("did you mean `{meant}`?"));
    }
    let mut names: Vec<_> = Vec::new();
    for name in known.map(|name| format!("`{name}`")) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { wrong } else { wrong.help(format!("{intro} {}", names.join(", "))) }
}

/// A name as far as it can be shown in a message: not too long, and without characters that a
/// terminal would obey.
pub(super) fn clipped(name: &str) -> String {
    let mut shown = String::new();
    for (count, char) in name.chars().enumerate() {
        if count == LONGEST {
            return shown + "...";
        }
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, clipped};

    #[test]
    fn names_are_shown_safely() {
        assert_eq!(clipped("grün"), "grün");
        assert_eq!(clipped("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(clipped(&"x".repeat(1_000_000)), "x".repeat(LONGEST) + "...");
    }
}
