//! Every item says what it is, and not only its name once more.

use super::Context;
use super::report::{Report, fault};
use super::walk::{Kind, items, structs};
use crate::document::VariantKind;
use crate::yaml::Place;

/// Words that say nothing beside a name.
const FILLERS: [&str; 16] = [
    "a", "an", "the", "of", "this", "is", "it", "for", "to", "in", "field", "value", "constant",
    "type", "struct", "command",
];

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    for arch in &context.document.manifest.architectures {
        doc(report, &arch.doc, &arch.name, &arch.place);
    }
    for file in &context.document.files {
        doc(report, &file.doc, &file.name, &Place::root(&file.name));
        for convention in &file.conventions {
            doc(report, &convention.doc, "convention", &convention.place);
        }
        for set in &file.commands {
            doc(report, &set.doc, &set.hypercall, &set.place);
        }
        for variant in file.encodings.iter().flat_map(|encoding| &encoding.variants) {
            let VariantKind::Fields { fields, .. } = &variant.kind else { continue };
            for field in fields {
                doc(report, &field.doc, &field.name, &field.place);
            }
        }
    }
    for item in items(context.document).iter().filter(|item| item.kind != Kind::Padding) {
        doc(report, &item.head.doc, &item.head.name, &item.head.place);
    }
    for snapshot in structs(context.document).flat_map(|block| &block.snapshots) {
        doc(report, &snapshot.doc, &snapshot.name, &snapshot.place);
    }
}

/// A text that is missing was told of by the parser.
fn doc(report: &mut Report<'_>, doc: &str, name: &str, place: &Place) {
    if !doc.is_empty() && restates(doc, name) {
        let help = "say what it is for, in which unit, or what one must know to use it";
        report.add(
            fault(place.key("doc"), format!("the `doc` of `{name}` only restates the name"))
                .help(help),
        );
    }
}

/// Whether a text has no word that is not in the name.
fn restates(doc: &str, name: &str) -> bool {
    let of_name: Vec<String> = words(name).collect();
    words(doc).all(|word| FILLERS.contains(&word.as_str()) || of_name.contains(&word))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::restates;

    #[test]
    fn a_text_must_add_something_to_the_name() {
        for (doc, name) in [
            ("The upcall mask.", "upcall_mask"),
            ("Port", "port"),
            ("...", "x"),
            ("The value of the DOM field.", "dom"),
        ] {
            assert!(restates(doc, name), "{doc} {name}");
        }
        for (doc, name) in
            [("Masks upcalls.", "upcall_mask"), ("The local port.", "port"), ("A UUID.", "handle")]
        {
            assert!(!restates(doc, name), "{doc} {name}");
        }
    }
}
