//! `encodings`: a value that can only be built right, with const functions that build it and take
//! it apart.

use super::context::{CodegenError, Context, hex};
use super::docs::Docs;
use super::items::bits;
use super::types::integer;
use crate::document::{Bits, Encoding, Primitive, Variant, VariantField, VariantKind};
use crate::naming;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use std::collections::BTreeMap;

/// What the parts of an encoding have in common.
struct Parts<'c, 'l, 'd> {
    context: &'c Context<'l, 'd>,
    item: &'c Encoding,
    name: Ident,
    variants: Ident,
    is: Ident,
}

pub(super) fn encoding(
    context: &Context<'_, '_>,
    item: &Encoding,
) -> Result<TokenStream, CodegenError> {
    let head = &item.head;
    let parts = Parts {
        context,
        item,
        name: context.item_ident(naming::TYPE, head),
        variants: naming::VARIANTS.ident(&head.name),
        is: integer(item.is),
    };
    let Parts { name, is, .. } = &parts;
    let wide = if *is == "u64" { quote!(value) } else { quote!(value as u64) };
    let cfg = context.item_cfg(head.availability.archs);
    let deprecated = context.deprecated(head);
    let docs = Docs::item(context, head).outer();
    let constructors = item.variants.iter().map(|variant| parts.constructor(variant));
    let (variants, variant) = (parts.variants_type(), parts.variant()?);
    let parse = parts.parse();
    let examples = item.variants.iter().map(|variant| parts.example(variant));
    let variants_name = &parts.variants;
    Ok(quote! {
        #docs
        #cfg
        #deprecated
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct #name(#is);

        #variants

        #cfg
        impl #name {
            #(#constructors)*

            /// Returns the value as Xen takes it.
            #[inline]
            #[must_use]
            pub const fn encode(self) -> #is {
                self.0
            }

            /// Decodes a value that Xen returned.
            ///
            /// # Errors
            /// If the value has none of the variants, a field is out of its range, or a bit outside
            /// every field is set.
            #[inline]
            pub const fn decode(value: #is) -> Result<Self, crate::access::DecodeError> {
                if Self::is_valid(value) {
                    Ok(Self(value))
                } else {
                    Err(crate::access::DecodeError::new(#wide))
                }
            }

            /// Returns the variant with its fields.
            #[inline]
            #[must_use]
            pub const fn variant(self) -> #variants_name {
                #variant
            }

            #parse
        }

        #(#examples)*
    })
}

impl Parts<'_, '_, '_> {
    fn cfg(&self, variant: &Variant) -> TokenStream {
        self.context.cfg(variant.head.availability.archs, self.item.head.availability.archs)
    }

    fn deprecated(&self, variant: &Variant) -> TokenStream {
        self.context.deprecated_in(&variant.head, self.item.head.availability.releases)
    }

    fn docs(&self, variant: &Variant) -> Docs {
        Docs::part(self.context, &variant.head, self.item.head.availability)
    }

    /// Returns a constant for a whole value, a function for a form with fields.
    fn constructor(&self, variant: &Variant) -> TokenStream {
        let (cfg, deprecated, docs) =
            (self.cfg(variant), self.deprecated(variant), self.docs(variant));
        let (tag, fields) = match &variant.kind {
            VariantKind::Value(value) => {
                let (name, value, docs) =
                    (naming::CONSTANT.ident(&variant.head.name), hex(*value), docs.outer());
                return quote!(#docs #cfg #deprecated pub const #name: Self = Self(#value););
            }
            VariantKind::Fields { tag, fields, .. } => (*tag, fields),
        };
        let list = fields
            .iter()
            .map(|field| format!("- `{}`: {}", naming::FIELD.name(&field.name), range(field)));
        let docs = docs.block(["# Errors", "If a field is out of its range:"]).block(list).outer();
        let name = naming::FIELD.ident(&variant.head.name);
        let arguments = fields.iter().map(|field| {
            let (name, type_) = (naming::FIELD.ident(&field.name), smallest(field.bits));
            quote!(#name: #type_)
        });
        let checks = fields.iter().map(check);
        let is = &self.is;
        let placed = fields.iter().map(|field| {
            let name = naming::FIELD.ident(&field.name);
            let wide =
                if smallest(field.bits) == *is { quote!(#name) } else { quote!((#name as #is)) };
            if field.bits.low == 0 { wide } else { shifted(&wide, &quote!(<<), field.bits.low) }
        });
        let tag = Some(in_place(tag, self.item.tag))
            .filter(|tag| *tag != 0 || fields.is_empty())
            .map(hex);
        let parts = tag.into_iter().chain(placed);
        quote! {
            #docs
            #cfg
            #deprecated
            #[inline]
            pub const fn #name(#(#arguments),*) -> Result<Self, crate::access::FieldError> {
                #(#checks)*
                Ok(Self(#(#parts)|*))
            }
        }
    }

    fn variants_type(&self) -> TokenStream {
        let cfg = self.context.item_cfg(self.item.head.availability.archs);
        let about = format!(" The forms of a [`{}`], for matching.", self.name);
        let name = &self.variants;
        let variants = self.item.variants.iter().map(|variant| {
            let (cfg, docs) = (self.cfg(variant), self.docs(variant).outer());
            let name = naming::VARIANT.ident(&variant.head.name);
            let VariantKind::Fields { fields, .. } = &variant.kind else {
                return quote!(#docs #cfg #name,);
            };
            let fields = fields.iter().map(|field| {
                let docs = Docs::of(&field.doc).fact(bits(field.bits)).outer();
                let (name, type_) = (naming::FIELD.ident(&field.name), smallest(field.bits));
                quote!(#docs #name: #type_)
            });
            quote!(#docs #cfg #name { #(#fields),* },)
        });
        quote! {
            #[doc = #about]
            #cfg
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum #name { #(#variants)* }
        }
    }

    /// Returns the body of `variant`. A value is one of the forms, so that the one left to the end
    /// needs no question. Whole values are asked first: one may have the tag of another form.
    fn variant(&self) -> Result<TokenStream, CodegenError> {
        let archs = self.item.head.availability.archs;
        let everywhere = |variant: &&Variant| archs.and(variant.head.availability.archs) == archs;
        let (whole, with_fields): (Vec<_>, Vec<_>) = self
            .item
            .variants
            .iter()
            .partition(|variant| matches!(variant.kind, VariantKind::Value(_)));
        let last = with_fields
            .iter()
            .copied()
            .rfind(everywhere)
            .or_else(|| whole.iter().copied().rfind(everywhere));
        let last = last.ok_or_else(|| {
            CodegenError::new(
                &self.item.head.place,
                "one form at least must exist on every architecture",
            )
        })?;
        let name = &self.variants;
        let others = with_fields.into_iter().filter(|variant| !std::ptr::eq(*variant, last));
        let asked = whole.into_iter().chain(others).map(|variant| {
            let (cfg, is_it, made) = (
                self.cfg(variant),
                self.is_it(variant, &quote!(self.0)),
                self.taken_apart(variant),
            );
            quote!(#cfg if #is_it { return #name::#made; })
        });
        let otherwise = self.taken_apart(last);
        Ok(quote!(#(#asked)* #name::#otherwise))
    }

    fn taken_apart(&self, variant: &Variant) -> TokenStream {
        let name = naming::VARIANT.ident(&variant.head.name);
        let VariantKind::Fields { fields, .. } = &variant.kind else { return quote!(#name) };
        let fields = fields.iter().map(|field| {
            let name = naming::FIELD.ident(&field.name);
            let value = extracted(field.bits, &quote!(self.0));
            let type_ = smallest(field.bits);
            if type_ == self.is { quote!(#name: #value) } else { quote!(#name: #value as #type_) }
        });
        quote!(#name { #(#fields),* })
    }

    /// The question whether a value has this form: it is the whole value, or has its tag and is no
    /// whole value.
    fn is_it(&self, variant: &Variant, value: &TokenStream) -> TokenStream {
        match &variant.kind {
            VariantKind::Value(whole) => {
                let whole = hex(*whole);
                quote!(#value == #whole)
            }
            VariantKind::Fields { tag, .. } => {
                let (extracted, tag) = (extracted(self.item.tag, value), hex(*tag));
                quote!(#extracted == #tag)
            }
        }
    }

    fn parse(&self) -> TokenStream {
        let is = &self.is;
        let forms = self.item.variants.iter().map(|variant| {
            let (cfg, is_it) = (self.cfg(variant), self.is_it(variant, &quote!(value)));
            let VariantKind::Fields { fields, .. } = &variant.kind else {
                return quote!(#cfg if #is_it { return true; });
            };
            let covered =
                fields.iter().fold(self.item.tag.mask(), |mask, field| mask | field.bits.mask());
            let whole = width_mask(self.item.is);
            let outside = (whole & !covered != 0)
                .then(|| hex(whole & !covered))
                .map(|mask| quote!(value & #mask == 0));
            let ranges = fields.iter().flat_map(|field| {
                let value = extracted(field.bits, &quote!(value));
                let least = (field.min > 0)
                    .then(|| (hex(field.min), value.clone()))
                    .map(|(min, value)| quote!(#value >= #min));
                let greatest = (field.max < largest(field.bits))
                    .then(|| hex(field.max))
                    .map(|max| quote!(#value <= #max));
                least.into_iter().chain(greatest)
            });
            let mut conditions: Vec<TokenStream> = outside.into_iter().chain(ranges).collect();
            if conditions.is_empty() {
                conditions.push(quote!(true));
            }
            quote!(#cfg if #is_it { return #(#conditions)&&*; })
        });
        // Whole values first: one may have the tag of another form.
        let (whole, others): (Vec<_>, Vec<_>) = forms
            .zip(&self.item.variants)
            .partition(|(_, variant)| matches!(variant.kind, VariantKind::Value(_)));
        let forms = whole.into_iter().chain(others).map(|(form, _)| form);
        quote! {
            #[inline]
            const fn is_valid(value: #is) -> bool {
                #(#forms)*
                false
            }
        }
    }

    /// Returns the description's example of a form, as a question to the compiler.
    fn example(&self, variant: &Variant) -> TokenStream {
        let VariantKind::Fields { fields, example: Some((value, of)), .. } = &variant.kind else {
            return TokenStream::new();
        };
        let archs = self.item.head.availability.archs.and(variant.head.availability.archs);
        let cfg = self.context.cfg(archs, self.context.manifest().all_archs());
        let (name, form) = (&self.name, naming::FIELD.ident(&variant.head.name));
        let arguments = arguments(fields, of);
        let value = hex(*value);
        let text = format!("the example of `{}` of `{}`", variant.head.name, self.item.head.name);
        let (built, decoded) = (
            format!("{text} cannot be built"),
            format!("{text} does not encode and decode as described"),
        );
        quote! {
            #cfg
            const _: () = {
                let Ok(made) = #name::#form(#(#arguments),*) else { panic!(#built) };
                assert!(made.encode() == #value && #name::decode(#value).is_ok(), #decoded);
            };
        }
    }
}

fn arguments(fields: &[VariantField], of: &BTreeMap<String, u64>) -> Vec<Literal> {
    fields
        .iter()
        .map(|field| Literal::u64_unsuffixed(of.get(&field.name).copied().unwrap_or(0)))
        .collect()
}

fn range(field: &VariantField) -> String {
    format!("{} to {}, in bits {}:{}", field.min, field.max, field.bits.high, field.bits.low)
}

fn check(field: &VariantField) -> TokenStream {
    let (name, text) = (naming::FIELD.ident(&field.name), &field.name);
    let widest = width_mask(smallest_primitive(field.bits));
    let (min, max) = (Literal::u64_unsuffixed(field.min), Literal::u64_unsuffixed(field.max));
    let conditions: Vec<TokenStream> = [
        (field.min > 0).then(|| quote!(#name < #min)),
        (field.max < widest).then(|| quote!(#name > #max)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if conditions.is_empty() {
        return TokenStream::new();
    }
    let wide = if widest == u64::MAX { quote!(#name) } else { quote!(#name as u64) };
    quote! {
        if #(#conditions)||* {
            return Err(crate::access::FieldError::new(#text, #wide, #min, #max));
        }
    }
}

/// Returns the bits of `value`, shifted down.
fn extracted(bits: Bits, value: &TokenStream) -> TokenStream {
    let mask = hex(largest(bits));
    let down = if bits.low == 0 { value.clone() } else { shifted(value, &quote!(>>), bits.low) };
    quote!((#down & #mask))
}

fn shifted(value: &TokenStream, how: &TokenStream, by: u32) -> TokenStream {
    let by = Literal::u32_unsuffixed(by);
    quote!((#value #how #by))
}

fn in_place(tag: u64, bits: Bits) -> u64 {
    tag.checked_shl(bits.low).unwrap_or(0)
}

fn largest(bits: Bits) -> u64 {
    bits.mask() >> bits.low
}

fn width_mask(primitive: Primitive) -> u64 {
    match primitive {
        Primitive::U8 | Primitive::I8 | Primitive::Char => u64::from(u8::MAX),
        Primitive::U16 | Primitive::I16 => u64::from(u16::MAX),
        Primitive::U32 | Primitive::I32 => u64::from(u32::MAX),
        Primitive::U64 | Primitive::I64 | Primitive::Ulong => u64::MAX,
    }
}

/// Returns the smallest unsigned integer that holds the bits.
fn smallest_primitive(bits: Bits) -> Primitive {
    match bits.width() {
        0..=8 => Primitive::U8,
        9..=16 => Primitive::U16,
        17..=32 => Primitive::U32,
        _ => Primitive::U64,
    }
}

fn smallest(bits: Bits) -> Ident {
    integer(smallest_primitive(bits))
}
