//! The items of the reference: on which page each is, and its anchor there.

use crate::export::{
    Abi, Alias, Constant, Convention, Encoding, Enumeration, Field, Head, Hypercall,
    StringConstant, Struct, Word,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What an item is, in the order of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Hypercall,
    Command,
    Block,
    Argument,
    Field,
    Enumeration,
    Value,
    Word,
    BitField,
    Encoding,
    Form,
    Type,
    Constant,
    String,
    Convention,
}

impl Kind {
    pub(super) const ALL: [Self; 15] = [
        Self::Hypercall,
        Self::Command,
        Self::Block,
        Self::Argument,
        Self::Field,
        Self::Enumeration,
        Self::Value,
        Self::Word,
        Self::BitField,
        Self::Encoding,
        Self::Form,
        Self::Type,
        Self::Constant,
        Self::String,
        Self::Convention,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hypercall => "hypercall",
            Self::Command => "command",
            Self::Block => "block",
            Self::Argument => "argument",
            Self::Field => "field",
            Self::Enumeration => "enumeration",
            Self::Value => "value",
            Self::Word => "word",
            Self::BitField => "bit field",
            Self::Encoding => "encoding",
            Self::Form => "form",
            Self::Type => "type",
            Self::Constant => "constant",
            Self::String => "string",
            Self::Convention => "convention",
        }
    }
}

/// An item that has an anchor.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) id: String,
    pub(super) what: What<'a>,
}

/// The item itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    Alias(&'a Alias),
    Constant(&'a Constant),
    String(&'a StringConstant),
    Enumeration(&'a Enumeration),
    Word(&'a Word),
    Encoding(&'a Encoding),
    Convention(&'a Convention),
    Struct(&'a Struct),
    Hypercall(&'a Hypercall),
}

impl<'a> Item<'a> {
    /// Returns the names of the things inside that the search finds.
    pub(super) fn parts(&self) -> Vec<(String, Kind)> {
        let named = |head: &Head| head.c.clone().unwrap_or_else(|| head.name.clone());
        match self.what {
            What::Enumeration(item) => {
                item.values.iter().map(|value| (named(&value.head), Kind::Value)).collect()
            }
            What::Word(item) => {
                let fields = item.fields.iter();
                let parts = fields.flat_map(|field| {
                    let values = field.values.iter().map(|value| (named(&value.head), Kind::Value));
                    std::iter::once((named(&field.head), Kind::BitField)).chain(values)
                });
                parts.collect()
            }
            What::Encoding(item) => {
                item.variants.iter().map(|form| (named(&form.head), Kind::Form)).collect()
            }
            What::Hypercall(item) => {
                item.commands.iter().map(|one| (named(&one.head), Kind::Command)).collect()
            }
            What::Struct(item) => {
                let mut parts = Vec::new();
                fields(&item.fields, self.name, &mut parts);
                parts
            }
            What::Alias(_) | What::Constant(_) | What::String(_) | What::Convention(_) => {
                Vec::new()
            }
        }
    }
}

fn fields(fields_: &[Field], path: &str, parts: &mut Vec<(String, Kind)>) {
    for field in fields_.iter().filter(|field| field.access != Some("reserved")) {
        let path = format!("{path}.{}", field.head.name);
        fields(&field.members, &path, parts);
        parts.push((path, Kind::Field));
    }
}

/// All items, by header.
#[derive(Debug)]
pub(super) struct Items<'a> {
    by_header: BTreeMap<&'a str, Vec<Item<'a>>>,
    /// The headers that have items of a name, in the order of the files, each with a link to the
    /// newest of them.
    links: HashMap<&'a str, Vec<(&'a str, String)>>,
}

/// Returns the page of a header.
pub(super) fn page(header: &str) -> String {
    format!("{}.html", header.replace('/', "-"))
}

impl<'a> Items<'a> {
    pub(super) fn new(abi: &'a Abi) -> Self {
        let mut items = Self { by_header: BTreeMap::new(), links: HashMap::new() };
        let mut ids = HashSet::new();
        for file in &abi.files {
            let home = home(file);
            let mut add = |header: &'a str, kind: Kind, name: &'a str, what| {
                let base = format!("{}-{name}", kind.name());
                let mut id = base.clone();
                let mut count = 1;
                while !ids.insert((header, id.clone())) {
                    count += 1;
                    id = format!("{base}-{count}");
                }
                let link = format!("{}#{id}", page(header));
                let links = items.links.entry(name).or_default();
                match links.iter_mut().find(|(known, _)| *known == header) {
                    Some((_, older)) => *older = link,
                    None => links.push((header, link)),
                }
                let on_page = items.by_header.entry(header).or_default();
                on_page.push(Item { kind, name, id, what });
            };
            let of = |head: &'a Head| (head.header.as_str(), head.name.as_str());
            for set in &file.hypercalls {
                let header = set.commands.first().map_or(home, |one| one.head.header.as_str());
                add(header, Kind::Hypercall, &set.name, What::Hypercall(set));
            }
            for item in &file.conventions {
                add(home, Kind::Convention, &item.arch, What::Convention(item));
            }
            for item in &file.strings {
                let (header, name) = of(&item.head);
                add(header, Kind::String, name, What::String(item));
            }
            for item in &file.constants {
                let (header, name) = of(&item.head);
                add(header, Kind::Constant, name, What::Constant(item));
            }
            for item in &file.types {
                let (header, name) = of(&item.head);
                add(header, Kind::Type, name, What::Alias(item));
            }
            for item in &file.enumerations {
                let (header, name) = of(&item.head);
                add(header, Kind::Enumeration, name, What::Enumeration(item));
            }
            for item in &file.words {
                let (header, name) = of(&item.head);
                add(header, Kind::Word, name, What::Word(item));
            }
            for item in &file.encodings {
                let (header, name) = of(&item.head);
                add(header, Kind::Encoding, name, What::Encoding(item));
            }
            for item in &file.structs {
                let (header, name) = of(&item.head);
                let kind = if item.kind == "block" { Kind::Block } else { Kind::Argument };
                add(header, kind, name, What::Struct(item));
            }
        }
        items
    }

    /// Returns the headers that have items, sorted.
    pub(super) fn headers(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.by_header.keys().copied()
    }

    /// Returns the items of a header.
    pub(super) fn of(&self, header: &str) -> &[Item<'a>] {
        self.by_header.get(header).map_or(&[], Vec::as_slice)
    }

    /// Returns the link to the item of that name: to that of `header`, or else to the first.
    pub(super) fn link(&self, name: &str, header: &str) -> Option<&str> {
        let links = self.links.get(name)?;
        let here = links.iter().find(|(known, _)| *known == header);
        here.or(links.first()).map(|(_, link)| link.as_str())
    }
}

/// Returns the header that has most items of a file.
pub(super) fn home(file: &crate::export::File) -> &str {
    let heads = file.types.iter().map(|item| &item.head);
    let heads = heads.chain(file.constants.iter().map(|item| &item.head));
    let heads = heads.chain(file.strings.iter().map(|item| &item.head));
    let heads = heads.chain(file.enumerations.iter().map(|item| &item.head));
    let heads = heads.chain(file.words.iter().map(|item| &item.head));
    let heads = heads.chain(file.encodings.iter().map(|item| &item.head));
    let heads = heads.chain(file.structs.iter().map(|item| &item.head));
    let commands = file.hypercalls.iter().flat_map(|set| &set.commands);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for head in heads.chain(commands.map(|one| &one.head)) {
        *counts.entry(&head.header).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or("xen.h", |(header, _)| header)
}
