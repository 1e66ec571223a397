//! The resolved ABI as it is exported: plain data, without references to the description's text.
//!
//! Maps have architectures as keys, and a key only for each architecture that has the item. A
//! missing `until` means that the newest release still has the item.

use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the export's form. A change that breaks readers raises it.
pub const FORMAT: u32 = 1;

/// The whole ABI.
#[derive(Debug, Serialize)]
pub struct Abi {
    /// [`FORMAT`].
    pub format: u32,
    /// The releases, oldest first.
    pub releases: Vec<String>,
    /// The architectures, in the manifest's order.
    pub architectures: Vec<Architecture>,
    /// The subjects, in the manifest's order.
    pub files: Vec<File>,
}

/// The rules of an architecture's C compiler.
#[derive(Debug, Serialize)]
pub struct Architecture {
    /// Rust's `target_arch`.
    pub name: String,
    /// The documentation.
    pub doc: String,
    /// Bits of a pointer and of C's unsigned long.
    pub pointer: u32,
    /// The alignment of a 64-bit integer, in bytes.
    pub align_u64: u32,
    /// Bits of the widest atomic read-modify-write.
    pub max_atomic: u32,
}

/// A subject: a file of the description, and a module of xen-pac.
#[derive(Debug, Serialize)]
pub struct File {
    /// The name of the YAML file, without its ending.
    pub name: String,
    /// The documentation.
    pub doc: String,
    /// The module in xen-pac.
    pub rust: String,
    /// The feature of xen-pac that has the module, if it is not always there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// Names for integers.
    pub types: Vec<Alias>,
    /// Numbers.
    pub constants: Vec<Constant>,
    /// Names in xenstore.
    pub strings: Vec<StringConstant>,
    /// Integers with named values.
    pub enumerations: Vec<Enumeration>,
    /// Integers made of bit fields.
    pub words: Vec<Word>,
    /// Values with a discriminant.
    pub encodings: Vec<Encoding>,
    /// How each architecture makes a hypercall.
    pub conventions: Vec<Convention>,
    /// Blocks and arguments.
    pub structs: Vec<Struct>,
    /// Hypercalls with their commands.
    pub hypercalls: Vec<Hypercall>,
}

/// What every item has.
#[derive(Debug, Serialize)]
pub struct Head {
    /// The name in the description.
    pub name: String,
    /// The name in C, if the headers have one. A constant of a word or an encoding can have more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c: Option<String>,
    /// The path in Rust, for an item that stands on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rust: Option<String>,
    /// The upstream header, relative to `xen/include/public/`.
    pub header: String,
    /// The documentation, in Markdown.
    pub doc: String,
    /// The name of the replacement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// The releases of each architecture that have the item.
    pub availability: BTreeMap<String, Availability>,
}

/// The releases of one architecture that have an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Availability {
    /// The first release whose headers have it.
    pub since: String,
    /// The last one, if later headers dropped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The first release whose headers have the C name, if the item itself is older.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named_since: Option<String>,
    /// The first release whose hypervisor supports it; `null` if none does on this architecture.
    pub honoured_since: Option<String>,
}

/// A type by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Type {
    /// `u32`, `handle`, or the name of an item.
    pub name: String,
    /// The section of the item; `primitive` or `handle` for what needs none.
    pub kind: &'static str,
    /// What a handle points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Box<Self>>,
}

/// The length of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The number of elements in the newest release; `null` if as many follow as the caller knows.
    pub number: Option<u64>,
    /// The constant that gives the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<String>,
}

/// A name for an integer or an array.
#[derive(Debug, Serialize)]
pub struct Alias {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The type behind it, on each architecture.
    pub is: BTreeMap<String, Type>,
    /// The length, if it is an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<BTreeMap<String, Count>>,
    /// The size in bytes in the newest release that has it.
    pub size: BTreeMap<String, u64>,
}

/// A number with a name.
#[derive(Debug, Serialize)]
pub struct Constant {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// An integer type.
    #[serde(rename = "type")]
    pub type_: Type,
    /// The value on each architecture.
    pub value: BTreeMap<String, i128>,
    /// The radix of the description, 10 or 16.
    pub radix: u32,
}

/// A text with a name.
#[derive(Debug, Serialize)]
pub struct StringConstant {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The text on each architecture.
    pub value: BTreeMap<String, String>,
}

/// An integer with named values.
#[derive(Debug, Serialize)]
pub struct Enumeration {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The integer.
    pub is: &'static str,
    /// The prefix of the C names.
    pub prefix: String,
    /// The values.
    pub values: Vec<Value>,
}

/// A named value.
#[derive(Debug, Serialize)]
pub struct Value {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The number; in a bit field, before it is shifted into place.
    pub value: i128,
    /// The number in place: what the C constant holds.
    pub in_place: i128,
    /// The radix of the description, 10 or 16.
    pub radix: u32,
}

/// An integer made of bit fields.
#[derive(Debug, Serialize)]
pub struct Word {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The integer.
    pub is: &'static str,
    /// The prefix of the C names.
    pub prefix: String,
    /// The fields.
    pub fields: Vec<BitField>,
}

/// Some bits of a word. The C constant is the mask.
#[derive(Debug, Serialize)]
pub struct BitField {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The highest bit.
    pub high: u32,
    /// The lowest bit.
    pub low: u32,
    /// The bits in place.
    pub mask: u64,
    /// The C constant that holds the number of the lowest bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_c: Option<String>,
    /// Names for values of the field.
    pub values: Vec<Value>,
}

/// A value with a discriminant.
#[derive(Debug, Serialize)]
pub struct Encoding {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The integer.
    pub is: &'static str,
    /// The highest bit of the discriminant.
    pub high: u32,
    /// The lowest bit of the discriminant.
    pub low: u32,
    /// The forms.
    pub variants: Vec<Variant>,
}

/// A form of an encoding. The C constant is the tag or the whole value.
#[derive(Debug, Serialize)]
pub struct Variant {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The whole value, for a form without fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// The discriminant, for a form with fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<u64>,
    /// The fields.
    pub fields: Vec<VariantField>,
}

/// A field of a form.
#[derive(Debug, Serialize)]
pub struct VariantField {
    /// The name.
    pub name: String,
    /// The documentation, in Markdown.
    pub doc: String,
    /// The highest bit.
    pub high: u32,
    /// The lowest bit.
    pub low: u32,
    /// The least value that the encoder accepts.
    pub min: u64,
    /// The greatest value that the encoder accepts.
    pub max: u64,
}

/// How an architecture makes a hypercall.
#[derive(Debug, Serialize)]
pub struct Convention {
    /// The architecture.
    pub arch: String,
    /// The documentation, in Markdown.
    pub doc: String,
    /// The register that holds the hypercall's number.
    pub number: String,
    /// The registers that hold the arguments.
    pub arguments: Vec<String>,
    /// The register that holds the result.
    pub result: String,
    /// The instructions that can make the call.
    pub instructions: Vec<String>,
    /// Whether Xen can fill a page with code that makes the call.
    pub page: bool,
    /// The constant that the instruction carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immediate: Option<String>,
    /// The other registers and flags that change.
    pub clobbers: Vec<String>,
}

/// A block or an argument.
#[derive(Debug, Serialize)]
pub struct Struct {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// `block` or `argument`.
    pub kind: &'static str,
    /// The fields of all releases and architectures, in order.
    pub fields: Vec<Field>,
    /// Groups that are read under a counter.
    pub snapshots: Vec<Snapshot>,
    /// The layouts on each architecture, oldest release first.
    pub layouts: BTreeMap<String, Vec<Layout>>,
}

/// A field.
#[derive(Debug, Serialize)]
pub struct Field {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The type, unless the field is a union or a struct of its own.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<Type>,
    /// The length, if it is an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<BTreeMap<String, Count>>,
    /// In a block: who accesses it, and how. In a block or an argument: `reserved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'static str>,
    /// The side that writes it: `guest` or `xen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<&'static str>,
    /// In an argument: `in`, `out` or `both`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    /// Whether C has no name for the union.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// `union` or `struct`, if the field has members of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'static str>,
    /// The members of a union or a struct of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Self>,
}

/// A group of fields that is read under a counter.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// The name.
    pub name: String,
    /// The documentation, in Markdown.
    pub doc: String,
    /// The field that counts updates.
    pub counter: String,
    /// The path of each member in the block, on each architecture.
    pub members: BTreeMap<String, BTreeMap<String, String>>,
}

/// The layout of a struct in a range of releases on one architecture.
#[derive(Debug, Serialize)]
pub struct Layout {
    /// The first release that has it.
    pub since: String,
    /// The last one, if it is not the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The size in bytes.
    pub size: u32,
    /// The alignment in bytes.
    pub align: u32,
    /// The fields that exist there, in order.
    pub fields: Vec<Placed>,
    /// Offset and size of the bytes between the fields and after them.
    pub padding: Vec<[u32; 2]>,
}

/// A field's place.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// The field's name in the description.
    pub name: String,
    /// The path in C, from the start of the struct; without one, C has no name for the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c: Option<String>,
    /// The offset in bytes from the start of the struct.
    pub offset: u32,
    /// The size in bytes, of all elements of an array together; 0 if their number is open.
    pub size: u32,
    /// The number of elements, if it is an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The members of a union or a struct of its own; of an array, those of the first element.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Self>,
}

/// A hypercall with commands.
#[derive(Debug, Serialize)]
pub struct Hypercall {
    /// The name among the values of `hypercall_nr`.
    pub name: String,
    /// The number on each architecture that has it.
    pub number: BTreeMap<String, i128>,
    /// The documentation, in Markdown.
    pub doc: String,
    /// The prefix of the C names of the commands.
    pub prefix: String,
    /// The commands.
    pub commands: Vec<Command>,
}

/// A command.
#[derive(Debug, Serialize)]
pub struct Command {
    /// What every item has.
    #[serde(flatten)]
    pub head: Head,
    /// The number.
    pub number: u64,
    /// C's arguments: `bare`, `argument`, `vcpu`, `array`, `buffer` or `value`.
    pub shape: &'static str,
    /// What the argument is or points to; its fields have the directions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<Type>,
    /// The meaning of a result that is no error: `none`, `value`, `count` or `boolean`.
    pub result: &'static str,
    /// Whether no memory beyond the argument is at stake.
    pub safe: bool,
    /// What a careless call breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hazard: Option<String>,
}
