//! The keys of the description's language: one table for each kind of mapping.
//!
//! The reader refuses every key that is not in its mapping's table. The JSON Schema for editors and
//! the list of keys for people are made of the same tables.

use super::commands::{CallResult, CallShape};
use super::mapping::{Head, Key, Kind, Mapping, TEXTS, mapping, optional, required};
use super::structs::{ACCESSES, Direction, Writer};
use super::types::Primitive;

/// Returns the names of choices.
const fn names<T: Copy, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = choices[at].0;
        at += 1;
    }
    names
}

/// The features that a file can name.
pub const FEATURES: [(&str, &str); 1] = [("io", "io")];
/// The widths of a pointer.
pub const POINTERS: [u32; 2] = [32, 64];
/// The alignments of a 64-bit integer.
pub const ALIGNMENTS: [u32; 2] = [4, 8];
/// The widths of atomic accesses.
pub const ATOMICS: [u32; 4] = [8, 16, 32, 64];

static PRIMITIVE_NAMES: [&str; Primitive::ALL.len()] = names(&Primitive::ALL);
static FEATURE_NAMES: [&str; FEATURES.len()] = names(&FEATURES);
static ACCESS_NAMES: [&str; ACCESSES.len()] = names(&ACCESSES);
static WRITER_NAMES: [&str; Writer::ALL.len()] = names(&Writer::ALL);
static DIRECTION_NAMES: [&str; Direction::ALL.len()] = names(&Direction::ALL);
static SHAPE_NAMES: [&str; CallShape::ALL.len()] = names(&CallShape::ALL);
static RESULT_NAMES: [&str; CallResult::ALL.len()] = names(&CallResult::ALL);

const PRIMITIVE: Kind = Kind::Choice(&PRIMITIVE_NAMES);
/// The file `manifest.yaml`.
pub static MANIFEST: Mapping = mapping(
    "manifest",
    "a manifest",
    Head::Absent,
    &[
        required("releases", Kind::List(&Kind::Release), "The releases, oldest first, in quotes."),
        required(
            "architectures",
            Kind::Map(&Kind::Item(&ARCHITECTURE)),
            "The architectures, by Rust's `target_arch`.",
        ),
        required("files", TEXTS, "The other files, in the order of the documentation."),
    ],
);

/// An architecture of the manifest.
pub static ARCHITECTURE: Mapping = mapping(
    "architecture",
    "an architecture",
    Head::Absent,
    &[
        required("doc", Kind::Text, "What it is, in our own words."),
        required(
            "pointer",
            Kind::Numbers(&POINTERS),
            "The width of a pointer, and of C's `unsigned long`, in bits.",
        ),
        required(
            "align_u64",
            Kind::Numbers(&ALIGNMENTS),
            "The alignment of a 64-bit integer in C, in bytes.",
        ),
        required(
            "max_atomic",
            Kind::Numbers(&ATOMICS),
            "The widest atomic read-modify-write that every correctly aligned field allows, in \
             bits.",
        ),
    ],
);

/// A subject file.
pub static FILE: Mapping = mapping(
    "file",
    "a file's sections",
    Head::Absent,
    &[
        required("doc", Kind::Text, "The subject of the file."),
        required(
            "header",
            Kind::Text,
            "The upstream header of its items, relative to `xen/include/public/`.",
        ),
        optional(
            "feature",
            Kind::Choice(&FEATURE_NAMES),
            "The feature of xen-pac that has the module; `io` for protocols of devices that few \
             guests have.",
        ),
        optional("types", Kind::Map(&Kind::Item(&TYPE)), "Names for integers."),
        optional("constants", Kind::List(&Kind::Item(&CONSTANT)), "Numbers with names."),
        optional("strings", Kind::List(&Kind::Item(&STRING)), "Names in xenstore."),
        optional(
            "enumerations",
            Kind::Map(&Kind::Item(&ENUMERATION)),
            "Integers with named values; others may occur.",
        ),
        optional("words", Kind::Map(&Kind::Item(&WORD)), "Integers made of bit fields."),
        optional("encodings", Kind::Map(&Kind::Item(&ENCODING)), "Values with a discriminant."),
        optional(
            "conventions",
            Kind::Map(&Kind::Item(&CONVENTION)),
            "How each architecture makes a hypercall.",
        ),
        optional(
            "blocks",
            Kind::Map(&Kind::Item(&BLOCK)),
            "Memory that the guest shares with Xen or with a peer.",
        ),
        optional(
            "arguments",
            Kind::Map(&Kind::Item(&ARGUMENT)),
            "Structs that are handed to a hypercall.",
        ),
        optional(
            "commands",
            Kind::Map(&Kind::Item(&COMMANDS)),
            "The operations of hypercalls, by the value of the enumeration `hypercall_nr`.",
        ),
    ],
);

/// A name for an integer.
pub static TYPE: Mapping = mapping(
    "type",
    "a type",
    Head::Keyed,
    &[
        required(
            "is",
            Kind::PerArch(&Kind::Type),
            "A primitive (`u8` to `u64`, `i8` to `i64`, `char`, `ulong`), `handle` for a guest \
             pointer, or another type.",
        ),
        optional("to", Kind::Type, TO),
        optional("count", Kind::PerArch(&Kind::Count), "The length, if it is an array."),
    ],
);

const TO: &str = "What a `handle` points to; bytes without it.";

/// A number with a name.
pub static CONSTANT: Mapping = mapping(
    "constant",
    "a constant",
    Head::Named,
    &[
        required("type", Kind::Type, "An integer type."),
        required(
            "value",
            Kind::PerArch(&Kind::Integer),
            "Decimal or hexadecimal; Rust has it in the same radix.",
        ),
    ],
);

/// A text with a name.
pub static STRING: Mapping = mapping(
    "string",
    "a string",
    Head::Named,
    &[required(
        "value",
        Kind::PerArch(&Kind::Ascii),
        "Printable ASCII without `\"` and `\\`; in Rust, a `&str`.",
    )],
);

/// An integer with named values.
pub static ENUMERATION: Mapping = mapping(
    "enumeration",
    "an enumeration",
    Head::Keyed,
    &[
        required("is", PRIMITIVE, IS),
        optional("prefix", Kind::Text, PREFIX),
        optional("alias", Kind::Boolean, "`true` if two values can be equal."),
        required("values", Kind::List(&Kind::Item(&VALUE)), "The values."),
    ],
);

const IS: &str = "The integer that holds it.";
const PREFIX: &str = "What the C names begin with.";

/// A named value of an enumeration or of a bit field.
pub static VALUE: Mapping = mapping(
    "value",
    "a value with a name",
    Head::Named,
    &[required(
        "value",
        Kind::Integer,
        "The number; in a bit field, before it is shifted into place.",
    )],
);

/// An integer made of bit fields.
pub static WORD: Mapping = mapping(
    "word",
    "a word",
    Head::Keyed,
    &[
        required("is", PRIMITIVE, IS),
        optional("prefix", Kind::Text, PREFIX),
        required("fields", Kind::List(&Kind::Item(&BIT_FIELD)), "The bit fields."),
    ],
);

/// Some bits of a word.
pub static BIT_FIELD: Mapping = mapping(
    "bit field",
    "a bit field",
    Head::Named,
    &[
        required("bits", Kind::Bits, BITS),
        optional("index_c", Kind::Text, "The C constant that holds the number of the lowest bit."),
        optional(
            "values",
            Kind::List(&Kind::Item(&VALUE)),
            "Names for values. The C constants are shifted into place.",
        ),
    ],
);

const BITS: &str = "`\"high:low\"` in quotes, or the number of one bit.";

/// A value with a discriminant.
pub static ENCODING: Mapping = mapping(
    "encoding",
    "an encoding",
    Head::Keyed,
    &[
        required("is", PRIMITIVE, IS),
        required("tag", Kind::Bits, "The bits that tell the forms apart."),
        required("variants", Kind::List(&Kind::Item(&VARIANT)), "The forms."),
    ],
);

/// A form of an encoding.
pub static VARIANT: Mapping = Mapping {
    one_of: &["value", "tag"],
    ..mapping(
        "form",
        "a form of the encoding",
        Head::Named,
        &[
            optional("value", Kind::Unsigned, "The whole value, for a form without fields."),
            optional(
                "tag",
                Kind::Unsigned,
                "The discriminant, for a form with fields. The C constant is the tag.",
            ),
            optional("fields", Kind::List(&Kind::Item(&VARIANT_FIELD)), "The fields."),
            optional(
                "example",
                Kind::Map(&Kind::Unsigned),
                "The whole under `value`, and each field by its name. The compiler checks that \
                 they encode and decode into one another.",
            ),
        ],
    )
};

/// A field of a form.
pub static VARIANT_FIELD: Mapping = mapping(
    "field of a form",
    "a field of the form",
    Head::Absent,
    &[
        required("name", Kind::Text, "The name in Rust."),
        required("doc", Kind::Text, "What it is, in our own words."),
        required("bits", Kind::Bits, BITS),
        optional("min", Kind::Unsigned, "The least value that the encoder accepts; 0 without it."),
        optional(
            "max",
            Kind::Unsigned,
            "The greatest value that the encoder accepts; what the bits can hold without it.",
        ),
    ],
);

/// How an architecture makes a hypercall.
pub static CONVENTION: Mapping = mapping(
    "convention",
    "a convention",
    Head::Absent,
    &[
        required("doc", Kind::Text, "What is special, in our own words."),
        required("number", Kind::Text, "The register that holds the hypercall's number."),
        required("result", Kind::Text, "The register that holds the result."),
        required("page", Kind::Boolean, "Whether Xen can fill a page with code for the call."),
        optional("immediate", Kind::Text, "The constant that the instruction carries."),
        required("arguments", TEXTS, "The registers that hold the arguments."),
        required("instructions", TEXTS, "The instructions that can make the call."),
        required("clobbers", TEXTS, "What else changes: registers, flags, `memory`."),
    ],
);

const SIZE: &str = "The size in bytes in the newest release; checks the layout.";
const FIELDS: &str = "The fields, in C's order. A struct without any has `[]`.";
const LENGTH: &str = "The length of an array: a number, the name of a constant, or `flexible` for \
                      the last field.";

/// Memory that is shared.
pub static BLOCK: Mapping = mapping(
    "block",
    "a block",
    Head::Keyed,
    &[
        optional("size", Kind::PerArch(&Kind::Unsigned), SIZE),
        required("fields", Kind::List(&Kind::Item(&BLOCK_FIELD)), FIELDS),
        optional(
            "snapshots",
            Kind::Map(&Kind::Item(&SNAPSHOT)),
            "Groups of fields that are read under a counter.",
        ),
    ],
);

/// A field of a block.
pub static BLOCK_FIELD: Mapping = mapping(
    "field of a block",
    "a field",
    Head::Silent,
    &[
        required("type", Kind::Type, "The type. A block as type has its own accesses."),
        optional("to", Kind::Type, TO),
        optional("count", Kind::PerArch(&Kind::Count), LENGTH),
        optional(
            "access",
            Kind::Choice(&ACCESS_NAMES),
            "Who accesses it, and how. Only a field whose type is a block has none.",
        ),
        optional(
            "writer",
            Kind::Choice(&WRITER_NAMES),
            "The side that writes a `plain` or an `index` field. `xen` stands for the other side, \
             which may be another domain.",
        ),
    ],
);

/// A group of fields that is read under a counter.
pub static SNAPSHOT: Mapping = mapping(
    "snapshot",
    "a snapshot",
    Head::Absent,
    &[
        required("doc", Kind::Text, "What it is, in our own words."),
        required("counter", Kind::Text, "The field that counts updates."),
        required(
            "members",
            Kind::Map(&Kind::PerArch(&Kind::Text)),
            "The path in the block of each member, by its name in the snapshot.",
        ),
    ],
);

/// A struct that is handed to a hypercall.
pub static ARGUMENT: Mapping = mapping(
    "argument",
    "an argument",
    Head::Keyed,
    &[
        optional("size", Kind::PerArch(&Kind::Unsigned), SIZE),
        required("fields", Kind::List(&Kind::Item(&ARGUMENT_FIELD)), FIELDS),
    ],
);

const ANONYMOUS: &str = "`true` if C has no name for the union: its members stand in its place.";
const RESERVED: &str = "`true` for C's explicit padding, which is zero.";

static A_MEMBER: Kind = Kind::Item(&MEMBER);

/// The keys of a member, which a field of an argument has, too. A function, because a constant
/// cannot lead back to itself.
const fn member_keys() -> [Key; 7] {
    [
        optional("reserved", Kind::Boolean, RESERVED),
        optional("type", Kind::Type, "The type."),
        optional("to", Kind::Type, TO),
        optional("union", Kind::List(&A_MEMBER), "Members in the same place."),
        optional("struct", Kind::List(&A_MEMBER), "Members one after the other."),
        optional("anonymous", Kind::Boolean, ANONYMOUS),
        optional("count", Kind::PerArch(&Kind::Count), LENGTH),
    ]
}

static MEMBER_KEYS: [Key; 7] = member_keys();
static ARGUMENT_FIELD_KEYS: [Key; 8] = {
    let [a, b, c, d, e, f, g] = member_keys();
    [optional("direction", Kind::Choice(&DIRECTION_NAMES), DIRECTION), a, b, c, d, e, f, g]
};
const DIRECTION: &str = "Whether Xen reads it, writes it or both. Only a reserved field has none.";

/// A field of an argument.
pub static ARGUMENT_FIELD: Mapping = Mapping {
    one_of: &["type", "union", "struct"],
    ..mapping("field of an argument", "a field", Head::Silent, &ARGUMENT_FIELD_KEYS)
};

/// A member of a union or of a struct in an argument.
pub static MEMBER: Mapping = Mapping {
    one_of: &["type", "union", "struct"],
    ..mapping("member", "a field", Head::Silent, &MEMBER_KEYS)
};

/// The commands of a hypercall.
pub static COMMANDS: Mapping = mapping(
    "commands",
    "a hypercall's commands",
    Head::Absent,
    &[
        required("doc", Kind::Text, "What the hypercall does, in our own words."),
        optional("prefix", Kind::Text, PREFIX),
        optional("shape", SHAPE, "The shape of the commands that have none themselves."),
        required("list", Kind::List(&Kind::Item(&COMMAND)), "The commands."),
    ],
);

const SHAPE: Kind = Kind::Choice(&SHAPE_NAMES);

/// A command of a hypercall.
pub static COMMAND: Mapping = mapping(
    "command",
    "a command",
    Head::Named,
    &[
        required("number", Kind::Unsigned, "The number."),
        optional("shape", SHAPE, "C's arguments, if they differ from those of `commands`."),
        optional(
            "argument",
            Kind::Type,
            "An item of `arguments`, `blocks` or `types`, or a primitive. `bare` has none.",
        ),
        required(
            "result",
            Kind::Choice(&RESULT_NAMES),
            "The meaning of a result that is not negative.",
        ),
        optional(
            "hazard",
            Kind::Text,
            "In a sentence, what a careless call breaks beyond its argument, for instance that a \
             page disappears. The command is then called through an `unsafe fn`.",
        ),
    ],
);

/// Every mapping, outer ones first.
pub static ALL: [&Mapping; 22] = [
    &MANIFEST,
    &ARCHITECTURE,
    &FILE,
    &TYPE,
    &CONSTANT,
    &STRING,
    &ENUMERATION,
    &VALUE,
    &WORD,
    &BIT_FIELD,
    &ENCODING,
    &VARIANT,
    &VARIANT_FIELD,
    &CONVENTION,
    &BLOCK,
    &BLOCK_FIELD,
    &SNAPSHOT,
    &ARGUMENT,
    &ARGUMENT_FIELD,
    &MEMBER,
    &COMMANDS,
    &COMMAND,
];
