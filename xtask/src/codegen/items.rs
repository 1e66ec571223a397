//! `types`, `constants`, `enumerations`, `words` and `conventions`. A word becomes a module of
//! tock-registers fields.

use super::context::{CodegenError, Context, Scope, by_arch, hex, number};
use super::docs::Docs;
use super::types::{Cell, Type, View, integer};
use crate::document::{
    ArchId, ArchSet, Availability, BitField, Bits, Constant, Convention, Enumeration, Head, Radix,
    ReleaseId, StringConstant, TypeAlias, Word,
};
use crate::naming;
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::collections::{BTreeMap, HashMap};

/// `pub type XenPfn = u64;`
pub(super) fn alias(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    item: &TypeAlias,
) -> Result<TokenStream, CodegenError> {
    let head = &item.head;
    let release = context.release_of(head.availability);
    let name = context.item_ident(naming::TYPE, head);
    let deprecated = context.deprecated(head);
    let groups = by_arch(head.availability.archs, |arch| {
        let cell = Cell { release, arch, view: View::Argument };
        let is = item.is.get(arch).ok_or_else(|| no_value(head))?;
        let count = item.count.as_ref().and_then(|count| count.get(arch));
        Type::of(context, is, &head.place, cell)?.array(context, count, &head.place, cell)
    })?;
    let each = groups.into_iter().map(|(archs, type_)| {
        let docs = Docs::item(context, head).outer();
        let (cfg, type_) = (context.item_cfg(archs), type_.tokens(scope));
        quote!(#docs #cfg #deprecated pub type #name = #type_;)
    });
    Ok(each.collect())
}

/// `pub const XEN_LEGACY_MAX_VCPUS: u32 = 32;`
pub(super) fn constant(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    item: &Constant,
) -> Result<TokenStream, CodegenError> {
    let head = &item.head;
    let release = context.release_of(head.availability);
    let name = context.item_ident(naming::CONSTANT, head);
    let deprecated = context.deprecated(head);
    let groups = by_arch(head.availability.archs, |arch| {
        let value = item.value.get(arch).ok_or_else(|| no_value(head))?;
        let cell = Cell { release, arch, view: View::Raw };
        Ok((Type::of(context, &item.type_, &head.place, cell)?, *value))
    })?;
    let each = groups.into_iter().map(|(archs, (type_, value))| {
        let docs = Docs::item(context, head).outer();
        let (cfg, type_) = (context.item_cfg(archs), type_.tokens(scope));
        let value = number(value, item.radix);
        quote!(#docs #cfg #deprecated pub const #name: #type_ = #value;)
    });
    Ok(each.collect())
}

/// `pub const XENKBD_DRIVER_NAME: &str = "vkbd";`
pub(super) fn string(
    context: &Context<'_, '_>,
    item: &StringConstant,
) -> Result<TokenStream, CodegenError> {
    let head = &item.head;
    let (name, deprecated) = (context.item_ident(naming::CONSTANT, head), context.deprecated(head));
    let groups = by_arch(head.availability.archs, |arch| {
        item.value.get(arch).cloned().ok_or_else(|| no_value(head))
    })?;
    let each = groups.into_iter().map(|(archs, value)| {
        let (docs, cfg) = (Docs::item(context, head).outer(), context.item_cfg(archs));
        quote!(#docs #cfg #deprecated pub const #name: &str = #value;)
    });
    Ok(each.collect())
}

fn no_value(head: &Head) -> CodegenError {
    CodegenError::new(&head.place, "no value for this architecture")
}

/// Returns a newtype with named constants, because Xen may always use values that have no name.
pub(super) fn enumeration(context: &Context<'_, '_>, item: &Enumeration) -> TokenStream {
    let head = &item.head;
    let (cfg, deprecated) = (context.item_cfg(head.availability.archs), context.deprecated(head));
    let docs = Docs::item(context, head).outer();
    let (name, is) = (context.item_ident(naming::TYPE, head), integer(item.is));
    let heads: Vec<&Head> = item.values.iter().map(|value| &value.head).collect();
    let names = naming::distinct(naming::CONSTANT, &heads);
    let values = item.values.iter().zip(names).filter_map(|(value, name)| {
        let (head, within) = (&value.head, item.head.availability);
        let docs = Docs::part(context, head, within).outer();
        let cfg = context.cfg(head.availability.archs, within.archs);
        let deprecated = context.deprecated_in(head, within.releases);
        let (name, value) = (naming::ident(&name?), number(value.value, value.radix));
        Some(quote!(#docs #cfg #deprecated pub const #name: Self = Self(#value);))
    });
    let (look_up, since) = (look_up(context, item), since(context, item));
    quote! {
        #docs
        #cfg
        #deprecated
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct #name(pub #is);

        #cfg
        impl #name {
            #(#values)*

            /// Returns the value's C name without its prefix; `None` for a value that is not one of
            /// the constants.
            #[inline]
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                #look_up
            }

            #since
        }

        #cfg
        crate::access::named!(#name(#is));
    }
}

/// Returns the body of `name`. Where two values are equal on an architecture, the later release's
/// name is given, or else the first.
fn look_up(context: &Context<'_, '_>, item: &Enumeration) -> TokenStream {
    let mut latest_first: Vec<usize> = (0..item.values.len()).collect();
    latest_first
        .sort_by_key(|&at| std::cmp::Reverse(item.values[at].head.availability.releases.until));
    let mut taken: HashMap<i128, Vec<ArchSet>> = HashMap::new();
    let mut shown = vec![ArchSet::default(); item.values.len()];
    for at in latest_first {
        let value = &item.values[at];
        let taken = taken.entry(value.value).or_default();
        let is_free = |arch: &_| !taken.iter().any(|archs| archs.contains(*arch));
        shown[at] = value.head.availability.archs.iter().filter(is_free).collect();
        taken.push(shown[at]);
    }
    let shown = item.values.iter().zip(shown).filter(|(_, archs)| !archs.is_empty());
    let arms = shown.map(|(value, archs)| {
        let cfg = context.cfg(archs, item.head.availability.archs);
        let (number, name) = (number(value.value, value.radix), &value.head.name);
        quote!(#cfg #number => Some(#name),)
    });
    quote!(match self.0 { #(#arms)* _ => None })
}

/// Returns the method `since`, if Xen honours a value later than the type.
fn since(context: &Context<'_, '_>, item: &Enumeration) -> TokenStream {
    let own = item.head.availability;
    let own_since = own.honoured_since.unwrap_or(own.releases.since);
    // A renamed value is as old as its first name.
    let mut first: BTreeMap<(i128, ArchId), (ReleaseId, Radix)> = BTreeMap::new();
    for value in &item.values {
        let Availability { releases, honoured_since, archs } = value.head.availability;
        let later = (releases.since > own.releases.since).then_some(releases.since);
        let since = honoured_since.or(later).unwrap_or(own_since);
        for arch in archs.iter() {
            let first = first.entry((value.value, arch)).or_insert((since, value.radix));
            first.0 = first.0.min(since);
        }
    }
    let mut late: BTreeMap<(i128, ReleaseId), (Radix, Vec<ArchId>)> = BTreeMap::new();
    for ((value, arch), (since, radix)) in first {
        if since > own_since {
            late.entry((value, since)).or_insert((radix, Vec::new())).1.push(arch);
        }
    }
    if late.is_empty() {
        return TokenStream::new();
    }
    let arms = late.into_iter().map(|((value, since), (radix, archs))| {
        let cfg = context.cfg(archs.into_iter().collect(), own.archs);
        let (value, since) = (number(value, radix), context.release(since));
        quote!(#cfg #value => Some(crate::release::Release::new #since),)
    });
    quote! {
        /// Returns the first release whose hypervisor supports the value. `None` if it supports the
        /// value since it supports the type, or if no constant has the value.
        #[inline]
        #[must_use]
        pub const fn since(self) -> Option<crate::release::Release> {
            match self.0 { #(#arms)* _ => None }
        }
    }
}

/// How the target makes a hypercall, as data.
pub(super) fn convention(
    context: &Context<'_, '_>,
    item: &Convention,
) -> Result<TokenStream, CodegenError> {
    let cfg = context.item_cfg(ArchSet::from_iter([item.arch]));
    let docs = Docs::of(&item.doc).outer();
    let Convention { number, arguments, result, instructions, page, clobbers, .. } = item;
    let immediate = match &item.immediate {
        None => quote!(None),
        Some(name) => {
            let newest = context.manifest().newest();
            let constant = context.symbols().constant(name, newest, item.arch);
            let constant = constant.map_err(CodegenError::at(&item.place))?;
            let value = constant.value.get(item.arch).ok_or_else(|| no_value(&constant.head))?;
            let value = self::number(*value, constant.radix);
            quote!(Some(#value))
        }
    };
    Ok(quote! {
        #docs
        #cfg
        pub const CONVENTION: crate::command::Convention = crate::command::Convention {
            number: #number,
            arguments: &[#(#arguments),*],
            result: #result,
            instructions: &[#(#instructions),*],
            page: #page,
            immediate: #immediate,
            clobbers: &[#(#clobbers),*],
        };
    })
}

pub(super) fn word(context: &Context<'_, '_>, item: &Word) -> TokenStream {
    let head = &item.head;
    let (cfg, deprecated) = (context.item_cfg(head.availability.archs), context.deprecated(head));
    let docs = Docs::item(context, head).outer();
    let (name, is) = (context.item_ident(naming::MODULE, head), integer(item.is));
    let heads: Vec<&Head> = item.fields.iter().map(|field| &field.head).collect();
    let constants = naming::distinct(naming::CONSTANT, &heads);
    let fields = item.fields.iter().zip(constants);
    let fields = fields.filter_map(|(of, name)| Some(field(context, item, of, &name?)));
    let about =
        format!(" The second type parameter of this word's registers; the first is `{is}`.");
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

/// Returns a module with the named values of a field.
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
