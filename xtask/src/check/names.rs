//! Checks that names can become Rust names, and that these are unique in their module, type or
//! function.

use super::duplicates::Unique;
use super::report::{Report, fault};
use super::{Context, Kind, items, name_at, name_of, structs};
use crate::document::{
    Access, Availability, Encoding, Field, FieldUse, File, Head, Shape, Struct, StructKind,
    VariantKind, Word,
};
use crate::naming::{
    self, CONSTANT, COUNT, FIELD, FROM, MODULE, PUBLISH, Rule, SNAPSHOT_WITH, TYPE,
};
use crate::naming::{VARIANT, VARIANTS, is_identifier, is_keyword};
use crate::yaml::Place;

/// Modules that every generated file may have of its own, and what generated code uses of Rust by
/// short names.
const OF_FILES: [&str; 24] = [
    "raw", "command", "layout", "Default", "Err", "None", "Ok", "Option", "Result", "Some",
    "FnMut", "u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize", "bool", "str",
    "char",
];

/// Hand-written modules of the crate, the module of the generated ones, and crates.
const BY_HAND: [&str; 9] = [
    "access",
    "command",
    "generated",
    "release",
    "tests",
    "core",
    "std",
    "alloc",
    "tock_registers",
];

/// What every block has.
const OF_BLOCKS: [&str; 2] = ["from_ptr", "as_ptr"];

/// What every union has.
const OF_UNIONS: [&str; 1] = ["ZEROED"];

/// What every encoding has.
const OF_ENCODINGS: [&str; 4] = ["encode", "decode", "variant", "is_valid"];

/// What every word's module has, and integers, which the fields' types name.
const OF_WORDS: [&str; 6] = ["Register", "u8", "u16", "u32", "u64", "usize"];

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    modules(context, report);
    for file in &context.document.files {
        module(context, report, file);
        for item in &file.enumerations {
            list(context, report, item.values.iter().map(|value| &value.head), CONSTANT);
        }
        file.words.iter().for_each(|item| word(context, report, item));
        file.encodings.iter().for_each(|item| encoding(context, report, item));
        file.structs.iter().for_each(|item| struct_(context, report, item));
        for set in &file.commands {
            list(context, report, set.list.iter().map(|command| &command.head), TYPE);
        }
        let mut sets = Unique::with_verb("module", "become the");
        for set in &file.commands {
            sets.add(
                MODULE.name(&set.hypercall),
                &set.hypercall,
                everywhere(context),
                set.place.as_key(),
            );
        }
        sets.check(context, report);
    }
}

/// Names that are no identifiers, and keywords.
pub(super) fn identifiers(context: &Context<'_>, report: &mut Report<'_>) {
    for file in &context.document.files {
        identifier(report, &file.name, true, || Place::root(&file.name));
    }
    for item in items(context.document) {
        let small = matches!(
            item.kind,
            Kind::Field | Kind::Padding | Kind::BitField | Kind::Word | Kind::Variant
        );
        identifier(report, &item.head.name, small, || name_of(item.head));
    }
    for encoding in context.document.files.iter().flat_map(|file| &file.encodings) {
        for variant in &encoding.variants {
            let VariantKind::Fields { fields, .. } = &variant.kind else { continue };
            for field in fields {
                identifier(report, &field.name, true, || name_at(&field.place));
            }
        }
    }
    texts(context, report);
    for snapshot in structs(context.document).flat_map(|block| &block.snapshots) {
        identifier(report, &snapshot.name, true, || name_at(&snapshot.place));
        for member in &snapshot.members {
            identifier(report, &member.name, true, || name_at(&member.place));
        }
    }
}

/// Texts that are names of C, or the paths of headers.
fn texts(context: &Context<'_>, report: &mut Report<'_>) {
    let c = |name: &str| name.split('.').all(is_identifier);
    let prefix = |text: &str| text.is_empty() || is_identifier(&format!("{text}x"));
    let header = |path: &str| {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        let is_step = |step: &str| {
            step.starts_with(|c: char| c.is_ascii_alphanumeric()) && step.chars().all(is_part)
        };
        path.ends_with(".h") && path.split('/').all(is_step)
    };
    let mut wrong = |text: &str, place: Place, what: &str| {
        report.add(fault(place, format!("`{}` is not {what}", shown(text))));
    };
    for item in items(context.document) {
        let head = item.head;
        if !header(&head.header) {
            let at = head.place.key("header");
            wrong(&head.header, at, "the path of a header, such as `xen.h` or `hvm/params.h`");
        }
        if let Some(name) = head.c.as_ref().filter(|name| **name != head.name && !c(name)) {
            wrong(name, head.place.key("c"), "a name of C");
        }
    }
    for file in &context.document.files {
        let enumerations = file.enumerations.iter().map(|item| (&item.prefix, &item.head.place));
        let words = file.words.iter().map(|item| (&item.prefix, &item.head.place));
        let sets = file.commands.iter().map(|set| (&set.prefix, &set.place));
        for (text, place) in enumerations.chain(words).chain(sets) {
            if !prefix(text) {
                wrong(text, place.key("prefix"), "what a name of C can begin with");
            }
        }
        for field in file.words.iter().flat_map(|word| &word.fields) {
            if let Some(name) = field.index_c.as_ref().filter(|name| !c(name)) {
                wrong(name, field.head.place.key("index_c"), "a name of C");
            }
        }
    }
}

/// Checks a name; `small` says whether Rust writes it in small letters, as most keywords are.
fn identifier(report: &mut Report<'_>, name: &str, small: bool, place: impl Fn() -> Place) {
    if !is_identifier(name) {
        let help = "use letters, digits and `_`, not starting with a digit; where C's name \
                    differs, add `c`";
        report.add(fault(place(), format!("`{}` is no identifier", shown(name))).help(help));
    } else if is_keyword(name) || small && is_keyword(&name.to_ascii_lowercase()) {
        report.add(fault(place(), format!("`{name}` is a keyword of Rust")).help(advice(name)));
    }
}

/// Returns a name of bearable length.
fn shown(name: &str) -> String {
    let mut start: String = name.chars().take(40).collect();
    if start.len() < name.len() {
        start.push_str("...");
    }
    start
}

fn advice(name: &str) -> String {
    let name = name.trim_end_matches('_');
    format!("choose another name, such as `{name}_`, and give C's name with `c`")
}

/// The generated files, which are modules of the crate beside those written by hand.
fn modules(context: &Context<'_>, report: &mut Report<'_>) {
    let mut names = Unique::with_verb("module", "become the");
    for file in &context.document.files {
        let name = MODULE.name(&file.name);
        if BY_HAND.contains(&name.as_str()) {
            let found = fault(
                Place::root(&file.name),
                format!("the crate has a module `{name}` already, which is written by hand"),
            );
            report.add(found.help("give the file another name"));
        }
        names.add(name, &file.name, everywhere(context), Place::root(&file.name));
    }
    names.check(context, report);
}

/// What a generated file has at its top: types, constants and modules.
fn module<'d>(context: &Context<'_>, report: &mut Report<'_>, file: &'d File) {
    let mut names = Unique::with_verb("Rust item", "become the");
    let mut reserved = Vec::new();
    {
        let mut add = |key: String, name, availability, place: Place| {
            if OF_FILES.contains(&key.as_str()) {
                reserved.push((key.clone(), place.clone()));
            }
            names.add(key, name, availability, place);
        };
        let mut head = |rule: Rule, head: &'d Head| {
            add(rule.name(&head.name), &head.name, head.availability, name_of(head));
        };
        file.types.iter().for_each(|item| head(TYPE, &item.head));
        file.enumerations.iter().for_each(|item| head(TYPE, &item.head));
        for item in &file.encodings {
            head(TYPE, &item.head);
            head(VARIANTS, &item.head);
        }
        file.words.iter().for_each(|item| head(MODULE, &item.head));
        file.constants.iter().for_each(|item| head(CONSTANT, &item.head));
        file.strings.iter().for_each(|item| head(CONSTANT, &item.head));
        for item in &file.structs {
            head(TYPE, &item.head);
        }
        for item in &file.structs {
            of_struct(item, &mut add);
        }
    }
    for (name, place) in reserved {
        needed(report, &name, place);
    }
    names.check(context, report);
}

/// The types that are made of the inside of a struct: unions, inner structs, snapshots.
fn of_struct<'d>(item: &'d Struct, add: &mut impl FnMut(String, &'d str, Availability, Place)) {
    let own = TYPE.name(&item.head.name);
    for snapshot in &item.snapshots {
        let name = naming::inner(&own, &snapshot.name);
        add(name, &snapshot.name, item.head.availability, name_at(&snapshot.place));
    }
    let mut rest: Vec<(String, &Field)> =
        item.fields.iter().rev().map(|field| (own.clone(), field)).collect();
    while let Some((outer, field)) = rest.pop() {
        let members = field.members();
        if !members.is_empty() && outer.len() < 1000 {
            let own = naming::inner(&outer, &field.head.name);
            rest.extend(members.iter().rev().map(|member| (own.clone(), member)));
            add(own, &field.head.name, field.head.availability, name_of(&field.head));
        }
    }
}

/// The module of a word: constants of fields, and modules of their values.
fn word(context: &Context<'_>, report: &mut Report<'_>, item: &Word) {
    let mut names = Unique::with_verb("Rust name", "become the");
    for Head { name, availability, place, .. } in item.fields.iter().map(|field| &field.head) {
        names.add(CONSTANT.name(name), name, *availability, name_at(place));
    }
    for field in item.fields.iter().filter(|field| !field.values.is_empty()) {
        let head = &field.head;
        let name = MODULE.name(&head.name);
        if OF_WORDS.contains(&name.as_str()) {
            needed(report, &name, name_of(head));
        }
        names.add(name, &head.name, head.availability, name_of(head));
        list(context, report, field.values.iter().map(|value| &value.head), CONSTANT);
    }
    names.check(context, report);
}

/// The functions of an encoding, its forms, and the fields of each.
fn encoding(context: &Context<'_>, report: &mut Report<'_>, item: &Encoding) {
    let variants = || item.variants.iter();
    list(context, report, variants().map(|variant| &variant.head), VARIANT);
    let mut functions = Unique::with_verb("Rust name", "become the");
    for variant in variants() {
        let head = &variant.head;
        let rule = match &variant.kind {
            VariantKind::Value(_) => CONSTANT,
            VariantKind::Fields { fields, .. } => {
                let mut names = Unique::with_verb("Rust name", "become the");
                for field in fields {
                    let name = FIELD.name(&field.name);
                    names.add(name, &field.name, head.availability, name_at(&field.place));
                }
                names.check(context, report);
                own(report, &FIELD.name(&head.name), &OF_ENCODINGS, || name_of(head));
                FIELD
            }
        };
        functions.add(rule.name(&head.name), &head.name, head.availability, name_of(head));
    }
    functions.check(context, report);
}

/// The fields of a struct and of what lies in it; the methods of a block's handle and of unions.
fn struct_(context: &Context<'_>, report: &mut Report<'_>, item: &Struct) {
    list(context, report, item.fields.iter().map(|field| &field.head), FIELD);
    let mut rest: Vec<&Field> = item.fields.iter().collect();
    while let Some(field) = rest.pop() {
        let members = field.members();
        rest.extend(members);
        if matches!(field.shape, Shape::Union { .. }) {
            let mut names = Unique::with_verb("Rust name", "become the");
            for Head { name, availability, place, .. } in members.iter().map(|member| &member.head)
            {
                for rule in [FIELD, FROM] {
                    own(report, &rule.name(name), &OF_UNIONS, || name_at(place));
                    names.add(rule.name(name), name, *availability, name_at(place));
                }
            }
            names.check(context, report);
        } else if !members.is_empty() {
            list(context, report, members.iter().map(|member| &member.head), FIELD);
        }
    }
    if item.kind == StructKind::Block {
        handle(context, report, item);
    }
}

fn handle(context: &Context<'_>, report: &mut Report<'_>, item: &Struct) {
    let mut methods = Unique::with_verb("method", "become the");
    for field in item.fields.iter().filter(|field| has_method(field)) {
        let head = &field.head;
        for rule in [FIELD, COUNT].into_iter().take(1 + usize::from(field.count.is_some())) {
            own(report, &rule.name(&head.name), &OF_BLOCKS, || name_of(head));
            methods.add(rule.name(&head.name), &head.name, head.availability, name_of(head));
        }
    }
    let availability = item.head.availability;
    for snapshot in &item.snapshots {
        for rule in [FIELD, SNAPSHOT_WITH, PUBLISH] {
            let (name, place) = (rule.name(&snapshot.name), name_at(&snapshot.place));
            own(report, &name, &OF_BLOCKS, || place.clone());
            methods.add(name, &snapshot.name, availability, place);
        }
        let mut members = Unique::with_verb("Rust name", "become the");
        for member in &snapshot.members {
            members.add(
                FIELD.name(&member.name),
                &member.name,
                availability,
                name_at(&member.place),
            );
        }
        members.check(context, report);
    }
    methods.check(context, report);
}

/// Returns a name that everything of its kind has already.
fn own(report: &mut Report<'_>, name: &str, own: &[&str], place: impl Fn() -> Place) {
    if own.contains(&name) {
        let message =
            format!("`{name}` is the name of a method that the generated type has already");
        report.add(fault(place(), message).help(advice(name)));
    }
}

fn needed(report: &mut Report<'_>, name: &str, place: Place) {
    let found = fault(place, format!("`{name}` is a name that generated code needs itself"));
    report.add(found.help(advice(name)));
}

fn has_method(field: &Field) -> bool {
    !matches!(
        field.use_,
        FieldUse::Access(Access::Versioned | Access::Counter) | FieldUse::Reserved
    )
}

/// Names that differ in the description; another rule reports those that do not.
fn list<'d>(
    context: &Context<'_>,
    report: &mut Report<'_>,
    heads: impl Iterator<Item = &'d Head>,
    rule: Rule,
) {
    let mut unique = Unique::with_verb("Rust name", "become the");
    for head in heads {
        unique.add(rule.name(&head.name), &head.name, head.availability, name_of(head));
    }
    unique.check(context, report);
}

fn everywhere(context: &Context<'_>) -> Availability {
    let manifest = context.manifest();
    Availability {
        releases: manifest.all_releases(),
        honoured_since: None,
        archs: manifest.all_archs(),
    }
}
