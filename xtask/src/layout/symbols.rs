//! What names stand for.

use super::{Integer, Problem};
use crate::document::{
    ArchId, Availability, Constant, Count, Document, Encoding, Enumeration, Field, Head, Manifest,
    Primitive, ReleaseId, Struct, TypeAlias, TypeRef, Word,
};
use std::collections::{HashMap, HashSet};

/// Something that a type's name can stand for.
#[derive(Clone, Copy, Debug)]
pub enum Item<'d> {
    /// Another name of a type.
    Alias(&'d TypeAlias),
    /// An enumeration.
    Enumeration(&'d Enumeration),
    /// A word of bit fields.
    Word(&'d Word),
    /// An encoding, of which no field can be made.
    Encoding(&'d Encoding),
    /// A block or an argument.
    Struct(&'d Struct),
}

impl<'d> Item<'d> {
    /// What every item has.
    #[must_use]
    pub fn head(self) -> &'d Head {
        match self {
            Self::Alias(item) => &item.head,
            Self::Enumeration(item) => &item.head,
            Self::Word(item) => &item.head,
            Self::Encoding(item) => &item.head,
            Self::Struct(item) => &item.head,
        }
    }
}

/// What a type is once all its aliases are followed.
#[derive(Clone, Copy, Debug)]
pub enum Basis<'d> {
    /// An integer.
    Integer(Primitive),
    /// An enumeration.
    Enumeration(&'d Enumeration),
    /// A word of bit fields.
    Word(&'d Word),
    /// A block or an argument.
    Struct(&'d Struct),
    /// A guest pointer to values of the type.
    Handle(&'d TypeRef),
}

impl Basis<'_> {
    /// Returns the integer that holds it; `None` for structs and guest pointers.
    #[must_use]
    pub fn primitive(&self) -> Option<Primitive> {
        match self {
            Self::Integer(primitive) => Some(*primitive),
            Self::Enumeration(item) => Some(item.is),
            Self::Word(item) => Some(item.is),
            Self::Struct(_) | Self::Handle(_) => None,
        }
    }
}

/// What a type means in one release on one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Meaning<'d> {
    /// What its elements are made of, or it itself if it is no array.
    pub basis: Basis<'d>,
    /// How many elements it has, where it is the name of an array.
    pub count: Option<u64>,
}

/// How many names of types may stand for one another in a row. No header comes near.
pub const MAX_ALIASES: usize = 16;

/// The names of a description.
#[derive(Debug)]
pub struct Symbols<'d> {
    manifest: &'d Manifest,
    types: HashMap<&'d str, Vec<Item<'d>>>,
    constants: HashMap<&'d str, Vec<&'d Constant>>,
}

impl<'d> Symbols<'d> {
    /// Collects the names of `document`.
    #[must_use]
    pub fn new(document: &'d Document) -> Self {
        let mut names =
            Self { manifest: &document.manifest, types: HashMap::new(), constants: HashMap::new() };
        for file in &document.files {
            let items = file.types.iter().map(Item::Alias);
            let items = items.chain(file.enumerations.iter().map(Item::Enumeration));
            let items = items.chain(file.words.iter().map(Item::Word));
            let items = items.chain(file.encodings.iter().map(Item::Encoding));
            for item in items.chain(file.structs.iter().map(Item::Struct)) {
                names.types.entry(&item.head().name).or_default().push(item);
            }
            for constant in &file.constants {
                names.constants.entry(&constant.head.name).or_default().push(constant);
            }
        }
        names
    }

    /// Returns the manifest of the description.
    #[must_use]
    pub fn manifest(&self) -> &'d Manifest {
        self.manifest
    }

    /// Returns everything that the name of a type stands for in any release on any architecture.
    #[must_use]
    pub fn types(&self, name: &str) -> &[Item<'d>] {
        self.types.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns every constant of that name.
    #[must_use]
    pub fn constants(&self, name: &str) -> &[&'d Constant] {
        self.constants.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the names of all types, in no particular order.
    pub fn type_names(&self) -> impl Iterator<Item = &'d str> {
        self.types.keys().copied()
    }

    /// Returns the names of all constants, in no particular order.
    pub fn constant_names(&self) -> impl Iterator<Item = &'d str> {
        self.constants.keys().copied()
    }

    /// What the name of a type stands for there.
    ///
    /// # Errors
    /// If there is no such type there.
    pub fn type_(&self, name: &str, release: ReleaseId, arch: ArchId) -> Result<Item<'d>, Problem> {
        let all = self.types(name);
        let found = all.iter().find(|item| item.head().availability.contains(release, arch));
        found.copied().ok_or_else(|| match all.first() {
            Some(item) => Problem::NotThere {
                name: name.to_owned(),
                defined: Box::new(item.head().place.clone()),
            },
            None => Problem::UnknownType(name.to_owned()),
        })
    }

    /// Returns the constant of that name there.
    ///
    /// # Errors
    /// If there is no such constant there.
    pub fn constant(
        &self,
        name: &str,
        release: ReleaseId,
        arch: ArchId,
    ) -> Result<&'d Constant, Problem> {
        let all = self.constants(name);
        let found = all.iter().find(|constant| constant.head.availability.contains(release, arch));
        found.copied().ok_or_else(|| match all.first() {
            Some(constant) => Problem::NotThere {
                name: name.to_owned(),
                defined: Box::new(constant.head.place.clone()),
            },
            None => Problem::UnknownConstant(name.to_owned()),
        })
    }

    /// Returns the value of the constant of that name there.
    ///
    /// # Errors
    /// If there is no such constant there, or it has no value there.
    pub fn constant_value(
        &self,
        name: &str,
        release: ReleaseId,
        arch: ArchId,
    ) -> Result<i128, Problem> {
        self.constant(name, release, arch)?.value.get(arch).copied().ok_or(Problem::NoValue)
    }

    /// How many elements `count` gives an array there; `None` for a flexible one.
    ///
    /// # Errors
    /// If it names no constant of that release and architecture, or is no positive number of
    /// elements.
    pub fn count(
        &self,
        count: &Count,
        release: ReleaseId,
        arch: ArchId,
    ) -> Result<Option<u64>, Problem> {
        let number = match count {
            Count::Flexible => return Ok(None),
            Count::Number(number) => *number,
            Count::Constant(name) => {
                let value = self.constant_value(name, release, arch)?;
                if value < 0 {
                    return Err(Problem::Negative(value));
                }
                u64::try_from(value).map_err(|_| Problem::TooLarge)?
            }
        };
        if number == 0 { Err(Problem::NoElements) } else { Ok(Some(number)) }
    }

    /// Follows the aliases of a type to what it is there.
    ///
    /// # Errors
    /// If a name on the way stands for nothing there, or the way never ends.
    pub fn meaning(
        &self,
        of: &'d TypeRef,
        release: ReleaseId,
        arch: ArchId,
    ) -> Result<Meaning<'d>, Problem> {
        let mut type_ = of;
        let mut count = None;
        let mut path: Vec<&str> = Vec::new();
        loop {
            let name = match type_ {
                TypeRef::Primitive(primitive) => {
                    return Ok(Meaning { basis: Basis::Integer(*primitive), count });
                }
                TypeRef::Handle(to) => return Ok(Meaning { basis: Basis::Handle(to), count }),
                TypeRef::Named(name) => name.as_str(),
            };
            let alias = match self.type_(name, release, arch)? {
                Item::Alias(alias) => alias,
                Item::Enumeration(item) => {
                    return Ok(Meaning { basis: Basis::Enumeration(item), count });
                }
                Item::Word(item) => return Ok(Meaning { basis: Basis::Word(item), count }),
                Item::Struct(item) if path.is_empty() => {
                    return Ok(Meaning { basis: Basis::Struct(item), count });
                }
                Item::Struct(_) => {
                    return Err(Problem::NotAType { name: name.to_owned(), what: "a struct" });
                }
                Item::Encoding(_) => {
                    return Err(Problem::NotAType { name: name.to_owned(), what: "an encoding" });
                }
            };
            step(&mut path, name)?;
            count = self.times(count, alias, release, arch)?;
            type_ = alias.is.get(arch).ok_or(Problem::NoValue)?;
        }
    }

    /// Returns the integer that a type is there; `None` if it is none (an array, a guest pointer, a
    /// struct).
    ///
    /// # Errors
    /// As for [`meaning`](Self::meaning).
    pub fn integer(
        &self,
        of: &'d TypeRef,
        release: ReleaseId,
        arch: ArchId,
    ) -> Result<Option<Integer>, Problem> {
        let meaning = self.meaning(of, release, arch)?;
        let primitive = if meaning.count.is_some() { None } else { meaning.basis.primitive() };
        Ok(primitive.map(|primitive| Integer::of(primitive, self.manifest.arch(arch))))
    }

    /// Returns every release and architecture of `availability`, the oldest release first.
    pub fn cells(
        &self,
        availability: Availability,
    ) -> impl Iterator<Item = (ReleaseId, ArchId)> + use<'d> {
        let (since, until) = (availability.releases.since.0, availability.releases.until.0);
        let archs = availability.archs;
        (since..=until)
            .flat_map(move |release| archs.iter().map(move |arch| (ReleaseId(release), arch)))
    }

    /// True if Xen can access memory beyond an argument of this type: through a guest pointer
    /// anywhere in it, or behind a flexible tail.
    #[must_use]
    pub fn reaches_beyond(&self, type_: &'d TypeRef, release: ReleaseId) -> bool {
        let mut seen = HashSet::new();
        let mut types = vec![type_];
        while let Some(type_) = types.pop() {
            for arch in self.manifest.all_archs().iter() {
                let meaning = self.meaning(type_, release, arch);
                let item = match meaning.map(|meaning| meaning.basis) {
                    Ok(Basis::Handle(_)) => return true,
                    Ok(Basis::Struct(item)) if seen.insert((&item.head.name, arch)) => item,
                    Ok(_) | Err(_) => continue,
                };
                let mut fields: Vec<&Field> = item.fields.iter().collect();
                while let Some(field) = fields.pop() {
                    let count = field.count.as_ref().and_then(|count| count.get(arch));
                    if count == Some(&Count::Flexible) {
                        return true;
                    }
                    types.extend(field.type_());
                    fields.extend(field.members());
                }
            }
        }
        false
    }

    fn times(
        &self,
        so_far: Option<u64>,
        alias: &TypeAlias,
        release: ReleaseId,
        arch: ArchId,
    ) -> Result<Option<u64>, Problem> {
        let Some(count) = &alias.count else { return Ok(so_far) };
        let count = self
            .count(count.get(arch).ok_or(Problem::NoValue)?, release, arch)?
            .ok_or(Problem::Flexible)?;
        so_far.unwrap_or(1).checked_mul(count).map(Some).ok_or(Problem::TooLarge)
    }
}

/// Goes from one alias to the next. Only a way that is too long is looked through for a circle:
/// most are very short.
fn step<'d>(path: &mut Vec<&'d str>, name: &'d str) -> Result<(), Problem> {
    path.push(name);
    if path.len() <= MAX_ALIASES {
        return Ok(());
    }
    let again = path.iter().enumerate().find_map(|(at, passed)| {
        Some((at, at + 1 + path[at + 1..].iter().position(|name| name == passed)?))
    });
    Err(again.map_or(Problem::TooDeep, |(start, end)| {
        Problem::circle(path[start..=end].iter().copied())
    }))
}
