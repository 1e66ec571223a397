//! `words`: a module of tock-registers fields for each integer that is made of bit fields.

use super::context::{Context, hex};
use super::docs::Docs;
use super::lifespan;
use super::types::integer;
use crate::document::{BitField, Bits, Head, Value, Word};
use crate::naming;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

pub(super) fn render(context: &Context<'_, '_>, item: &Word) -> TokenStream {
    let head = &item.head;
    let cfg = context.item_cfg(head.availability);
    let deprecated =
        lifespan::deprecated(context.manifest(), head, context.manifest().all_releases());
    let docs = Docs::item(context, head).outer(context);
    let name = context.item_ident(naming::MODULE, head);
    let is = integer(item.is);
    let heads: Vec<&Head> = item.fields.iter().map(|field| &field.head).collect();
    let constants = lifespan::distinct(naming::CONSTANT, &heads);
    let fields = item
        .fields
        .iter()
        .zip(constants)
        .filter_map(|(field, constant)| Some(field_of(context, item, &is, field, &constant?)));
    let about = format!(
        " What ties the fields to the word: a register of it is a `..<{is}, {name}::Register>`."
    );
    quote! {
        #docs
        #cfg
        #deprecated
        pub mod #name {
            #[doc = #about]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct Register;

            impl tock_registers::RegisterLongName for Register {}

            #(#fields)*
        }
    }
}

fn field_of(
    context: &Context<'_, '_>,
    item: &Word,
    is: &Ident,
    field: &BitField,
    constant: &str,
) -> TokenStream {
    let within = item.head.availability;
    let docs = Docs::part(context, &field.head, within).fact(bits(field.bits)).outer(context);
    let cfg = context.cfg(field.head.availability.archs, within.archs);
    let deprecated = lifespan::deprecated(context.manifest(), &field.head, within.releases);
    let constant = naming::ident(constant);
    let (mask, shift) =
        (hex(field.bits.mask() >> field.bits.low), Literal::u32_unsuffixed(field.bits.low));
    let values = values_of(context, is, field);
    quote! {
        #docs
        #cfg
        #deprecated
        pub const #constant: tock_registers::fields::Field<#is, Register> = tock_registers::fields::Field::new(#mask, #shift);
        #values
    }
}

fn values_of(context: &Context<'_, '_>, is: &Ident, field: &BitField) -> TokenStream {
    if field.values.is_empty() {
        return TokenStream::new();
    }
    let cfg = context.cfg(field.head.availability.archs, context.manifest().all_archs());
    let about = format!(
        " Values of [`{}`]({}).",
        field.head.name,
        naming::CONSTANT.apply(&field.head.name)
    );
    let module = naming::MODULE.ident(&field.head.name);
    let heads: Vec<&Head> = field.values.iter().map(|value| &value.head).collect();
    let constants = lifespan::distinct(naming::CONSTANT, &heads);
    let values = field.values.iter().zip(constants);
    let values = values
        .filter_map(|(value, constant)| Some(value_of(context, is, field, value, &constant?)));
    quote!(#[doc = #about] #cfg pub mod #module { #(#values)* })
}

fn value_of(
    context: &Context<'_, '_>,
    is: &Ident,
    field: &BitField,
    value: &Value,
    constant: &str,
) -> TokenStream {
    let within = field.head.availability;
    let docs = Docs::part(context, &value.head, within).outer(context);
    let cfg = context.cfg(value.head.availability.archs, within.archs);
    let deprecated = lifespan::deprecated(context.manifest(), &value.head, within.releases);
    let constant = naming::ident(constant);
    let (mask, shift) =
        (hex(field.bits.mask() >> field.bits.low), Literal::u32_unsuffixed(field.bits.low));
    let number = super::context::number(value.value);
    quote! {
        #docs
        #cfg
        #deprecated
        pub const #constant: tock_registers::fields::FieldValue<#is, super::Register> =
            tock_registers::fields::FieldValue::<#is, super::Register>::new(#mask, #shift, #number);
    }
}

/// Which bits, in words.
pub(super) fn bits(bits: Bits) -> String {
    if bits.high == bits.low {
        format!("Bit {}.", bits.low)
    } else {
        format!("Bits {}:{}.", bits.high, bits.low)
    }
}
