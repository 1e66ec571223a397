//! Types, constants, enumerations, words and encodings.

use super::context::{Context, Keys, listed};
use super::head::{Outer, PLAIN, Rules, doc, group_head, head, name, optional_text};
use super::node::At;
use super::typerefs::{per_arch, pointed_type_per_arch};
use crate::document::language;
use crate::document::{
    BitField, Constant, Encoding, Enumeration, Radix, StringConstant, TypeAlias, Value, Variant,
    VariantField, VariantKind, Word,
};
use std::collections::BTreeMap;

pub(super) fn alias(
    context: &Context<'_>,
    at: &At<'_>,
    name: &str,
    outer: &Outer,
) -> Option<TypeAlias> {
    let keys = Keys::open(context.errors, at, &language::TYPE)?;
    let head = head(context, &keys, name.to_owned(), outer, PLAIN);
    let is = pointed_type_per_arch(context, &keys);
    let count = keys.get("count").map(|at| per_arch(context, &at, At::count));
    Some(TypeAlias { head, is: is?, count: count.flatten() })
}

pub(super) fn constant(context: &Context<'_>, at: &At<'_>, outer: &Outer) -> Option<Constant> {
    let keys = Keys::open(context.errors, at, &language::CONSTANT)?;
    let head = name(context, &keys).map(|name| head(context, &keys, name, outer, PLAIN));
    let type_ = keys.need(context.errors, "type").and_then(|at| context.errors.need(at.type_ref()));
    let at = keys.need(context.errors, "value");
    let radix = at.as_ref().map_or(Radix::Decimal, At::radix);
    let value = at.and_then(|at| per_arch(context, &at, At::integer));
    Some(Constant { head: head?, type_: type_?, value: value?, radix })
}

pub(super) fn string(context: &Context<'_>, at: &At<'_>, outer: &Outer) -> Option<StringConstant> {
    let keys = Keys::open(context.errors, at, &language::STRING)?;
    let head = name(context, &keys).map(|name| head(context, &keys, name, outer, PLAIN));
    let at = keys.need(context.errors, "value");
    let value = at.and_then(|at| per_arch(context, &at, |at| at.ascii().map(str::to_owned)));
    Some(StringConstant { head: head?, value: value? })
}

pub(super) fn enumeration(
    context: &Context<'_>,
    at: &At<'_>,
    name: &str,
    outer: &Outer,
) -> Option<Enumeration> {
    let keys = Keys::open(context.errors, at, &language::ENUMERATION)?;
    let head = group_head(context, &keys, name, outer);
    let is = keys.need(context.errors, "is").and_then(|at| context.errors.need(at.primitive()));
    let prefix = optional_text(context, &keys, "prefix").unwrap_or_default();
    let alias = keys.get("alias").is_some_and(|at| context.errors.or(at.boolean(), false));
    if !keys.has("values") {
        keys.missing(context.errors, "values", "");
    }
    let values =
        listed(context, &keys, "values", |at| value(context, at, &prefix, &Outer::of(&head)));
    Some(Enumeration { is: is?, prefix, alias, values, head })
}

/// Returns a named value of an enumeration or of a bit field.
pub(super) fn value(
    context: &Context<'_>,
    at: &At<'_>,
    prefix: &str,
    outer: &Outer,
) -> Option<Value> {
    let keys = Keys::open(context.errors, at, &language::VALUE)?;
    let head = name(context, &keys)
        .map(|name| head(context, &keys, name, outer, Rules { prefix, silent: false }));
    let at = keys.need(context.errors, "value");
    let radix = at.as_ref().map_or(Radix::Decimal, At::radix);
    let value = at.and_then(|at| context.errors.need(at.integer()));
    Some(Value { head: head?, value: value?, radix })
}

pub(super) fn word(context: &Context<'_>, at: &At<'_>, name: &str, outer: &Outer) -> Option<Word> {
    let keys = Keys::open(context.errors, at, &language::WORD)?;
    let head = group_head(context, &keys, name, outer);
    let is = keys.need(context.errors, "is").and_then(|at| context.errors.need(at.primitive()));
    let prefix = optional_text(context, &keys, "prefix").unwrap_or_default();
    if !keys.has("fields") {
        keys.missing(context.errors, "fields", "");
    }
    let fields =
        listed(context, &keys, "fields", |at| bit_field(context, at, &prefix, &Outer::of(&head)));
    Some(Word { is: is?, prefix, fields, head })
}

fn bit_field(context: &Context<'_>, at: &At<'_>, prefix: &str, outer: &Outer) -> Option<BitField> {
    let keys = Keys::open(context.errors, at, &language::BIT_FIELD)?;
    let head = name(context, &keys)
        .map(|name| head(context, &keys, name, outer, Rules { prefix, silent: false }));
    let bits = keys.need(context.errors, "bits").and_then(|at| context.errors.need(at.bits()));
    let index_c = optional_text(context, &keys, "index_c");
    let inner = head.as_ref().map_or_else(|| outer.clone(), Outer::of);
    let values = listed(context, &keys, "values", |at| value(context, at, prefix, &inner));
    Some(BitField { head: head?, bits: bits?, index_c, values })
}

pub(super) fn encoding(
    context: &Context<'_>,
    at: &At<'_>,
    name: &str,
    outer: &Outer,
) -> Option<Encoding> {
    let keys = Keys::open(context.errors, at, &language::ENCODING)?;
    let head = group_head(context, &keys, name, outer);
    let is = keys.need(context.errors, "is").and_then(|at| context.errors.need(at.primitive()));
    let tag = keys.need(context.errors, "tag").and_then(|at| context.errors.need(at.bits()));
    if !keys.has("variants") {
        keys.missing(context.errors, "variants", "");
    }
    let variants = listed(context, &keys, "variants", |at| variant(context, at, &Outer::of(&head)));
    Some(Encoding { is: is?, tag: tag?, variants, head })
}

fn variant(context: &Context<'_>, at: &At<'_>, outer: &Outer) -> Option<Variant> {
    let keys = Keys::open(context.errors, at, &language::VARIANT)?;
    let head = name(context, &keys).map(|name| head(context, &keys, name, outer, PLAIN));
    let kind = kind(context, &keys);
    Some(Variant { head: head?, kind: kind? })
}

/// Either one whole value, or a tag and fields.
fn kind(context: &Context<'_>, keys: &Keys<'_>) -> Option<VariantKind> {
    let (value, tag) = (keys.get("value"), keys.get("tag"));
    if value.is_some() && (tag.is_some() || keys.has("fields") || keys.has("example")) {
        let wrong = keys.at.wrong("a form is either one whole value or a tag with fields");
        context.errors.add_and_leave_out(wrong.help("give `value`, or `tag` and `fields`"));
    }
    let fields = listed(context, keys, "fields", |at| variant_field(context, at));
    let example = keys.get("example").and_then(|at| example(context, &at));
    match (value, tag) {
        (Some(value), _) => context.errors.need(value.unsigned()).map(VariantKind::Value),
        (None, Some(tag)) => {
            Some(VariantKind::Fields { tag: context.errors.need(tag.unsigned())?, fields, example })
        }
        (None, None) => {
            context.errors.leave_out();
            keys.missing(context.errors, "tag", "give `tag`, or `value` for one whole value");
            None
        }
    }
}

fn variant_field(context: &Context<'_>, at: &At<'_>) -> Option<VariantField> {
    let keys = Keys::open(context.errors, at, &language::VARIANT_FIELD)?;
    let name = name(context, &keys);
    let doc = doc(context, &keys, false);
    let bits = keys.need(context.errors, "bits").and_then(|at| context.errors.need(at.bits()));
    let bound = |key| keys.get(key).map(|at| context.errors.need(at.unsigned()));
    let (min, max) = (bound("min"), bound("max"));
    let bits = bits?;
    let max = max.unwrap_or(Some(u64::MAX >> (64 - bits.width())));
    Some(VariantField {
        name: name?,
        doc,
        bits,
        min: min.unwrap_or(Some(0))?,
        max: max?,
        place: at.place(),
    })
}

/// Returns the whole under `value`, and each field's value under its name.
fn example(context: &Context<'_>, at: &At<'_>) -> Option<(u64, BTreeMap<String, u64>)> {
    let mapping = context.errors.need(at.mapping("a mapping from fields to values"))?;
    let mut fields = BTreeMap::new();
    for entry in &mapping.entries {
        fields.insert(entry.key.to_string(), context.errors.need(at.entry(entry).unsigned())?);
    }
    let whole = fields.remove("value");
    if whole.is_none() {
        context
            .errors
            .add_and_leave_out(at.wrong("the key `value` is missing").label("has no `value`"));
    }
    Some((whole?, fields))
}
