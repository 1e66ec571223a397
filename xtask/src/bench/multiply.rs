//! Creates a description that is several times as large, with copies of all subjects under other
//! names.

use crate::document::{Document, Head};
use crate::yaml::{SourceText, Sources};
use std::collections::HashSet;
use std::fmt::Write as _;

/// The difference between the hypercall numbers of one copy and the next.
const STRIDE: usize = 10_000;

/// Returns a description `times` as large: the original, and copies whose types and constants have
/// the copy's number as a suffix. `document` is parsed from `sources`. A copy has no calling
/// conventions, because an architecture has only one.
#[must_use]
pub fn multiply(sources: &Sources, document: &Document, times: usize) -> Sources {
    let names = names(document);
    let listed: HashSet<&str> = document.manifest.files.iter().map(String::as_str).collect();
    let mut files = sources.files.clone();
    for copy in 1..times {
        for original in sources.files.iter().filter(|file| listed.contains(file.name.as_str())) {
            let name = format!("{}_x{copy}", original.name);
            let path =
                original.path.replace(&format!("{}.yaml", original.name), &format!("{name}.yaml"));
            files.push(SourceText {
                path,
                text: copied(&original.text, &names, copy),
                name,
                fault: None,
            });
        }
    }
    for file in &mut files[..sources.files.len()] {
        file.text = with_hypercalls(&file.text, document, times);
    }
    if let Some(manifest) = files.first_mut() {
        manifest.text = manifest_of(&manifest.text, &document.manifest.files, times);
    }
    Sources { files }
}

/// Returns the names that must be unique.
fn names(document: &Document) -> HashSet<&str> {
    let mut heads: Vec<&Head> = Vec::new();
    for file in &document.files {
        heads.extend(file.types.iter().map(|item| &item.head));
        heads.extend(file.constants.iter().map(|item| &item.head));
        heads.extend(file.strings.iter().map(|item| &item.head));
        heads.extend(file.enumerations.iter().map(|item| &item.head));
        heads.extend(file.words.iter().map(|item| &item.head));
        heads.extend(file.encodings.iter().map(|item| &item.head));
        heads.extend(file.structs.iter().map(|item| &item.head));
    }
    heads.into_iter().map(|head| head.name.as_str()).collect()
}

/// Returns the manifest with the copies after the originals. The list of files is the manifest's
/// last section.
fn manifest_of(text: &str, files: &[String], times: usize) -> String {
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    for copy in 1..times {
        for file in files {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  - {file}_x{copy}");
        }
    }
    text
}

fn copied(text: &str, names: &HashSet<&str>, copy: usize) -> String {
    let mut made = String::with_capacity(text.len() * 2);
    let mut section = "";
    for line in text.split_inclusive('\n') {
        if line.starts_with(|c: char| c.is_ascii_lowercase()) {
            section = line.split(':').next().unwrap_or("");
        }
        match section {
            "conventions" => {}
            "feature" => made.push_str(line),
            "commands" => renamed(&in_c(&own_hypercall(line, copy), copy), names, copy, &mut made),
            _ => renamed(&in_c(line, copy), names, copy, &mut made),
        }
    }
    made
}

/// Appends a line to `made`, with every unique name changed.
fn renamed(line: &str, names: &HashSet<&str>, copy: usize, made: &mut String) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = line;
    while let Some(start) = rest.find(is_part) {
        let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |length| start + length);
        made.push_str(&rest[..end]);
        if names.contains(&rest[start..end]) {
            let _ = write!(made, "_x{copy}");
        }
        rest = &rest[end..];
    }
    made.push_str(rest);
}

/// Returns a line with its C names changed, which must be unique too.
fn in_c(line: &str, copy: usize) -> String {
    let suffixed =
        |name: &str| if name == "none" { name.to_owned() } else { format!("{name}_x{copy}") };
    let line = changed(line, " c: ", suffixed);
    let line = changed(&line, "index_c: ", suffixed);
    changed(&line, "prefix: ", |prefix| format!("x{copy}_{prefix}"))
}

/// Returns a line in which the key of a hypercall's commands is changed, because a hypercall's
/// commands may be listed only once. The key is indented by two columns.
fn own_hypercall(line: &str, copy: usize) -> String {
    match line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(":\n")) {
        Some(name) if !name.starts_with(' ') => format!("  {name}_x{copy}:\n"),
        _ => line.to_owned(),
    }
}

/// Returns the text with the copies' hypercalls added to the enumeration of hypercalls, if this
/// file has it.
fn with_hypercalls(text: &str, document: &Document, times: usize) -> String {
    const START: &str = "\n  hypercall_nr:\n";
    const VALUES: &str = "\n    values:\n";
    let Some(start) = text.find(START) else { return text.to_owned() };
    let Some(at) = text[start..].find(VALUES).map(|at| start + at + VALUES.len()) else {
        return text.to_owned();
    };
    let mut added = String::new();
    for copy in 1..times {
        let sets = document.files.iter().flat_map(|file| &file.commands).enumerate();
        for (index, set) in sets {
            let (name, number) = (format!("{}_x{copy}", set.hypercall), STRIDE * copy + index);
            let _ = writeln!(
                added,
                "      - {{ name: {name}, value: {number}, c: none, doc: Stands for the commands \
                 of copy {copy}. }}"
            );
        }
    }
    format!("{}{added}{}", &text[..at], &text[at..])
}

/// Returns a line with the word after `key` changed.
fn changed(line: &str, key: &str, change: impl Fn(&str) -> String) -> String {
    let Some(start) = line.find(key).map(|at| at + key.len()) else { return line.to_owned() };
    let end = line[start..].find([',', ' ', '\n', '}']).map_or(line.len(), |length| start + length);
    format!("{}{}{}", &line[..start], change(&line[start..end]), &line[end..])
}

#[cfg(test)]
mod tests {
    use super::multiply;
    use crate::commands::workspace_root;
    use crate::generate::{Failure, from_sources};
    use crate::{codegen, diagnostic, document, yaml};

    #[test]
    fn a_multiplied_description_is_valid_and_as_many_times_as_large() {
        let sources = yaml::load(&workspace_root().join("abi-yaml")).unwrap();
        let (document, _) = document::read(&sources);
        let document = document.unwrap();
        let conventions: usize = document.files.iter().map(|file| file.conventions.len()).sum();
        let items = codegen::items(&document);
        let output =
            from_sources(multiply(&sources, &document, 3)).unwrap_or_else(
                |failure| match failure {
                    Failure::Wrong(sources, wrong) => {
                        panic!("{}", diagnostic::render(&wrong, &sources, false))
                    }
                    Failure::Load(error) => panic!("{error}"),
                },
            );
        let sets: usize = document.files.iter().map(|file| file.commands.len()).sum();
        assert_eq!(output.items, 3 * items - 2 * conventions + 2 * sets);
        // A file for each of the description's, `mod.rs`, and the list of releases.
        assert_eq!(output.files.len(), 2 + 3 * document.files.len());
    }
}
