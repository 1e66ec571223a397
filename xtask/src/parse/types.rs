//! Types, constants and enumerations.

use super::Context;
use super::at::At;
use super::file::listed;
use super::head::{Outer, PLAIN, Rules, head, name, optional_text};
use super::keys::Keys;
use super::typerefs::{per_arch, pointed_type_per_arch};
use crate::document::{Constant, Enumeration, TypeAlias, Value};

pub(super) fn alias(
    context: &Context<'_>,
    at: &At<'_>,
    name: &str,
    outer: &Outer,
) -> Option<TypeAlias> {
    let keys = Keys::open(context.errors, at, "a type")?;
    let head = head(context, &keys, name.to_owned(), outer, PLAIN);
    let is = pointed_type_per_arch(context, &keys);
    let count = keys.get("count").map(|at| per_arch(context, &at, At::count));
    keys.finish(context.errors);
    Some(TypeAlias { head, is: is?, count: count.flatten() })
}

pub(super) fn constant(context: &Context<'_>, at: &At<'_>, outer: &Outer) -> Option<Constant> {
    let keys = Keys::open(context.errors, at, "a constant")?;
    let head = name(context, &keys).map(|name| head(context, &keys, name, outer, PLAIN));
    let type_ = keys.need(context.errors, "type").and_then(|at| context.errors.need(at.type_ref()));
    let value =
        keys.need(context.errors, "value").and_then(|at| per_arch(context, &at, At::integer));
    finish_head(&keys, head.is_some());
    keys.finish(context.errors);
    Some(Constant { head: head?, type_: type_?, value: value? })
}

/// Where the name is missing the head was not read; its keys are known all the same.
pub(super) fn finish_head(keys: &Keys<'_>, read: bool) {
    if !read {
        for key in [
            "doc",
            "header",
            "since",
            "until",
            "honoured_since",
            "arch",
            "c",
            "named_since",
            "superseded_by",
        ] {
            keys.has(key);
        }
    }
}

pub(super) fn enumeration(
    context: &Context<'_>,
    at: &At<'_>,
    name: &str,
    outer: &Outer,
) -> Option<Enumeration> {
    let keys = Keys::open(context.errors, at, "an enumeration")?;
    let head = head(context, &keys, name.to_owned(), outer, PLAIN);
    let is = keys.need(context.errors, "is").and_then(|at| context.errors.need(at.primitive()));
    let prefix = optional_text(context, &keys, "prefix").unwrap_or_default();
    let alias = keys.get("alias").is_some_and(|at| context.errors.or(at.boolean(), false));
    if !keys.has("values") {
        context.errors.add(keys.missing("values"));
    }
    let values =
        listed(context, &keys, "values", |at| value(context, at, &prefix, &Outer::of(&head)));
    keys.finish(context.errors);
    Some(Enumeration { is: is?, prefix, alias, values, head })
}

/// A named value of an enumeration or of a bit field.
pub(super) fn value(
    context: &Context<'_>,
    at: &At<'_>,
    prefix: &str,
    outer: &Outer,
) -> Option<Value> {
    let keys = Keys::open(context.errors, at, "a value with a name")?;
    let head = name(context, &keys)
        .map(|name| head(context, &keys, name, outer, Rules { prefix, silent: false }));
    let value = keys.need(context.errors, "value").and_then(|at| context.errors.need(at.integer()));
    finish_head(&keys, head.is_some());
    keys.finish(context.errors);
    Some(Value { head: head?, value: value? })
}
