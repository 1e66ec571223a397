//! Every place of a description whose change the facts can notice, always in the same order.

use xtask::document::*;

/// A place that can be changed.
pub(crate) enum Point<'d> {
    /// When and where something exists, at most as far as `within`; `reserved` is a field that
    /// nobody uses.
    Existence { head: &'d mut Head, within: Availability, archs: ArchSet, reserved: bool },
    /// A number.
    Number { kind: &'static str, value: &'d mut i128 },
    /// A number that cannot be negative.
    Unsigned { kind: &'static str, value: &'d mut u64 },
    /// A constant's value.
    Constant(&'d mut PerArch<i128>),
    /// Bits of a word.
    Bits(&'d mut Bits),
    /// A stated size.
    Size(&'d mut PerArch<u64>),
    /// A field of a struct or a union.
    Field(&'d mut Field),
    /// Fields one after the other.
    Order(&'d mut Vec<Field>),
}

/// Calls `at` with the index of each place's file, the place's name, and the place.
pub(crate) fn walk(document: &mut Document, at: &mut dyn FnMut(usize, &str, Point<'_>)) {
    let manifest = &document.manifest;
    let all = Availability {
        releases: manifest.all_releases(),
        honoured_since: None,
        archs: manifest.all_archs(),
    };
    for (index, file) in document.files.iter_mut().enumerate() {
        let at: &mut dyn FnMut(&str, Point<'_>) = &mut |name, point| at(index, name, point);
        for constant in named(&mut file.constants, |item| &item.head) {
            let archs = match &constant.value {
                PerArch::Same(_) => all.archs,
                PerArch::Each(values) => values.keys().copied().collect(),
            };
            existence(&mut constant.head, all, archs, at);
            at(&constant.head.name, Point::Constant(&mut constant.value));
        }
        file.enumerations
            .iter_mut()
            .for_each(|item| values(&mut item.values, "enumeration value", all, at));
        file.words
            .iter_mut()
            .flat_map(|item| &mut item.fields)
            .for_each(|field| bits(field, all, at));
        for variant in
            file.encodings.iter_mut().flat_map(|item| named(&mut item.variants, |item| &item.head))
        {
            existence(&mut variant.head, all, all.archs, at);
            let (kind, value) = match &mut variant.kind {
                VariantKind::Value(value) => ("encoding's whole value", value),
                VariantKind::Fields { tag, .. } => ("encoding's tag", tag),
            };
            at(&variant.head.name, Point::Unsigned { kind, value });
        }
        for command in
            file.commands.iter_mut().flat_map(|set| named(&mut set.list, |item| &item.head))
        {
            existence(&mut command.head, all, all.archs, at);
            at(
                &command.head.name,
                Point::Unsigned { kind: "command number", value: &mut command.number },
            );
        }
        for struct_ in named(&mut file.structs, |item| &item.head) {
            existence(&mut struct_.head, all, all.archs, at);
            if let Some(size) = &mut struct_.size {
                at(&struct_.head.name, Point::Size(size));
            }
            let name = struct_.head.name.clone();
            let mut visible = struct_.head.availability;
            visible.releases.since =
                visible.releases.since.max(struct_.head.named_since.unwrap_or(ReleaseId(0)));
            fields(&name, &mut struct_.fields, visible, at);
        }
    }
}

/// Only what the headers have a name for.
fn named<T>(items: &mut [T], head: impl Fn(&T) -> &Head) -> impl Iterator<Item = &mut T> {
    items.iter_mut().filter(move |item| head(item).c.is_some())
}

fn existence(
    head: &mut Head,
    within: Availability,
    archs: ArchSet,
    at: &mut dyn FnMut(&str, Point<'_>),
) {
    let name = head.name.clone();
    at(&name, Point::Existence { head, within, archs, reserved: false });
}

fn values(
    items: &mut [Value],
    kind: &'static str,
    all: Availability,
    at: &mut dyn FnMut(&str, Point<'_>),
) {
    for value in named(items, |item| &item.head) {
        existence(&mut value.head, all, all.archs, at);
        at(&value.head.name, Point::Number { kind, value: &mut value.value });
    }
}

fn bits(field: &mut BitField, all: Availability, at: &mut dyn FnMut(&str, Point<'_>)) {
    if field.head.c.is_some() || field.index_c.is_some() {
        existence(&mut field.head, all, all.archs, at);
        at(&field.head.name, Point::Bits(&mut field.bits));
    }
    values(&mut field.values, "bit field value", all, at);
}

fn fields(
    path: &str,
    list: &mut Vec<Field>,
    within: Availability,
    at: &mut dyn FnMut(&str, Point<'_>),
) {
    at(path, Point::Order(list));
    members(path, list, within, at);
}

fn members(
    path: &str,
    list: &mut [Field],
    within: Availability,
    at: &mut dyn FnMut(&str, Point<'_>),
) {
    for field in list {
        let path = format!("{path}.{}", field.head.name);
        let mut availability = field.head.availability;
        availability.releases = availability.releases.and(within.releases);
        let anonymous = matches!(field.shape, Shape::Union { anonymous: true, .. });
        if field.head.c.is_some() && !anonymous {
            let reserved = field.use_ == FieldUse::Reserved;
            at(
                &path,
                Point::Existence { head: &mut field.head, within, archs: within.archs, reserved },
            );
            at(&path, Point::Field(field));
        }
        match &mut field.shape {
            Shape::Union { members: list, .. } => members(&path, list, availability, at),
            Shape::Struct(list) => fields(&path, list, availability, at),
            Shape::Type(_) => {}
        }
    }
}
