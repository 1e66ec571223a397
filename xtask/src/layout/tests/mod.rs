//! Hand-made descriptions, and what becomes of them.

mod layouts;
mod names;

use crate::document::{
    Access, ArchId, Architecture, Availability, Constant, Count, Document, Field, FieldUse, File,
    Head, Manifest, PerArch, Primitive, Radix, Release, ReleaseId, Shape, Struct, StructKind,
    TypeAlias, TypeRef, Writer,
};
use crate::yaml::Place;

pub(super) const X86_64: ArchId = ArchId(0);
pub(super) const X86: ArchId = ArchId(1);
pub(super) const OLD: ReleaseId = ReleaseId(0);
pub(super) const NEW: ReleaseId = ReleaseId(1);

pub(super) fn manifest() -> Manifest {
    let arch = |name: &str, pointer_bytes, align_u64| Architecture {
        name: name.to_owned(),
        doc: String::new(),
        pointer_bytes,
        align_u64,
        max_atomic_bytes: pointer_bytes,
        place: Place::root("manifest").key("architectures").key(name),
    };
    Manifest {
        releases: vec![Release { major: 4, minor: 4 }, Release { major: 4, minor: 5 }],
        architectures: vec![arch("x86_64", 8, 8), arch("x86", 4, 4)],
        files: vec!["base".to_owned()],
    }
}

pub(super) fn everywhere() -> Availability {
    let manifest = manifest();
    Availability {
        releases: manifest.all_releases(),
        honoured_since: None,
        archs: manifest.all_archs(),
    }
}

pub(super) fn head(name: &str, place: Place) -> Head {
    Head {
        name: name.to_owned(),
        doc: "A thing of the test.".to_owned(),
        header: "xen.h".to_owned(),
        availability: everywhere(),
        c: Some(name.to_owned()),
        named_since: None,
        honoured_arch: None,
        superseded_by: None,
        place,
    }
}

pub(super) fn field(name: &str, shape: Shape) -> Field {
    let place = Place::root("base").key("blocks").key("s").key("fields").key(name);
    Field {
        head: head(name, place),
        shape,
        count: None,
        use_: FieldUse::Access(Access::Plain(Writer::Guest)),
    }
}

pub(super) fn of(primitive: Primitive) -> Shape {
    Shape::Type(TypeRef::Primitive(primitive))
}

pub(super) fn named(name: &str) -> Shape {
    Shape::Type(TypeRef::Named(name.to_owned()))
}

pub(super) fn array(name: &str, shape: Shape, count: Count) -> Field {
    Field { count: Some(PerArch::Same(count)), ..field(name, shape) }
}

pub(super) fn struct_(name: &str, fields: Vec<Field>) -> Struct {
    let place = Place::root("base").key("blocks").key(name);
    Struct {
        head: head(name, place),
        kind: StructKind::Block,
        size: None,
        fields,
        snapshots: Vec::new(),
    }
}

pub(super) fn alias(name: &str, is: TypeRef, count: Option<Count>) -> TypeAlias {
    let place = Place::root("base").key("types").key(name);
    TypeAlias { head: head(name, place), is: PerArch::Same(is), count: count.map(PerArch::Same) }
}

pub(super) fn constant(name: &str, value: i128) -> Constant {
    let place = Place::root("base").key("constants").item(0);
    Constant {
        head: head(name, place),
        type_: TypeRef::Primitive(Primitive::U32),
        value: PerArch::Same(value),
        radix: Radix::Decimal,
    }
}

pub(super) fn document(
    types: Vec<TypeAlias>,
    constants: Vec<Constant>,
    structs: Vec<Struct>,
) -> Document {
    let file = File {
        name: "base".to_owned(),
        doc: "Tests.".to_owned(),
        feature: None,
        types,
        constants,
        strings: Vec::new(),
        enumerations: Vec::new(),
        words: Vec::new(),
        encodings: Vec::new(),
        conventions: Vec::new(),
        structs,
        commands: Vec::new(),
    };
    Document { manifest: manifest(), files: vec![file] }
}
