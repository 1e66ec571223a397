use super::*;
use crate::document::*;
use proptest::prelude::*;

const MANIFEST: &str = r#"
releases: ["4.8", "4.9", "4.10"]
architectures:
  x86_64: { pointer: 64, align_u64: 8, max_atomic: 64, doc: A processor. }
  x86: { pointer: 32, align_u64: 4, max_atomic: 32, doc: A smaller processor. }
files: [file]
"#;

fn parse(items: &str) -> (Option<Document>, Vec<Diagnostic>) {
    let text = format!("doc: A file.\nheader: xen.h\n{items}");
    document(&Sources::from_texts([("manifest", MANIFEST), ("file", text.as_str())]))
}

/// Returns the file that the items make.
fn file(items: &str) -> File {
    let (document, errors) = parse(items);
    assert_eq!(errors, []);
    document.unwrap().files.remove(0)
}

/// Returns the messages about the items, and whether there is a document all the same.
fn messages(items: &str) -> (Vec<String>, bool) {
    let (document, errors) = parse(items);
    (errors.into_iter().map(|error| error.message).collect(), document.is_some())
}

#[test]
fn the_description_of_this_workspace_is_understood() {
    let sources = yaml::load(&crate::commands::workspace_root().join("abi-yaml")).unwrap();
    let (document, errors) = document(&sources);
    assert!(errors.is_empty(), "{}", crate::diagnostic::render(&errors, &sources, false));
    assert_eq!(document.unwrap().files.len() + 1, sources.files.len());
}

#[test]
fn the_manifest_counts_in_bytes() {
    let (document, _) = parse("");
    let manifest = document.unwrap().manifest;
    assert_eq!(manifest.release(manifest.newest()), Release { major: 4, minor: 10 });
    let x86 = manifest.arch(ArchId(1));
    assert_eq!(
        (x86.name.as_str(), x86.pointer_bytes, x86.align_u64, x86.max_atomic_bytes),
        ("x86", 4, 4, 4)
    );
}

#[test]
fn what_is_inside_exists_at_most_where_the_outer_item_does() {
    let file = file(
        r#"
words:
  flags:
    is: u8
    since: "4.9"
    header: grant_table.h
    doc: What can be done.
    fields:
      - name: one
        bits: 0
        arch: [x86]
        until: "4.9"
        doc: The first.
        values: [{ name: set, value: 1, doc: It is so. }]
      - { name: two, bits: "2:1", since: "4.8", doc: The second. }
"#,
    );
    let fields = &file.words[0].fields;
    let releases =
        |head: &Head| (head.availability.releases.since.0, head.availability.releases.until.0);
    assert_eq!(releases(&fields[0].head), (1, 1));
    assert_eq!(releases(&fields[0].values[0].head), (1, 1));
    assert_eq!(releases(&fields[1].head), (1, 2));
    assert_eq!(fields[0].values[0].head.availability.archs.iter().collect::<Vec<_>>(), [ArchId(1)]);
    assert_eq!(fields[0].values[0].head.header, "grant_table.h");
    assert_eq!(fields[1].bits, Bits { high: 2, low: 1 });
}

#[test]
fn names_in_c_are_made_with_the_prefix_unless_said() {
    let file = file(
        r#"
enumerations:
  virq:
    is: u32
    prefix: VIRQ_
    doc: What Xen announces.
    values:
      - { name: TIMER, value: 0, doc: Time is up. }
      - { name: type, value: 0x10, c: VIRQ_other, doc: Something else. }
      - { name: nameless, value: -1, c: none, honoured_since: "4.9", doc: Without a name. }
"#,
    );
    let values = &file.enumerations[0].values;
    assert_eq!(values.iter().map(|value| value.value).collect::<Vec<_>>(), [0, 16, -1]);
    assert_eq!(
        values.iter().map(|value| value.head.c.as_deref()).collect::<Vec<_>>(),
        [Some("VIRQ_TIMER"), Some("VIRQ_other"), None]
    );
    assert_eq!(values[2].head.availability.honoured_since, Some(ReleaseId(1)));
}

#[test]
fn members_go_the_way_of_the_field_that_holds_them() {
    let file = file(
        "
arguments:
  question:
    doc: What is asked.
    fields:
      - name: u
        direction: both
        doc: One of two.
        anonymous: true
        union:
          - name: one
            doc: A pair.
            struct:
              - { name: a, type: u8, doc: Half of it. }
              - { name: b, type: u8, reserved: true }
          - { name: two, type: handle, to: domid, doc: A pointer. }
      - { name: rest, type: u8, count: flexible, direction: out, doc: All the others. }
",
    );
    let fields = &file.structs[0].fields;
    let Shape::Union { members, anonymous: true } = &fields[0].shape else {
        panic!("{:?}", fields[0].shape)
    };
    let Shape::Struct(pair) = &members[0].shape else { panic!("{:?}", members[0].shape) };
    assert_eq!(
        [pair[0].use_, pair[1].use_],
        [FieldUse::Direction(Direction::Both), FieldUse::Reserved]
    );
    let Shape::Type(TypeRef::Handle(target)) = &members[1].shape else {
        panic!("{:?}", members[1].shape)
    };
    assert_eq!(**target, TypeRef::Named("domid".to_owned()));
    assert_eq!(fields[1].count, Some(PerArch::Same(Count::Flexible)));
}

#[test]
fn values_may_differ_by_architecture() {
    let file = file(
        "
types: { long: { is: { x86_64: u64, x86: u32 }, count: LENGTH, doc: Some words. } }
blocks:
  page:
    doc: What is shared.
    size: { x86_64: 8, x86: 4 }
    fields:
      - { name: sec, type: ulong, access: versioned, doc: Some seconds. }
      - { name: inner, type: other, doc: A block inside. }
    snapshots:
      time:
        doc: When it is.
        counter: version
        members: { sec: { x86_64: sec, x86: inner.sec } }
",
    );
    assert_eq!(file.types[0].is.get(ArchId(1)), Some(&TypeRef::Primitive(Primitive::U32)));
    assert_eq!(file.types[0].count, Some(PerArch::Same(Count::Constant("LENGTH".to_owned()))));
    let block = &file.structs[0];
    assert_eq!(block.size.as_ref().unwrap().get(ArchId(0)), Some(&8));
    assert_eq!(
        [block.fields[0].use_, block.fields[1].use_],
        [FieldUse::Access(Access::Versioned), FieldUse::Nested]
    );
    assert_eq!(
        block.snapshots[0].members[0].path.get(ArchId(1)).map(String::as_str),
        Some("inner.sec")
    );
}

#[test]
fn a_field_of_an_encoding_holds_what_its_bits_can_unless_said() {
    let file = file(
        r#"
encodings:
  via:
    is: u64
    tag: "63:56"
    doc: How a guest is called.
    variants:
      - { name: none, value: 0, doc: Not at all. }
      - name: pci
        tag: 1
        doc: By a pin.
        fields:
          - { name: pin, bits: "1:0", doc: Which pin. }
          - { name: bus, bits: "15:8", min: 1, max: 9, doc: Which bus. }
        example: { value: 0x0100000000000103, pin: 3, bus: 1 }
"#,
    );
    let variants = &file.encodings[0].variants;
    assert!(matches!(variants[0].kind, VariantKind::Value(0)));
    let VariantKind::Fields { tag: 1, fields, example: Some((0x0100_0000_0000_0103, example)) } =
        &variants[1].kind
    else {
        panic!()
    };
    assert_eq!(
        fields.iter().map(|field| (field.min, field.max)).collect::<Vec<_>>(),
        [(0, 3), (1, 9)]
    );
    assert_eq!(
        example.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>(),
        [("bus", 1), ("pin", 3)]
    );
}

#[test]
fn a_set_s_shape_is_that_of_each_command_unless_said() {
    let file = file(
        "
commands:
  sched_op:
    doc: When the guest runs.
    prefix: SCHEDOP_
    shape: argument
    list:
      - { name: poll, number: 3, argument: sched_poll, result: none, doc: Waits. }
      - name: block
        number: 1
        shape: bare
        result: boolean
        hazard: It may wait for ever.
        doc: Waits too.
",
    );
    let list = &file.commands[0].list;
    assert_eq!(
        [(list[0].shape, list[0].result), (list[1].shape, list[1].result)],
        [(CallShape::Argument, CallResult::None), (CallShape::Bare, CallResult::Boolean)]
    );
    assert_eq!(list[0].head.c.as_deref(), Some("SCHEDOP_poll"));
    assert_eq!(list[1].hazard.as_deref(), Some("It may wait for ever."));
}

#[test]
fn what_can_be_replaced_does_not_keep_the_rest_from_being_judged() {
    let (wrong, whole) =
        messages("constants: [{ name: A, type: u32, value: 1, colour: red, since: 4.9 }]");
    assert_eq!(
        wrong,
        ["unknown key `colour`", "the key `doc` is missing", "a release must be in quotes"]
    );
    assert!(whole);
    let (wrong, whole) = messages(
        "constants: [{ name: A, type: u32, value: one, doc: The first. },
                     { name: B, tipe: u8, value: 1, doc: The other. }]",
    );
    assert_eq!(wrong, ["expected a whole number, found the text `one`", "unknown key `tipe`"]);
    assert!(!whole);
}

#[test]
fn a_misspelt_key_is_the_only_error() {
    let rows = [
        ("bloks: {}", "unknown key `bloks`"),
        ("constants: [{ nam: A, type: u32, value: 1, doc: The first. }]", "unknown key `nam`"),
        ("constants: [{ name: A, type: u32, value: 1, dok: The first. }]", "unknown key `dok`"),
        (
            "enumerations: { a: { is: u8, doc: Some., valus: [{ name: B }] } }",
            "unknown key `valus`",
        ),
        (
            "enumerations: { a: { is: u8, doc: Some., prefx: A_, values: [] } }",
            "unknown key `prefx`",
        ),
        ("types: { a: { is: u8, cout: 4, doc: Some. } }", "unknown key `cout`"),
        (
            "blocks: { a: { doc: One., fields: [{ name: b, type: u8, acess: index, doc: B. }] } }",
            "unknown key `acess`",
        ),
        (
            "arguments: { a: { doc: One., fields: [{ name: b, type: u8,
                                                     judge: \"doc, direction\" }] } }",
            "left to judge: doc, direction",
        ),
    ];
    for (text, expected) in rows {
        let (wrong, whole) = messages(text);
        assert_eq!(wrong, [expected], "{text}");
        // What is left to a person has a type and a value all the same.
        assert_eq!(whole, text.contains("judge"), "{text}");
    }
    let (wrong, _) = messages("constants: [{ name: A, value: 1, doc: One., judge: doc }]");
    assert_eq!(wrong, ["left to judge: doc", "the key `type` is missing"]);
    // What the section holds would be missed elsewhere.
    let (wrong, whole) = messages(
        "argumens: { a: { doc: One., fields: [] } }
commands:
  sched_op:
    doc: Some.
    list: [{ name: b, number: 0, argument: a, shape: argument, result: none, doc: One. }]",
    );
    assert_eq!((wrong.as_slice(), whole), (&["unknown key `argumens`".to_owned()][..], false));
}

/// Small edits of a description: a piece cut out, doubled, or replaced.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, &'static str)>> {
    let pieces = [
        "",
        "&a ",
        "*a ",
        "!t ",
        "[",
        "]",
        "{",
        "}",
        ":",
        ": ",
        "- ",
        "\"",
        "'",
        "#",
        "\n",
        "  ",
        "\t",
        "4.10",
        "é",
        "-1",
        "0",
        "99999999999999999999",
    ];
    proptest::collection::vec(
        (any::<usize>(), 0_usize..12, proptest::sample::select(pieces.to_vec())),
        1..4,
    )
}

fn edited(text: &str, edits: &[(usize, usize, &str)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, length, piece) in edits {
        let start = at % (chars.len() + 1);
        let end = (start + length).min(chars.len());
        chars.splice(start..end, piece.chars());
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// An edited description is understood or answered: nothing panics, and no document is missing
    /// without a reason.
    #[test]
    fn edited_descriptions_are_answered(which in 0_usize..4, edits in edits()) {
        let names = ["shared_info", "hvm", "event_channel", "manifest"];
        let folder = crate::commands::workspace_root().join("abi-yaml");
        let read = |name: &str| {
            std::fs::read_to_string(folder.join(name).with_extension("yaml")).unwrap()
        };
        let (manifest, file) = match names[which] {
            "manifest" => (edited(&read("manifest"), &edits), read("version")),
            name => (MANIFEST.to_owned(), edited(&read(name), &edits)),
        };
        let texts = [("manifest", manifest.as_str()), ("file", file.as_str())];
        let sources = Sources::from_texts(texts);
        let (document, errors) = document(&sources);
        prop_assert!(document.is_some() || !errors.is_empty());
        let drawn = crate::diagnostic::render(&errors, &sources, false);
        prop_assert!(drawn.matches("error: ").count() >= errors.len());
        if let Some(document) = document {
            let found = crate::check::run(&document);
            let drawn = crate::diagnostic::render(&found, &sources, false);
            prop_assert_eq!(drawn.is_empty(), found.is_empty());
        }
    }
}
