//! Random structs and unions.

use xtask::document::Primitive;

/// All types; a type is made only of those before it.
pub(crate) struct Types {
    pub(crate) all: Vec<Type>,
}

/// A struct or a union.
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) union: bool,
    /// Whether the description has no name for it: it lies inside the only field that uses it.
    pub(crate) inline: bool,
    /// Whether another type holds it.
    pub(crate) used: bool,
    pub(crate) members: Vec<Member>,
}

pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) count: Count,
}

pub(crate) enum Kind {
    Primitive(Primitive),
    Handle,
    /// An index into all types.
    Type(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    One,
    Number(u64),
    Flexible,
}

/// `count` types that depend on the seed only.
pub(crate) fn types(seed: u64, count: usize) -> Types {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut types = Types { all: Vec::new() };
    while types.all.len() < count {
        let type_ = type_(&mut random, &mut types);
        types.all.push(type_);
    }
    // What nothing holds needs a name of its own, which only structs have.
    for type_ in types.all.iter_mut().filter(|type_| !type_.used) {
        (type_.inline, type_.union) = (false, false);
    }
    types
}

fn type_(random: &mut Random, types: &mut Types) -> Type {
    // Only inner types are unions or lack a name, as in the language of the description.
    let inline = random.one_of(3);
    let union = inline && random.one_of(2);
    let members = if union { 1 + random.below(4) } else { random.below(7) };
    let mut made: Vec<Member> = (0..members).map(|index| member(random, types, index)).collect();
    if let Some(last) = made.last_mut().filter(|last| {
        !inline && members > 1 && !matches!(last.kind, Kind::Type(_)) && random.one_of(6)
    }) {
        last.count = Count::Flexible;
    }
    Type { name: format!("t{}", types.all.len()), union, inline, used: false, members: made }
}

fn member(random: &mut Random, types: &mut Types, index: usize) -> Member {
    let kind = match random.below(10) {
        0 => Kind::Handle,
        1..=3 => inner(random, types).map_or(Kind::Handle, Kind::Type),
        _ => Kind::Primitive(PRIMITIVES[random.below(PRIMITIVES.len())]),
    };
    let count =
        if random.one_of(4) { Count::Number(1 + random.below(5) as u64) } else { Count::One };
    Member { name: format!("f{index}"), kind, count }
}

/// A type that a member can be made of; one without a name is taken once only.
fn inner(random: &mut Random, types: &mut Types) -> Option<usize> {
    let near = types.all.len().saturating_sub(1 + random.below(12));
    let index = (near..types.all.len()).find(|&index| fits(types, index))?;
    types.all[index].used = true;
    Some(index)
}

fn fits(types: &Types, index: usize) -> bool {
    let type_ = &types.all[index];
    let flexible = type_.members.iter().any(|member| member.count == Count::Flexible);
    let taken = type_.inline && type_.used;
    !flexible && !taken && depth(types, index) < 6
}

fn depth(types: &Types, index: usize) -> usize {
    let inner = types.all[index]
        .members
        .iter()
        .filter_map(|member| if let Kind::Type(inner) = member.kind { Some(inner) } else { None });
    1 + inner.map(|inner| depth(types, inner)).max().unwrap_or(0)
}

const PRIMITIVES: [Primitive; 10] = [
    Primitive::U8,
    Primitive::U16,
    Primitive::U32,
    Primitive::U64,
    Primitive::I8,
    Primitive::I16,
    Primitive::I32,
    Primitive::I64,
    Primitive::Char,
    Primitive::Ulong,
];

/// Xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % limit as u64).expect("less than the limit")
    }

    fn one_of(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}
