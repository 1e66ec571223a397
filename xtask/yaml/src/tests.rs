use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Returns the texts at fault, and the message for each.
fn faults(text: &str) -> Vec<(&str, String)> {
    read(text).faults.into_iter().map(|fault| (&text[fault.span], fault.message)).collect()
}

fn at<'t>(text: &'t str, path: &[&str]) -> &'t str {
    let tree = read(text);
    let mut node = tree.root.as_ref().unwrap();
    for key in path {
        node = match &node.value {
            Value::Mapping(mapping) => &mapping.get(key).unwrap().value,
            Value::Sequence(items) => &items[key.parse::<usize>().unwrap()],
            Value::Scalar { .. } => panic!("`{key}` is asked of a scalar"),
        };
    }
    &text[node.span.clone()]
}

#[test]
fn spans_are_bytes_also_after_other_letters() {
    let text = "é: [ü, \"ß x\"]\nb: { c: 'd' }\n";
    assert_eq!(at(text, &["é", "1"]), "\"ß x\"");
    assert_eq!(at(text, &["b", "c"]), "'d'");
}

#[test]
fn quotes_are_remembered() {
    let tree = read("[4.10, \"4.10\"]");
    let Some(Node { value: Value::Sequence(items), .. }) = tree.root else { panic!("no sequence") };
    assert!(matches!(&items[0].value, Value::Scalar { text, plain: true } if text == "4.10"));
    assert!(matches!(&items[1].value, Value::Scalar { text, plain: false } if text == "4.10"));
}

#[test]
fn properties_are_found_where_they_stand() {
    for (text, found) in [
        ("a: &x 1\n", "&x"),
        ("a: &x [1]\n", "&x"),
        ("a: &x # not & this\n  b: 1\n", "&x"),
        ("a: # not & this\n  &x\n  b: 1\n", "&x"),
        ("- &x {b: 1}\n", "&x"),
        ("a: !!str 2\n", "!!str"),
        ("a: !t [1]\n", "!t"),
        ("a: *x\n", "*x"),
        ("&k a: 1\n", "&k"),
    ] {
        let faults = faults(text);
        assert_eq!(faults.len(), 1, "{text:?}: {faults:?}");
        assert_eq!(faults[0].0, found, "{text:?}");
        assert!(faults[0].1.ends_with("are not allowed"), "{text:?}: {faults:?}");
    }
    assert_eq!(faults("a: &x 1\nb: *x\n").len(), 2);
    assert_eq!(faults("%YAML 1.2\n---\na: 1\n")[0].0, "%YAML 1.2");
}

#[test]
fn signs_inside_text_are_text() {
    assert_eq!(faults("a: b & c * d ! e\nb: '&x'\nc: |\n  &x\n"), []);
}

#[test]
fn every_later_key_of_the_same_name_is_refused() {
    let text = "a: 1\nb: 2\na: 3\na: 4\n";
    let faults = read(text).faults;
    assert_eq!(faults.iter().map(|fault| fault.span.start).collect::<Vec<_>>(), [10, 15]);
    assert!(faults.iter().all(|fault| fault.related.as_ref().unwrap().0 == (0..1)));
    let many: String = (0..40).map(|key| format!("k{key}: {key}\n")).collect();
    for key in ["k0", "k15", "k16", "k39"] {
        let text = format!("{many}{key}: again\n");
        let message = format!("the key `{key}` is given twice");
        assert_eq!(self::faults(&text), [(key, message)], "{text}");
        assert_eq!(at(&text, &[key]), &key[1..]);
    }
}

#[test]
fn only_one_document_and_not_none() {
    assert_eq!(faults("a: 1\n---\nb: 1\n"), [("---", "a file holds one document only".to_owned())]);
    assert_eq!(faults("# nothing\n"), [("", "the file is empty".to_owned())]);
    assert_eq!(faults("? [a]\n: 1\n"), [("[", "a key must be text".to_owned())]);
}

/// Reads a long text, which must be quick: time in proportion, or an end at the bound.
fn quickly(text: &str) -> Tree<'_> {
    let start = Instant::now();
    let tree = read(text);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{} bytes took {:?}",
        text.len(),
        start.elapsed()
    );
    tree
}

#[test]
fn depth_is_bounded() {
    for unit in ["[", "- ", "{a: ", "? ", "[{a: "] {
        let text = unit.repeat(1_000_000);
        let faults = quickly(&text).faults;
        assert_eq!(faults.len(), 1, "{unit}");
        assert_eq!(faults[0].message, "nested too deeply", "{unit}");
    }
    let text: String = (0..2000).map(|level| " ".repeat(level) + "a:\n").collect();
    assert_eq!(quickly(&text).faults[0].message, "nested too deeply");
}

#[test]
fn a_megabyte_in_one_scalar_is_read() {
    let word = "x".repeat(1 << 20);
    for text in [
        format!("a: {word}\n"),
        format!("a: \"{word}\"\n"),
        format!("a: >\n  {word}\n"),
        format!("a: |\n{}", "  x\n".repeat(1 << 18)),
    ] {
        let tree = quickly(&text);
        assert_eq!(tree.faults, []);
        assert!(tree.root.is_some());
    }
}

#[test]
fn many_keys_take_time_in_proportion() {
    let text: String = (0..100_000).map(|number| format!("key{number}: 1\n")).collect();
    assert_eq!(quickly(&text).faults, []);
}

proptest! {
    #[test]
    fn no_text_panics_and_all_spans_are_text(text in "([a-c: \\n\"'&*!|>%#?,é\\[\\]{}-]|: |- |\\n  \
     ){0,80}") {
        for fault in read(&text).faults {
            prop_assert!(text.get(fault.span).is_some());
            prop_assert!(fault.related.is_none_or(|(span, _)| text.get(span).is_some()));
        }
    }
}
