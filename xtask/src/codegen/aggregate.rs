//! Structs and unions as Rust lays them out: the fields of each architecture, with every byte of
//! padding spelled out.

use super::context::{CodegenError, Context, Scope, by_arch, grouped};
use super::docs::Docs;
use super::types::{Cell, Length, Type, View};
use crate::document::{
    Access, ArchId, ArchSet, Availability, Count, Direction, Field, FieldUse, PerArch, Primitive,
    ReleaseId, Shape, Struct, TypeRef, Writer,
};
use crate::layout::{FieldLayout, Layout};
use crate::naming;
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use std::rc::Rc;

/// A struct or a union to generate.
pub(super) struct Aggregate<'d> {
    /// Its Rust name.
    pub(super) name: String,
    /// How messages and documentation call it.
    pub(super) label: String,
    /// The text of the description, for one that lies inside another.
    pub(super) doc: &'d str,
    /// Where it exists.
    pub(super) availability: Availability,
    pub(super) fields: &'d [Field],
    pub(super) is_union: bool,
    /// Its layout on each architecture that has it.
    pub(super) layouts: Vec<(ArchId, Rc<Layout>)>,
    /// The release and the view for which types are wanted.
    pub(super) release: ReleaseId,
    pub(super) view: View,
    /// The direction of what holds it, if it is the part of an argument.
    pub(super) direction: Option<Direction>,
}

/// A field of the generated struct, on some architectures.
pub(super) struct Member<'d> {
    pub(super) archs: ArchSet,
    pub(super) name: Ident,
    pub(super) type_: Type,
    /// The described field; `None` for padding.
    pub(super) field: Option<&'d Field>,
}

impl<'d> Aggregate<'d> {
    /// Creates the aggregate of a block or an argument, in the newest release that has it.
    pub(super) fn new(
        context: &Context<'_, 'd>,
        item: &'d Struct,
        view: View,
    ) -> Result<Self, CodegenError> {
        let availability = item.head.availability;
        let release = context.release_of(availability);
        let layout = |arch| Ok((arch, context.layouts.of(&item.head.name, release, arch)?));
        let layouts = availability.archs.iter().map(layout).collect::<Result<_, CodegenError>>()?;
        Ok(Self {
            name: context.item_name(naming::TYPE, &item.head),
            label: item.head.c.as_ref().unwrap_or(&item.head.name).clone(),
            doc: &item.head.doc,
            availability,
            fields: &item.fields,
            is_union: false,
            layouts,
            release,
            view,
            direction: None,
        })
    }

    /// Returns the unions and structs that are described inside it, outer ones first.
    pub(super) fn inner(&self) -> Vec<Aggregate<'d>> {
        let mut found = Vec::new();
        for (index, field) in self.fields.iter().enumerate() {
            let inner = |(arch, layout): &(ArchId, Rc<Layout>)| {
                Some((*arch, layout.field(index)?.inner.clone()?))
            };
            let layouts: Vec<_> = self.layouts.iter().filter_map(inner).collect();
            if matches!(field.shape, Shape::Type(_)) || layouts.is_empty() {
                continue;
            }
            let direction = match field.use_ {
                FieldUse::Direction(direction) => Some(direction),
                _ => self.direction,
            };
            let archs = layouts.iter().map(|(arch, _)| *arch).collect();
            let aggregate = Aggregate {
                name: naming::inner(&self.name, &field.head.name),
                label: format!("{}.{}", self.label, field.head.name),
                doc: &field.head.doc,
                availability: Availability { archs, ..field.head.availability },
                fields: field.members(),
                is_union: matches!(field.shape, Shape::Union { .. }),
                layouts,
                release: self.release,
                view: self.view,
                direction,
            };
            let deeper = aggregate.inner();
            found.push(aggregate);
            found.extend(deeper);
        }
        found
    }

    /// Returns the architectures on which it exists.
    pub(super) fn archs(&self) -> ArchSet {
        self.availability.archs
    }

    pub(super) fn cell(&self, arch: ArchId) -> Cell {
        Cell { release: self.release, arch, view: self.view }
    }

    /// Returns the layout of a field on each architecture.
    pub(super) fn layouts_of(&self, index: usize) -> impl Iterator<Item = (ArchId, &FieldLayout)> {
        self.layouts.iter().filter_map(move |(arch, layout)| Some((*arch, layout.field(index)?)))
    }

    /// Returns a described field, as often as it has different types.
    pub(super) fn described(
        &self,
        context: &Context<'_, 'd>,
        index: usize,
    ) -> Result<Vec<Member<'d>>, CodegenError> {
        let field = &self.fields[index];
        let archs = self.layouts_of(index).map(|(arch, _)| arch).collect();
        let inner = naming::inner(&self.name, &field.head.name);
        let groups = by_arch(archs, |arch| {
            Type::of_field(context, field, Some(inner.clone()), self.cell(arch))
        })?;
        let name = naming::FIELD.ident(&field.head.name);
        let member =
            |(archs, type_)| Member { archs, name: name.clone(), type_, field: Some(field) };
        Ok(groups.into_iter().map(member).collect())
    }

    /// Returns every field of a struct in order, padding included; of a union, every member.
    pub(super) fn members(
        &self,
        context: &Context<'_, 'd>,
    ) -> Result<Vec<Member<'d>>, CodegenError> {
        let mut members = Vec::new();
        let mut gaps = 0;
        for index in 0..=self.fields.len() {
            let padding = if self.is_union { Vec::new() } else { self.padding_before(index) };
            let name = naming::ident(&format!("_pad{gaps}"));
            gaps += usize::from(!padding.is_empty());
            members.extend(padding.into_iter().map(|(archs, size)| bytes(archs, &name, size)));
            if index < self.fields.len() {
                members.extend(self.described(context, index)?);
            }
        }
        if self.is_union {
            members.extend(self.filling());
        }
        Ok(members)
    }

    /// Returns the number of bytes of padding before the field at `index`, or at the end.
    fn padding_before(&self, index: usize) -> Vec<(ArchSet, u32)> {
        let gap = |(arch, layout): &(ArchId, Rc<Layout>)| {
            let place = layout.fields.partition_point(|field| field.index < index);
            let next = match layout.fields.get(place) {
                Some(field) if field.index == index => field.offset,
                None if index == self.fields.len() => layout.size,
                _ => return None,
            };
            let end = place.checked_sub(1).map_or(0, |before| layout.fields[before].end());
            (next > end).then_some((*arch, next - end))
        };
        grouped(self.layouts.iter().filter_map(gap))
    }

    /// Returns the bytes of a union that none of its members fills.
    fn filling(&self) -> impl Iterator<Item = Member<'d>> {
        let is_open = |layout: &Layout| layout.fields.iter().all(|field| field.size < layout.size);
        let open = self.layouts.iter().filter(|(_, layout)| is_open(layout));
        let groups = grouped(open.map(|(arch, layout)| (*arch, layout.size)));
        let name = naming::ident("_all");
        groups.into_iter().map(move |(archs, size)| bytes(archs, &name, size))
    }

    /// `cfg` of a member inside the aggregate.
    pub(super) fn cfg(&self, context: &Context<'_, '_>, member: &Member<'_>) -> TokenStream {
        context.cfg(member.archs, self.archs())
    }

    /// Returns the members with their types, for the proof that they are all there is.
    pub(super) fn data(
        &self,
        context: &Context<'_, 'd>,
        scope: Scope<'d>,
        members: &[Member<'d>],
    ) -> TokenStream {
        let members = members.iter().map(|member| {
            let (cfg, name) = (self.cfg(context, member), &member.name);
            let type_ = member.type_.tokens(scope);
            quote!(#cfg #name: #type_)
        });
        quote!(#(#members),*)
    }

    /// Adds a table of the fields: where they are on each architecture, what they are made of, and
    /// who accesses them.
    pub(super) fn with_table(&self, context: &Context<'_, '_>, docs: Docs) -> Docs {
        let archs: Vec<&str> =
            self.layouts.iter().map(|(arch, _)| context.arch_name(*arch)).collect();
        let column = if self.view == View::Raw { "access" } else { "direction" };
        let mut table = vec![
            format!("| offset + size: {} | field | type | {column} |", archs.join(" | ")),
            format!("|{}", "---|".repeat(archs.len() + 3)),
        ];
        for (index, field) in self.fields.iter().enumerate() {
            let place = |(_, layout): &(ArchId, Rc<Layout>)| match layout.field(index) {
                Some(field) => format!("{} + {}", field.offset, field.size),
                None => String::new(),
            };
            let places: Vec<String> = self.layouts.iter().map(place).collect();
            if places.iter().all(String::is_empty) {
                continue;
            }
            table.push(format!(
                "| {} | `{}` | {} | {} |",
                places.join(" | "),
                naming::FIELD.name(&field.head.name),
                described_type(field),
                self.described_use(field),
            ));
        }
        let sizes: Vec<String> =
            self.layouts.iter().map(|(_, layout)| layout.size.to_string()).collect();
        table.push(format!("| {} | | | |", sizes.join(" | ")));
        docs.block(table)
    }

    fn described_use(&self, field: &Field) -> &'static str {
        match (field.use_, self.direction) {
            (FieldUse::Reserved, _) => "reserved",
            (FieldUse::Nested, _) => "block",
            (FieldUse::Direction(own), outer) => match outer.unwrap_or(own) {
                Direction::In => "in",
                Direction::Out => "out",
                Direction::Both => "in, out",
            },
            (FieldUse::Access(access), _) => match access {
                Access::Bits => "bits",
                Access::Versioned => "versioned",
                Access::Counter => "counter",
                Access::Index(Writer::Guest) => "own index",
                Access::Index(Writer::Xen) => "peer's index",
                Access::Buffer => "buffer",
                Access::Plain(Writer::Guest) => "read-write",
                Access::Plain(Writer::Xen) => "read-only",
            },
        }
    }
}

fn bytes<'d>(archs: ArchSet, name: &Ident, size: u32) -> Member<'d> {
    let byte = Box::new(Type::Integer(Primitive::U8));
    let type_ = Type::Array(byte, Length::Number(size.into()));
    Member { archs, name: name.clone(), type_, field: None }
}

/// A field's type as the description has it, with its length where that is the same everywhere.
fn described_type(field: &Field) -> String {
    let name = match &field.shape {
        Shape::Union { .. } => return "union".to_owned(),
        Shape::Struct(_) => return "struct".to_owned(),
        Shape::Type(type_) => name_of(type_),
    };
    match &field.count {
        None => format!("`{name}`"),
        Some(PerArch::Same(Count::Number(count))) => format!("`[{name}; {count}]`"),
        Some(PerArch::Same(Count::Constant(count))) => format!("`[{name}; {count}]`"),
        Some(_) => format!("`[{name}]`"),
    }
}

fn name_of(type_: &TypeRef) -> String {
    match type_ {
        TypeRef::Primitive(primitive) => primitive.name().to_owned(),
        TypeRef::Named(name) => name.clone(),
        TypeRef::Handle(to) => format!("handle of {}", name_of(to)),
    }
}
