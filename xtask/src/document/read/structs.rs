//! Blocks and arguments.

use super::context::{Context, Keys, listed};
use super::head::{Outer, PLAIN, Rules, doc, head, name};
use super::node::At;
use super::typerefs::{per_arch, pointed_type};
use crate::diagnostic::Diagnostic;
use crate::document::language;
use crate::document::structs::{ACCESSES, AccessName};
use crate::document::{
    Access, Direction, Field, FieldUse, Shape, Snapshot, SnapshotMember, Struct, StructKind, Writer,
};
use crate::yaml::Value;

/// Whose field is read, as far as it matters to what the field may say.
#[derive(Clone, Copy)]
enum Holder {
    Block,
    Argument,
    /// A union or struct inside an argument: its members go the way of the field that holds them.
    Member(FieldUse),
}

pub(super) fn struct_(
    context: &Context<'_>,
    at: &At<'_>,
    name: &str,
    kind: StructKind,
    outer: &Outer,
) -> Option<Struct> {
    let (table, holder) = match kind {
        StructKind::Block => (&language::BLOCK, Holder::Block),
        StructKind::Argument => (&language::ARGUMENT, Holder::Argument),
    };
    let keys = Keys::open(context.errors, at, table)?;
    let head = head(context, &keys, name.to_owned(), outer, PLAIN);
    let size = keys.get("size").map(|at| per_arch(context, &at, At::unsigned));
    if !keys.has("fields") {
        keys.missing(context.errors, "fields", "a struct without any has `fields: []`");
    }
    let fields =
        listed(context, &keys, "fields", |at| field(context, at, holder, &Outer::of(&head)));
    let snapshots = if kind == StructKind::Block { snapshots(context, &keys) } else { Vec::new() };
    Some(Struct { head, kind, size: size.flatten(), fields, snapshots })
}

fn field(context: &Context<'_>, at: &At<'_>, holder: Holder, outer: &Outer) -> Option<Field> {
    let table = match holder {
        Holder::Block => &language::BLOCK_FIELD,
        Holder::Argument => &language::ARGUMENT_FIELD,
        Holder::Member(_) => &language::MEMBER,
    };
    let keys = Keys::open(context.errors, at, table)?;
    let use_ = match holder {
        Holder::Block => access(context, &keys),
        Holder::Argument => direction(context, &keys),
        Holder::Member(inherited) => {
            if reserved(context, &keys) {
                FieldUse::Reserved
            } else {
                inherited
            }
        }
    };
    let rules = Rules { silent: use_ == FieldUse::Reserved, ..PLAIN };
    let head = name(context, &keys).map(|name| head(context, &keys, name, outer, rules));
    let inner = head.as_ref().map_or_else(|| outer.clone(), Outer::of);
    let shape = match holder {
        Holder::Block => pointed_type(context, &keys, "type").map(Shape::Type),
        Holder::Argument | Holder::Member(_) => shape(context, &keys, use_, &inner),
    };
    let count = keys.get("count").map(|at| per_arch(context, &at, At::count));
    Some(Field { head: head?, shape: shape?, count: count.flatten(), use_ })
}

/// Returns a type, or members of its own.
fn shape(context: &Context<'_>, keys: &Keys<'_>, use_: FieldUse, outer: &Outer) -> Option<Shape> {
    let anonymous = keys.get("anonymous");
    let kinds = ["type", "union", "struct"].into_iter().filter(|kind| keys.has(kind)).count();
    if kinds > 1 {
        context.errors.add_and_leave_out(
            keys.at
                .wrong("a field has one of `type`, `union` and `struct`")
                .label("has more than one"),
        );
    }
    let members =
        |key| listed(context, keys, key, |at| field(context, at, Holder::Member(use_), outer));
    if keys.has("union") {
        let anonymous = anonymous.is_some_and(|at| context.errors.or(at.boolean(), false));
        let members = members("union");
        if keys
            .get("union")
            .is_some_and(|at| matches!(&at.node.value, Value::Sequence(items) if items.is_empty()))
        {
            context.errors.add(
                keys.at.wrong("a union without members").label("empty").help("leave the field out"),
            );
        }
        return Some(Shape::Union { members, anonymous });
    }
    if let Some(anonymous) = anonymous {
        let place = anonymous.place().as_key();
        context.errors.add(
            Diagnostic::new(place, "only a union can be anonymous").label("this field is no union"),
        );
    }
    if keys.has("struct") {
        return Some(Shape::Struct(members("struct")));
    }
    if kinds == 0 {
        context.errors.leave_out();
        keys.missing(
            context.errors,
            "type",
            "give `type`, or the members under `union` or `struct`",
        );
        return None;
    }
    pointed_type(context, keys, "type").map(Shape::Type)
}

/// Who touches a block's field, and how; a field without access is a block itself.
fn access(context: &Context<'_>, keys: &Keys<'_>) -> FieldUse {
    let (access, writer) = (keys.get("access"), keys.get("writer"));
    let Some(at) = access else {
        refuse_writer(context, writer.as_ref(), "a field without `access` has no writer");
        return FieldUse::Nested;
    };
    let instead = AccessName::Written(Access::Plain);
    let (name, known) = match at.choice("an access", &ACCESSES) {
        Ok(name) => (name, true),
        Err(wrong) => {
            context.errors.add(*wrong);
            (instead, false)
        }
    };
    match (name, writer) {
        (AccessName::Alone(use_), writer) => {
            refuse_writer(context, writer.as_ref(), "only `index` and `plain` have a writer");
            use_
        }
        (AccessName::Written(access), Some(writer)) => FieldUse::Access(access(
            context.errors.or(writer.choice("a writer", &Writer::ALL), Writer::Guest),
        )),
        (AccessName::Written(access), None) => {
            if known {
                let wrong = at.wrong("the key `writer` is missing").label("needs a `writer`");
                context
                    .errors
                    .add(wrong.help("say which side writes it: `writer: guest` or `writer: xen`"));
            }
            FieldUse::Access(access(Writer::Guest))
        }
    }
}

fn refuse_writer(context: &Context<'_>, writer: Option<&At<'_>>, message: &str) {
    if let Some(writer) = writer {
        context
            .errors
            .add(Diagnostic::new(writer.place().as_key(), message).label("not allowed here"));
    }
}

/// Which way an argument's field goes.
fn direction(context: &Context<'_>, keys: &Keys<'_>) -> FieldUse {
    let direction = keys.get("direction");
    match (reserved(context, keys), direction) {
        (true, None) => FieldUse::Reserved,
        (true, Some(at)) => {
            let wrong = Diagnostic::new(at.place().as_key(), "a reserved field goes neither way");
            context.errors.add(wrong.label("not allowed beside `reserved`"));
            FieldUse::Reserved
        }
        (false, Some(at)) => FieldUse::Direction(
            context.errors.or(at.choice("a direction", &Direction::ALL), Direction::Both),
        ),
        (false, None) => {
            keys.missing(context.errors, "direction", "write `direction: in`, `out` or `both`");
            FieldUse::Direction(Direction::Both)
        }
    }
}

fn reserved(context: &Context<'_>, keys: &Keys<'_>) -> bool {
    keys.get("reserved").is_some_and(|at| context.errors.or(at.boolean(), false))
}

fn snapshots(context: &Context<'_>, keys: &Keys<'_>) -> Vec<Snapshot> {
    let Some(at) = keys.get("snapshots") else { return Vec::new() };
    let Some(mapping) = context.errors.need(at.mapping("a mapping from names to snapshots")) else {
        return Vec::new();
    };
    mapping
        .entries
        .iter()
        .filter_map(|entry| snapshot(context, &at.entry(entry), &entry.key))
        .collect()
}

fn snapshot(context: &Context<'_>, at: &At<'_>, name: &str) -> Option<Snapshot> {
    let keys = Keys::open(context.errors, at, &language::SNAPSHOT)?;
    let doc = doc(context, &keys, false);
    let counter = keys
        .need(context.errors, "counter")
        .and_then(|at| context.errors.need(at.text("the name of a field")));
    let members = keys.need(context.errors, "members").map(|at| members(context, &at));
    Some(Snapshot {
        name: name.to_owned(),
        doc,
        counter: counter?.to_owned(),
        members: members?,
        place: at.place(),
    })
}

fn members(context: &Context<'_>, at: &At<'_>) -> Vec<SnapshotMember> {
    let Some(mapping) = context.errors.need(at.mapping("a mapping from names to fields")) else {
        return Vec::new();
    };
    let member = |entry| {
        let at: At<'_> = at.entry(entry);
        let path = per_arch(context, &at, |at| at.text("the path of a field").map(str::to_owned))?;
        Some(SnapshotMember { name: entry.key.to_string(), path, place: at.place() })
    };
    mapping.entries.iter().filter_map(member).collect()
}
