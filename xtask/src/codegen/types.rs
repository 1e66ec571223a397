//! The Rust types of fields.

use super::context::{Context, Scope};
use super::error::CodegenError;
use crate::document::{ArchId, Count, Head, Primitive, ReleaseId, StructKind, TypeRef};
use crate::layout::{Basis, Item, Symbols};
use crate::naming;
use crate::yaml::Place;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// Whether the hypervisor's view is wanted, or the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Words and enumerations are their integers.
    Raw,
    /// Enumerations are newtypes.
    Argument,
}

/// The release and the architecture for which a type is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) release: ReleaseId,
    pub(super) arch: ArchId,
    pub(super) view: View,
}

/// Something of a generated file that a type can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    file: String,
    name: String,
}

/// A Rust type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A primitive integer.
    Integer(Primitive),
    /// Another name.
    Alias(Path),
    /// An enumeration's newtype.
    Newtype(Path),
    /// A struct that is handed to a hypercall.
    Argument(Path),
    /// The layout of a block.
    Raw(Path),
    /// A union or struct that is generated with the struct that holds it.
    Inner(String),
    /// So many of something.
    Array(Box<Type>, Length),
    /// A guest pointer.
    Handle(Box<Type>),
}

/// The length of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Number(u64),
    Constant(Path),
}

/// Rust's name of an integer.
pub(super) fn integer(primitive: Primitive) -> Ident {
    naming::ident(match primitive {
        Primitive::U8 | Primitive::Char => "u8",
        Primitive::U16 => "u16",
        Primitive::U32 => "u32",
        Primitive::U64 => "u64",
        Primitive::I8 => "i8",
        Primitive::I16 => "i16",
        Primitive::I32 => "i32",
        Primitive::I64 => "i64",
        Primitive::Ulong => "usize",
    })
}

impl Path {
    pub(super) fn new(context: &Context<'_, '_>, rule: naming::Rule, head: &Head) -> Self {
        Self { file: head.place.file.clone(), name: context.item_name(rule, head) }
    }

    pub(super) fn tokens(&self, scope: Scope<'_>) -> TokenStream {
        let before = scope.path_to(&self.file);
        let name = naming::ident(&self.name);
        quote!(#before #name)
    }

    fn raw(&self, scope: Scope<'_>) -> TokenStream {
        let name = naming::ident(&self.name);
        if self.file == scope.file && scope.raw {
            return quote!(#name);
        }
        let before = scope.path_to(&self.file);
        quote!(#before raw::#name)
    }
}

impl Length {
    pub(super) fn of(
        context: &Context<'_, '_>,
        count: &Count,
        place: &Place,
        cell: Cell,
    ) -> Result<Self, CodegenError> {
        Ok(match count {
            Count::Number(number) => Self::Number(*number),
            Count::Flexible => Self::Number(0),
            Count::Constant(name) => {
                let constant = context
                    .names()
                    .constant(name, cell.release, cell.arch)
                    .map_err(CodegenError::at(place))?;
                Self::Constant(Path::new(context, naming::CONSTANT, &constant.head))
            }
        })
    }

    pub(super) fn tokens(&self, scope: Scope<'_>) -> TokenStream {
        match self {
            Self::Number(number) => {
                let number = Literal::u64_unsuffixed(*number);
                quote!(#number)
            }
            Self::Constant(path) => {
                let path = path.tokens(scope);
                quote!(#path as usize)
            }
        }
    }
}

impl Type {
    /// The Rust type of `type_` there. `place` is blamed if it has none.
    pub(super) fn of(
        context: &Context<'_, '_>,
        type_: &TypeRef,
        place: &Place,
        cell: Cell,
    ) -> Result<Self, CodegenError> {
        let name = match type_ {
            TypeRef::Primitive(primitive) => return Ok(Self::Integer(*primitive)),
            TypeRef::Handle(to) => {
                return Ok(Self::Handle(Box::new(Self::of(context, to, place, cell)?)));
            }
            TypeRef::Named(name) => name,
        };
        match context
            .names()
            .type_(name, cell.release, cell.arch)
            .map_err(CodegenError::at(place))?
        {
            Item::Enumeration(item) if cell.view == View::Raw => Ok(Self::Integer(item.is)),
            Item::Enumeration(item) => {
                Ok(Self::Newtype(Path::new(context, naming::TYPE, &item.head)))
            }
            Item::Word(item) => Ok(Self::Integer(item.is)),
            Item::Struct(item) => {
                let path = Path::new(context, naming::TYPE, &item.head);
                Ok(if item.kind == StructKind::Block {
                    Self::Raw(path)
                } else {
                    Self::Argument(path)
                })
            }
            Item::Alias(item) => {
                let is = item
                    .is
                    .get(cell.arch)
                    .ok_or_else(|| CodegenError::new(place, "no type for this architecture"))?;
                let plain = meaning(context.names(), is, place, cell)?;
                // An alias of a newtype is no integer, and so has no place in a raw struct.
                if matches!(plain, Basis::Enumeration(_))
                    && (cell.view == View::Raw || is_shadowed(context, &item.head, &plain))
                {
                    let target = Self::of(context, is, &item.head.place, cell)?;
                    return match item.count.as_ref().and_then(|count| count.get(cell.arch)) {
                        Some(count) => {
                            Ok(target.array(Length::of(context, count, &item.head.place, cell)?))
                        }
                        None => Ok(target),
                    };
                }
                Ok(Self::Alias(Path::new(context, naming::TYPE, &item.head)))
            }
            Item::Encoding(item) => Err(CodegenError::new(
                place,
                format!("no field can be made of the encoding `{}`", item.head.name),
            )),
        }
    }

    /// So many of this type.
    pub(super) fn array(self, length: Length) -> Self {
        Self::Array(Box::new(self), length)
    }

    pub(super) fn tokens(&self, scope: Scope<'_>) -> TokenStream {
        match self {
            Self::Integer(primitive) => {
                let name = integer(*primitive);
                quote!(#name)
            }
            Self::Alias(path) | Self::Newtype(path) | Self::Argument(path) => path.tokens(scope),
            Self::Raw(path) => path.raw(scope),
            Self::Inner(name) => {
                let name = naming::ident(name);
                quote!(#name)
            }
            Self::Array(element, length) => {
                let (element, length) = (element.tokens(scope), length.tokens(scope));
                quote!([#element; #length])
            }
            Self::Handle(to) => {
                let to = to.tokens(scope);
                quote!(crate::access::Handle<#to>)
            }
        }
    }
}

/// What a type is once all its aliases are followed.
pub(super) fn meaning<'d>(
    names: &Symbols<'d>,
    type_: &'d TypeRef,
    place: &Place,
    cell: Cell,
) -> Result<Basis<'d>, CodegenError> {
    Ok(names.meaning(type_, cell.release, cell.arch).map_err(CodegenError::at(place))?.basis)
}

/// Whether an alias has the Rust name of the enumeration behind it, as `domid_t` and `domid` have.
pub(super) fn is_shadowed(context: &Context<'_, '_>, alias: &Head, basis: &Basis<'_>) -> bool {
    matches!(basis, Basis::Enumeration(item) if context.item_name(naming::TYPE, alias) == context.item_name(naming::TYPE, &item.head))
}
