//! Hypercalls: conventions and commands.

use super::context::{Context, Keys, listed};
use super::head::{Outer, Rules, doc, head, name, optional_text};
use super::node::At;
use crate::diagnostic::Diagnostic;
use crate::document::language;
use crate::document::{CallResult, CallShape, Command, CommandSet, Convention};

pub(super) fn convention(context: &Context<'_>, at: &At<'_>, arch: &str) -> Option<Convention> {
    let id = context.errors.need(at.arch(context, arch).map_err(|mut wrong| {
        wrong.place = wrong.place.as_key();
        wrong
    }));
    let keys = Keys::open(context.errors, at, &language::CONVENTION)?;
    let doc = doc(context, &keys, false);
    let register = |key| {
        keys.need(context.errors, key)
            .and_then(|at| context.errors.need(at.text("the name of a register")))
    };
    let (number, result) = (register("number"), register("result"));
    let page = keys.need(context.errors, "page").map(|at| context.errors.or(at.boolean(), false));
    let immediate = optional_text(context, &keys, "immediate");
    let (arguments, instructions, clobbers) = (
        words(context, &keys, "arguments"),
        words(context, &keys, "instructions"),
        words(context, &keys, "clobbers"),
    );
    Some(Convention {
        arch: id?,
        doc,
        number: number?.to_owned(),
        arguments,
        result: result?.to_owned(),
        instructions,
        page: page?,
        immediate,
        clobbers,
        place: at.place(),
    })
}

/// Returns a list of words that must be there, although it may be empty.
fn words(context: &Context<'_>, keys: &Keys<'_>, key: &'static str) -> Vec<String> {
    if keys.need(context.errors, key).is_none() {
        return Vec::new();
    }
    listed(context, keys, key, |at| context.errors.need(at.text("a name")).map(str::to_owned))
}

pub(super) fn set(
    context: &Context<'_>,
    at: &At<'_>,
    hypercall: &str,
    outer: &Outer,
) -> Option<CommandSet> {
    let keys = Keys::open(context.errors, at, &language::COMMANDS)?;
    let doc = doc(context, &keys, false);
    let prefix = optional_text(context, &keys, "prefix").unwrap_or_default();
    let shape = keys.get("shape").map(|at| call_shape(context, &at));
    if !keys.has("list") {
        keys.missing(context.errors, "list", "");
    }
    let list = listed(context, &keys, "list", |at| command(context, at, &prefix, shape, outer));
    Some(CommandSet { hypercall: hypercall.to_owned(), doc, prefix, list, place: at.place() })
}

fn call_shape(context: &Context<'_>, at: &At<'_>) -> CallShape {
    context.errors.or(at.choice("a shape", &CallShape::ALL), CallShape::Argument)
}

fn command(
    context: &Context<'_>,
    at: &At<'_>,
    prefix: &str,
    shape: Option<CallShape>,
    outer: &Outer,
) -> Option<Command> {
    let keys = Keys::open(context.errors, at, &language::COMMAND)?;
    let head = name(context, &keys)
        .map(|name| head(context, &keys, name, outer, Rules { prefix, silent: false }));
    let number =
        keys.need(context.errors, "number").and_then(|at| context.errors.need(at.unsigned()));
    let shape = keys.get("shape").map(|at| call_shape(context, &at)).or(shape);
    if shape.is_none() {
        keys.missing(context.errors, "shape", "give it here, or once for all beside `list`");
    }
    let argument = keys.get("argument").map(|at| context.errors.need(at.type_ref()));
    if let (Some(at), Some(CallShape::Bare)) = (keys.get("argument"), shape) {
        let wrong = Diagnostic::new(at.place(), "a command of the shape `bare` has no argument");
        context.errors.add(wrong.help("leave `argument` out, or choose another `shape`"));
    }
    let result = keys
        .need(context.errors, "result")
        .map(|at| context.errors.or(at.choice("a result", &CallResult::ALL), CallResult::Value));
    let hazard = optional_text(context, &keys, "hazard");
    let shape = shape.unwrap_or(CallShape::Argument);
    Some(Command {
        head: head?,
        number: number?,
        shape,
        argument: argument.flatten(),
        result: result?,
        hazard,
    })
}
