//! Types, counts, and values that differ by architecture.

use super::context::{Context, Keys};
use super::node::{At, Wrong};
use super::text::{clipped, is_text, suggest};
use crate::document::{ArchId, Count, PerArch, Primitive, TypeRef};
use crate::yaml::Value;
use std::collections::BTreeMap;

/// Returns the name of a type; a handle points to bytes unless more is known.
fn type_named(name: &str) -> TypeRef {
    if name == "handle" {
        return TypeRef::Handle(Box::new(TypeRef::Primitive(Primitive::U8)));
    }
    match Primitive::ALL.iter().find(|(known, _)| *known == name) {
        Some((_, primitive)) => TypeRef::Primitive(*primitive),
        None => TypeRef::Named(name.to_owned()),
    }
}

impl At<'_> {
    /// Returns the name of a type.
    pub(super) fn type_ref(&self) -> Result<TypeRef, Wrong> {
        self.text("the name of a type").map(type_named)
    }

    /// Returns an integer that needs no description.
    pub(super) fn primitive(&self) -> Result<Primitive, Wrong> {
        self.choice("an integer type", &Primitive::ALL).map_err(|mut wrong| {
            if let Some(own) = self.node.text().and_then(Primitive::of_c) {
                (wrong.label, wrong.help) = (None, Some(format!("use `{own}`")));
            }
            wrong
        })
    }

    /// Returns a length: a number that is not 0, a constant, or `flexible`.
    pub(super) fn count(&self) -> Result<Count, Wrong> {
        match &self.node.value {
            Value::Scalar { text, plain } if !plain || is_text(text) => {
                match self.text("a count")? {
                    "flexible" => Ok(Count::Flexible),
                    text => Ok(Count::Constant(text.to_owned())),
                }
            }
            Value::Scalar { text, .. }
                if !matches!(&**text, "" | "~" | "null" | "true" | "false") =>
            {
                match self.unsigned()? {
                    0 => Err(Box::new(
                        self.wrong("an array of length 0")
                            .label("must be 1 or more")
                            .help("leave the field out"),
                    )),
                    count => Ok(Count::Number(count)),
                }
            }
            _ => Err(self.expected("a number, the name of a constant, or `flexible`")),
        }
    }

    /// Returns the architecture of that name.
    pub(super) fn arch(&self, context: &Context<'_>, name: &str) -> Result<ArchId, Wrong> {
        context.manifest.find_arch(name).ok_or_else(|| {
            let wrong = self.wrong(format!("unknown architecture `{}`", clipped(name)));
            let known = context.manifest.architectures.iter().map(|arch| arch.name.as_str());
            Box::new(suggest(wrong, name, known, "the manifest has"))
        })
    }
}

/// Returns a type under `key`, with what it points to under `to`.
pub(super) fn pointed_type(
    context: &Context<'_>,
    keys: &Keys<'_>,
    key: &'static str,
) -> Option<TypeRef> {
    let (type_, to) = (keys.need(context.errors, key), keys.get("to"));
    with_target(context, type_?.type_ref(), to)
}

/// Returns a type that a handle among them is given its target.
fn with_target(
    context: &Context<'_>,
    type_: Result<TypeRef, Wrong>,
    to: Option<At<'_>>,
) -> Option<TypeRef> {
    let type_ = context.errors.need(type_)?;
    match (type_, to) {
        (TypeRef::Handle(_), Some(to)) => {
            Some(TypeRef::Handle(Box::new(context.errors.need(to.type_ref())?)))
        }
        (type_, Some(to)) => {
            let place = to.place().as_key();
            context.errors.add(
                crate::diagnostic::Diagnostic::new(place, "only a handle points to something")
                    .label("this type is no handle"),
            );
            Some(type_)
        }
        (type_, None) => Some(type_),
    }
}

/// A type under `is`, per architecture, with what it points to under `to`.
pub(super) fn pointed_type_per_arch(
    context: &Context<'_>,
    keys: &Keys<'_>,
) -> Option<PerArch<TypeRef>> {
    let (is, to) = (keys.need(context.errors, "is"), keys.get("to"));
    let handles = std::cell::Cell::new(false);
    let types = per_arch(context, &is?, |at| {
        let type_ = at.type_ref()?;
        handles.set(handles.get() || matches!(type_, TypeRef::Handle(_)));
        match (&type_, &to) {
            (TypeRef::Handle(_), Some(to)) => Ok(TypeRef::Handle(Box::new(to.type_ref()?))),
            _ => Ok(type_),
        }
    });
    if let Some(to) = to.filter(|_| !handles.get()) {
        with_target(context, Ok(TypeRef::Primitive(Primitive::U8)), Some(to));
    }
    types
}

/// One value, or a mapping from architectures to values. Whether each architecture that needs one
/// has one is not asked here.
pub(super) fn per_arch<'t, T>(
    context: &Context<'_>,
    at: &At<'t>,
    one: impl Fn(&At<'t>) -> Result<T, Wrong>,
) -> Option<PerArch<T>> {
    let Value::Mapping(mapping) = &at.node.value else {
        return context.errors.need(one(at)).map(PerArch::Same);
    };
    if mapping.entries.is_empty() {
        context.errors.add_and_leave_out(at.wrong("no architecture has a value").label("empty"));
        return None;
    }
    let mut values = BTreeMap::new();
    let mut whole = true;
    for entry in &mapping.entries {
        let value = at.entry(entry);
        let arch = context.errors.need(value.arch(context, &entry.key).map_err(|mut wrong| {
            wrong.place = wrong.place.as_key();
            wrong
        }));
        match arch.zip(context.errors.need(one(&value))) {
            Some((arch, value)) => drop(values.insert(arch, value)),
            None => whole = false,
        }
    }
    whole.then_some(PerArch::Each(values))
}
