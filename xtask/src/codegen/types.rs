//! The Rust types of fields.

use super::context::{CodegenError, Context, Scope};
use crate::document::{ArchId, Count, Field, Head, Primitive, ReleaseId, StructKind, TypeRef};
use crate::layout::{Basis, Item};
use crate::naming::{self, Rule};
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

/// Something of a generated file that other code can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    file: String,
    /// Whether it stands in the file's module of layouts.
    raw: bool,
    name: String,
}

/// A Rust type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A primitive integer.
    Integer(Primitive),
    /// Anything else that has a name.
    Named(Path),
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

/// Returns Rust's name of an integer.
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
    pub(super) fn new(context: &Context<'_, '_>, rule: Rule, head: &Head) -> Self {
        Self { file: head.place.file.clone(), raw: false, name: context.item_name(rule, head) }
    }

    pub(super) fn tokens(&self, scope: Scope<'_>) -> TokenStream {
        let name = naming::ident(&self.name);
        if self.raw && scope.raw && self.file == scope.file {
            return quote!(#name);
        }
        let before = scope.path_to(&self.file);
        if self.raw { quote!(#before raw::#name) } else { quote!(#before #name) }
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
                let constant = context.symbols().constant(name, cell.release, cell.arch);
                let head = &constant.map_err(CodegenError::at(place))?.head;
                Self::Constant(Path::new(context, naming::CONSTANT, head))
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
    /// Returns the Rust type of `type_` there. If it has none, the error blames `place`.
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
        let found = context.symbols().type_(name, cell.release, cell.arch);
        let path = |head| Path::new(context, naming::TYPE, head);
        Ok(match found.map_err(CodegenError::at(place))? {
            Item::Enumeration(item) if cell.view == View::Raw => Self::Integer(item.is),
            Item::Word(item) => Self::Integer(item.is),
            Item::Enumeration(item) => Self::Named(path(&item.head)),
            Item::Struct(item) => {
                Self::Named(Path { raw: item.kind == StructKind::Block, ..path(&item.head) })
            }
            Item::Encoding(_) => {
                return Err(CodegenError::new(place, format!("no field can be of type `{name}`")));
            }
            Item::Alias(item) => {
                let is = item
                    .is
                    .get(cell.arch)
                    .ok_or_else(|| CodegenError::new(place, "no type for this architecture"))?;
                let basis = meaning(context, is, place, cell)?;
                // An alias of a newtype is no integer, so it cannot be used in a raw struct.
                if matches!(basis, Basis::Enumeration(_)) && cell.view == View::Raw {
                    let place = &item.head.place;
                    let count = item.count.as_ref().and_then(|count| count.get(cell.arch));
                    return Self::of(context, is, place, cell)?.array(context, count, place, cell);
                }
                Self::Named(path(&item.head))
            }
        })
    }

    /// Returns the Rust type of a described field there; `inner` is the type of members of its own.
    pub(super) fn of_field(
        context: &Context<'_, '_>,
        field: &Field,
        inner: Option<String>,
        cell: Cell,
    ) -> Result<Self, CodegenError> {
        let place = &field.head.place;
        let element = match (field.type_(), inner) {
            (Some(type_), _) => Self::of(context, type_, place, cell)?,
            (None, Some(inner)) => Self::Inner(inner),
            (None, None) => return Err(CodegenError::new(place, "no type can be named here")),
        };
        let count = field.count.as_ref().and_then(|count| count.get(cell.arch));
        element.array(context, count, place, cell)
    }

    /// So many of this type; the type itself without a count.
    pub(super) fn array(
        self,
        context: &Context<'_, '_>,
        count: Option<&Count>,
        place: &Place,
        cell: Cell,
    ) -> Result<Self, CodegenError> {
        let length = count.map(|count| Length::of(context, count, place, cell)).transpose()?;
        Ok(match length {
            Some(length) => Self::Array(Box::new(self), length),
            None => self,
        })
    }

    pub(super) fn tokens(&self, scope: Scope<'_>) -> TokenStream {
        match self {
            Self::Integer(primitive) => {
                let name = integer(*primitive);
                quote!(#name)
            }
            Self::Named(path) => path.tokens(scope),
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

/// Returns what a type is once all its aliases are followed.
pub(super) fn meaning<'d>(
    context: &Context<'_, 'd>,
    type_: &'d TypeRef,
    place: &Place,
    cell: Cell,
) -> Result<Basis<'d>, CodegenError> {
    let meaning = context.symbols().meaning(type_, cell.release, cell.arch);
    Ok(meaning.map_err(CodegenError::at(place))?.basis)
}
