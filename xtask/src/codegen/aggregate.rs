//! Structs and unions as Rust lays them out: the fields of each architecture, with every byte of
//! padding spelled out.

use super::context::{Context, Scope, by_arch};
use super::docs::Docs;
use super::error::CodegenError;
use super::lifespan;
use super::types::{Cell, Length, Type, View};
use super::unions;
use crate::document::{
    ArchId, ArchSet, Availability, Direction, Field, FieldUse, ReleaseId, Shape, Struct,
};
use crate::layout::{FieldLayout, Layout};
use crate::naming;
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use std::rc::Rc;

/// The layouts of one thing, for each architecture that has it.
pub(super) type ArchLayouts = Vec<(ArchId, Rc<Layout>)>;

/// A struct or a union that is to be generated.
pub(super) struct Aggregate<'d> {
    /// Its Rust name.
    pub(super) name: String,
    /// How messages call it.
    pub(super) label: String,
    /// Where it exists.
    pub(super) availability: Availability,
    pub(super) fields: &'d [Field],
    pub(super) is_union: bool,
    pub(super) layouts: ArchLayouts,
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

/// The aggregate of a block or an argument, in the newest release that has it.
pub(super) fn of_struct<'d>(
    context: &Context<'_, 'd>,
    item: &'d Struct,
    view: View,
) -> Result<Aggregate<'d>, CodegenError> {
    let availability = item.head.availability;
    let release = context.release_of(availability);
    let layouts = availability
        .archs
        .iter()
        .map(|arch| Ok((arch, context.layouts.of(&item.head.name, release, arch)?)));
    Ok(Aggregate {
        name: context.item_name(naming::TYPE, &item.head),
        label: item.head.name.clone(),
        availability,
        fields: &item.fields,
        is_union: false,
        layouts: layouts.collect::<Result<_, CodegenError>>()?,
        release,
        view,
        direction: None,
    })
}

impl<'d> Aggregate<'d> {
    /// The architectures on which it exists.
    pub(super) fn archs(&self) -> ArchSet {
        self.availability.archs
    }

    fn cell(&self, arch: ArchId) -> Cell {
        Cell { release: self.release, arch, view: self.view }
    }

    /// Unions and structs that are described inside it, outer ones first.
    pub(super) fn inner(&self) -> Vec<Aggregate<'d>> {
        let mut found = Vec::new();
        for (index, field) in self.fields.iter().enumerate() {
            let (fields, is_union) = match &field.shape {
                Shape::Type(_) => continue,
                Shape::Union { members, .. } => (members, true),
                Shape::Struct(members) => (members, false),
            };
            let layouts: ArchLayouts = self
                .layouts
                .iter()
                .filter_map(|(arch, layout)| Some((*arch, layout.field(index)?.inner.clone()?)))
                .collect();
            if layouts.is_empty() {
                continue;
            }
            let archs = layouts.iter().map(|(arch, _)| *arch).collect();
            let direction = if let FieldUse::Direction(direction) = field.use_ {
                Some(direction)
            } else {
                self.direction
            };
            let aggregate = Aggregate {
                name: self.inner_name(field),
                label: format!("{}.{}", self.label, field.head.name),
                availability: Availability { archs, ..field.head.availability },
                fields,
                is_union,
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

    fn inner_name(&self, field: &Field) -> String {
        format!("{}{}", self.name, naming::TYPE.apply(&field.head.name))
    }

    /// The described fields, each as often as it has different types.
    pub(super) fn described(
        &self,
        context: &Context<'_, 'd>,
        index: usize,
    ) -> Result<Vec<Member<'d>>, CodegenError> {
        let field = &self.fields[index];
        let archs = self
            .layouts
            .iter()
            .filter(|(_, layout)| layout.field(index).is_some())
            .map(|(arch, _)| *arch)
            .collect();
        let groups = by_arch(archs, |arch| self.type_of(context, field, arch))?;
        let name = naming::FIELD.ident(&field.head.name);
        Ok(groups
            .into_iter()
            .map(|(archs, type_)| Member { archs, name: name.clone(), type_, field: Some(field) })
            .collect())
    }

    fn type_of(
        &self,
        context: &Context<'_, 'd>,
        field: &Field,
        arch: ArchId,
    ) -> Result<Type, CodegenError> {
        let element = match &field.shape {
            Shape::Type(type_) => Type::of(context, type_, &field.head.place, self.cell(arch))?,
            Shape::Union { .. } | Shape::Struct(_) => Type::Inner(self.inner_name(field)),
        };
        match field.count.as_ref().and_then(|count| count.get(arch)) {
            Some(count) => {
                Ok(element.array(Length::of(context, count, &field.head.place, self.cell(arch))?))
            }
            None => Ok(element),
        }
    }

    /// Every field of a struct in order, padding included.
    pub(super) fn members(
        &self,
        context: &Context<'_, 'd>,
    ) -> Result<Vec<Member<'d>>, CodegenError> {
        let mut members = Vec::new();
        let mut gaps = 0;
        for index in 0..=self.fields.len() {
            let padding = self.padding_before(index);
            for (archs, size) in &padding {
                let name = naming::ident(&format!("_pad{gaps}"));
                let type_ = Type::Integer(crate::document::Primitive::U8)
                    .array(Length::Number(u64::from(*size)));
                members.push(Member { archs: *archs, name, type_, field: None });
            }
            gaps += usize::from(!padding.is_empty());
            if index < self.fields.len() {
                members.extend(self.described(context, index)?);
            }
        }
        Ok(members)
    }

    /// How many bytes of padding there are before the field at `index`, or at the end.
    fn padding_before(&self, index: usize) -> Vec<(ArchSet, u32)> {
        let mut groups: Vec<(Vec<ArchId>, u32)> = Vec::new();
        for (arch, layout) in &self.layouts {
            let place = layout.fields.partition_point(|field| field.index < index);
            let next = match layout.fields.get(place) {
                Some(field) if field.index == index => field.offset,
                None if index == self.fields.len() => layout.size,
                _ => continue,
            };
            let gap = next - place.checked_sub(1).map_or(0, |before| layout.fields[before].end());
            match groups.iter_mut().find(|(_, size)| *size == gap) {
                _ if gap == 0 => {}
                Some((archs, _)) => archs.push(*arch),
                None => groups.push((vec![*arch], gap)),
            }
        }
        groups.into_iter().map(|(archs, size)| (archs.into_iter().collect(), size)).collect()
    }

    /// The layout of a field on each architecture.
    pub(super) fn layouts_of(&self, index: usize) -> impl Iterator<Item = (ArchId, &FieldLayout)> {
        self.layouts.iter().filter_map(move |(arch, layout)| Some((*arch, layout.field(index)?)))
    }

    /// The definition, with its `ZEROED`.
    pub(super) fn definition(
        &self,
        context: &Context<'_, 'd>,
        scope: Scope<'d>,
        docs: Docs,
        attributes: &TokenStream,
    ) -> Result<TokenStream, CodegenError> {
        if self.is_union {
            return unions::definition(self, context, scope, docs);
        }
        let cfg = context.item_cfg(self.availability);
        let docs = docs.outer(context);
        let name = naming::ident(&self.name);
        let members = self.members(context)?;
        let fields = members.iter().map(|member| self.field(context, scope, member));
        let data = self.data(context, scope, &members);
        let (derives, proof) = if self.view == View::Raw {
            (quote!(Clone, Copy), quote!(raw))
        } else {
            (quote!(Clone, Copy, Debug), quote!(argument))
        };
        Ok(quote! {
            #docs
            #cfg
            #attributes
            #[repr(C)]
            #[derive(#derives)]
            pub struct #name { #(#fields),* }

            #cfg
            crate::access::#proof!(#name { #data });
        })
    }

    /// The members with their types, for the proof that they are all there is.
    pub(super) fn data(
        &self,
        context: &Context<'_, 'd>,
        scope: Scope<'d>,
        members: &[Member<'d>],
    ) -> TokenStream {
        let members = members.iter().map(|member| {
            let (cfg, name, type_) =
                (self.member_cfg(context, member), &member.name, member.type_.tokens(scope));
            quote!(#cfg #name: #type_)
        });
        quote!(#(#members),*)
    }

    /// `cfg` of a member inside the aggregate.
    pub(super) fn member_cfg(&self, context: &Context<'_, 'd>, member: &Member<'d>) -> TokenStream {
        context.cfg(member.archs, self.archs())
    }

    fn field(
        &self,
        context: &Context<'_, 'd>,
        scope: Scope<'d>,
        member: &Member<'d>,
    ) -> TokenStream {
        let cfg = self.member_cfg(context, member);
        let (name, type_) = (&member.name, member.type_.tokens(scope));
        let Some(field) = member.field else {
            return quote!(#[doc(hidden)] #cfg pub #name: #type_);
        };
        let docs = Docs::member(context, &field.head, self.availability);
        let docs = docs.fact(direction(self.direction, field)).outer(context);
        let deprecated = lifespan::superseded(&field.head);
        quote!(#docs #cfg #deprecated pub #name: #type_)
    }
}

/// Which way a field goes, in words.
fn direction(outer: Option<Direction>, field: &Field) -> &'static str {
    match field.use_ {
        FieldUse::Direction(_) if outer.is_some() => "",
        FieldUse::Direction(Direction::In) => "In.",
        FieldUse::Direction(Direction::Out) => "Out.",
        FieldUse::Direction(Direction::Both) => "In and out.",
        FieldUse::Access(_) | FieldUse::Nested | FieldUse::Reserved => "",
    }
}
