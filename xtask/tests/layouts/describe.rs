//! The random types as a description.

use crate::generate::{Count, Kind, Member, Types};
use xtask::document::{
    self, Access, Architecture, Availability, Document, Field, FieldUse, File, Head, Manifest,
    PerArch, Primitive, Release, Shape, Struct, StructKind, TypeRef, Writer,
};
use xtask::yaml::Place;

pub(crate) fn document(types: &Types) -> Document {
    let manifest = manifest();
    let head = |name: &str| Head {
        name: name.to_owned(),
        doc: "Random.".to_owned(),
        header: "random.h".to_owned(),
        availability: Availability {
            releases: manifest.all_releases(),
            honoured_since: None,
            archs: manifest.all_archs(),
        },
        c: None,
        named_since: None,
        honoured_arch: None,
        superseded_by: None,
        place: Place::root("random").key("blocks").key(name),
    };
    let structs = types.all.iter().filter(|type_| !type_.inline).map(|type_| Struct {
        head: head(&type_.name),
        kind: StructKind::Block,
        size: None,
        fields: fields(types, &type_.members, &head),
        snapshots: Vec::new(),
    });
    let file = File {
        name: "random".to_owned(),
        doc: "Random.".to_owned(),
        feature: None,
        types: Vec::new(),
        constants: Vec::new(),
        strings: Vec::new(),
        enumerations: Vec::new(),
        words: Vec::new(),
        encodings: Vec::new(),
        conventions: Vec::new(),
        structs: structs.collect(),
        commands: Vec::new(),
    };
    Document { manifest: manifest.clone(), files: vec![file] }
}

fn fields(types: &Types, members: &[Member], head: &dyn Fn(&str) -> Head) -> Vec<Field> {
    let field = |member: &Member| {
        let shape = match member.kind {
            Kind::Primitive(primitive) => Shape::Type(TypeRef::Primitive(primitive)),
            Kind::Handle => {
                Shape::Type(TypeRef::Handle(Box::new(TypeRef::Primitive(Primitive::U8))))
            }
            Kind::Type(index) => {
                let inner = &types.all[index];
                let members = || fields(types, &inner.members, head);
                match (inner.inline, inner.union) {
                    (false, _) => Shape::Type(TypeRef::Named(inner.name.clone())),
                    (true, true) => Shape::Union { members: members(), anonymous: false },
                    (true, false) => Shape::Struct(members()),
                }
            }
        };
        let count = match member.count {
            Count::One => None,
            Count::Number(number) => Some(PerArch::Same(document::Count::Number(number))),
            Count::Flexible => Some(PerArch::Same(document::Count::Flexible)),
        };
        Field {
            head: head(&member.name),
            shape,
            count,
            use_: FieldUse::Access(Access::Plain(Writer::Guest)),
        }
    };
    members.iter().map(field).collect()
}

fn manifest() -> Manifest {
    let arch = |name: &str, pointer_bytes, align_u64| Architecture {
        name: name.to_owned(),
        doc: "An architecture.".to_owned(),
        pointer_bytes,
        align_u64,
        max_atomic_bytes: pointer_bytes,
        place: Place::root("manifest").key("architectures").key(name),
    };
    Manifest {
        releases: vec![Release { major: 4, minor: 4 }],
        architectures: vec![arch("x86_64", 8, 8), arch("x86", 4, 4), arch("aarch64", 8, 8)],
        files: vec!["random".to_owned()],
    }
}
