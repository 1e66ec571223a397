//! `words`: a module of tock-registers fields for each integer that is made of bit fields.

use super::context::{Context, hex, number};
use super::docs::Docs;
use super::types::integer;
use crate::document::{BitField, Bits, Head, Word};
use crate::naming;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

pub(super) fn word(context: &Context<'_, '_>, item: &Word) -> TokenStream {
    let head = &item.head;
    let (cfg, deprecated) = (context.item_cfg(head.availability.archs), context.deprecated(head));
    let docs = Docs::item(context, head).outer();
    let (name, is) = (context.item_ident(naming::MODULE, head), integer(item.is));
    let heads: Vec<&Head> = item.fields.iter().map(|field| &field.head).collect();
    let constants = naming::distinct(naming::CONSTANT, &heads);
    let fields = item.fields.iter().zip(constants);
    let fields = fields.filter_map(|(of, name)| Some(field(context, item, of, &name?)));
    let about = format!(
        " Ties the fields to the word: a register of it is a `..<{is}, {name}::Register>`."
    );
    quote! {
        #docs
        #cfg
        #deprecated
        pub mod #name {
            use ::tock_registers::fields::Field;

            #[doc = #about]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct Register;

            impl ::tock_registers::RegisterLongName for Register {}

            #(#fields)*
        }
    }
}

fn field(context: &Context<'_, '_>, item: &Word, field: &BitField, name: &str) -> TokenStream {
    let (head, within, is) = (&field.head, item.head.availability, integer(item.is));
    let docs = Docs::part(context, head, within).fact(bits(field.bits)).outer();
    let cfg = context.cfg(head.availability.archs, within.archs);
    let deprecated = context.deprecated_in(head, within.releases);
    let constant = naming::ident(name);
    let mask = hex(field.bits.mask() >> field.bits.low);
    let shift = Literal::u32_unsuffixed(field.bits.low);
    let values = values(context, item, field, name);
    quote! {
        #docs
        #cfg
        #deprecated
        pub const #constant: Field<#is, Register> = Field::new(#mask, #shift);
        #values
    }
}

/// A module with the named values of a field.
fn values(context: &Context<'_, '_>, item: &Word, field: &BitField, name: &str) -> TokenStream {
    if field.values.is_empty() {
        return TokenStream::new();
    }
    let (within, is) = (field.head.availability, integer(item.is));
    let cfg = context.cfg(within.archs, item.head.availability.archs);
    let about = format!(" Values of [`{}`]({name}).", field.head.name);
    let module = naming::MODULE.ident(&field.head.name);
    let mask = hex(field.bits.mask() >> field.bits.low);
    let shift = Literal::u32_unsuffixed(field.bits.low);
    let heads: Vec<&Head> = field.values.iter().map(|value| &value.head).collect();
    let names = naming::distinct(naming::CONSTANT, &heads);
    let values = field.values.iter().zip(names).filter_map(|(value, name)| {
        let docs = Docs::part(context, &value.head, within).outer();
        let cfg = context.cfg(value.head.availability.archs, within.archs);
        let deprecated = context.deprecated_in(&value.head, within.releases);
        let (constant, number) = (naming::ident(&name?), number(value.value, value.radix));
        Some(quote! {
            #docs
            #cfg
            #deprecated
            pub const #constant: FieldValue<#is, Register> =
                FieldValue::<#is, Register>::new(#mask, #shift, #number);
        })
    });
    quote! {
        #[doc = #about]
        #cfg
        pub mod #module {
            use super::Register;
            use ::tock_registers::fields::FieldValue;

            #(#values)*
        }
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
