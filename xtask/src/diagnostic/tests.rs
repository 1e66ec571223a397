use super::*;
use crate::yaml::Sources;

const TEXT: &str = "doc: About.\nlist:\n  - { name: one, value: 1 }\n  - { value: 2 }\nempty:\n";

fn place(steps: &str) -> Place {
    steps.split('.').fold(Place::root("file"), |place, step| match step.parse() {
        Ok(index) => place.item(index),
        Err(_) => place.key(step),
    })
}

/// Returns the underlined text for a place.
fn underlined(place: &Place) -> &'static str {
    &TEXT[draw::Located::new(TEXT).find(place)]
}

#[test]
fn scalars_are_underlined_themselves_and_others_by_a_key() {
    assert_eq!(underlined(&place("doc")), "About.");
    assert_eq!(underlined(&place("doc").as_key()), "doc");
    assert_eq!(underlined(&place("list")), "list");
    assert_eq!(underlined(&place("list.0")), "one");
    assert_eq!(underlined(&place("list.1")), "value");
    assert_eq!(underlined(&place("list.1.value")), "2");
    assert_eq!(underlined(&place("list.1.missing")), "value");
    assert_eq!(underlined(&place("empty")), "empty");
}

#[test]
fn errors_come_in_the_order_of_files_and_lines() {
    let sources = Sources::from_texts([("manifest", "files: [file]\n"), ("file", TEXT)]);
    let errors = [
        Diagnostic::new(place("list.1"), "third"),
        Diagnostic::new(place("doc"), "second"),
        Diagnostic::new(Place::root("manifest"), "first"),
    ];
    let text = render(&errors, &sources, false);
    let at = |what: &str| text.find(what).unwrap();
    assert!(at("first") < at("second") && at("second") < at("third"), "{text}");
}

#[test]
fn colour_comes_on_request_only() {
    let sources = Sources::from_texts([("file", TEXT)]);
    let errors = [Diagnostic::new(place("doc"), "wrong")
        .label("here")
        .help("mend it")
        .related(place("list.0"), "as here")];
    assert!(!render(&errors, &sources, false).contains('\u{1b}'));
    assert!(render(&errors, &sources, true).contains('\u{1b}'));
}

#[test]
fn ten_thousand_errors_in_a_long_file_are_quick() {
    let text: String = (0..10_000).map(|number| format!("key{number}: {{ name: x }}\n")).collect();
    let sources = Sources::from_texts([("file", text.as_str())]);
    let errors: Vec<_> = (0..10_000)
        .map(|number| Diagnostic::new(place(&format!("key{number}")), "wrong"))
        .collect();
    let start = std::time::Instant::now();
    assert_eq!(render(&errors, &sources, false).matches("error: wrong").count(), 10_000);
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_line_of_a_megabyte_is_drawn_quickly_and_shortened() {
    let word = "ü ".repeat(1 << 19);
    for text in [format!("doc: {word}\n"), format!("a: {{ x: {word}, doc: 1 }}\n")] {
        let sources = Sources::from_texts([("file", text.as_str())]);
        let start = std::time::Instant::now();
        let drawn = render(
            &[Diagnostic::new(place("doc"), "wrong"), Diagnostic::new(place("a.doc"), "wrong")],
            &sources,
            false,
        );
        assert!(drawn.len() < 100_000, "{}", drawn.len());
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

#[test]
fn a_file_that_is_not_there_still_has_its_message() {
    let text = render(&[Diagnostic::new(Place::root("gone"), "wrong")], &Sources::default(), false);
    assert_eq!(text, "error: wrong\n\n");
}

#[test]
fn only_what_is_near_is_proposed() {
    let names = || ["xen_pfn_t", "xen_ulong_t", "domid", "virq"].into_iter();
    assert_eq!(nearest("xen_pfm_t", names()), Some("xen_pfn_t"));
    assert_eq!(nearest("DOMDI", names()), Some("domid"));
    assert_eq!(nearest("grant_ref_t", names()), None);
    assert_eq!(nearest("", names()), None);
    assert_eq!(nearest(&"x".repeat(1_000_000), names()), None);
}
