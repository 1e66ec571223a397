//! The resolved ABI as data, for tools in other languages and for the reference.
//!
//! [`Abi`] is derived from the document and the layouts from which xen-pac is generated, so that
//! both agree. [`json`] and [`yaml`] write it.

mod model;
mod structs;
#[cfg(test)]
mod tests;

pub use model::*;

use crate::document::{
    self, ArchId, ArchSet, Count as CountOf, Document, PerArch, Radix, ReleaseId, ReleaseRange,
    TypeRef,
};
use crate::layout::{Basis, Integer, Item, Layouts, Symbols};
use crate::naming::{self, Names, Rule};
use std::collections::BTreeMap;

/// Resolves a description that has passed the checks.
#[must_use]
pub fn resolve<'d>(document: &'d Document, layouts: &Layouts<'d>) -> Abi {
    let resolve = Resolve { document, layouts, names: Names::new(document) };
    let manifest = &document.manifest;
    let architecture = |arch: &document::Architecture| Architecture {
        name: arch.name.clone(),
        doc: arch.doc.clone(),
        pointer: arch.pointer_bytes * 8,
        align_u64: arch.align_u64,
        max_atomic: arch.max_atomic_bytes * 8,
    };
    Abi {
        format: FORMAT,
        releases: manifest.releases.iter().map(ToString::to_string).collect(),
        architectures: manifest.architectures.iter().map(architecture).collect(),
        files: document.files.iter().map(|file| resolve.file(file)).collect(),
    }
}

/// Writes the ABI as JSON.
///
/// # Errors
/// Never for what [`resolve`] returns; serde's traits allow for one.
pub fn json(abi: &Abi) -> Result<String, String> {
    let text = serde_json::to_string_pretty(abi).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

/// Writes the ABI as YAML.
///
/// # Errors
/// As for [`json`].
pub fn yaml(abi: &Abi) -> Result<String, String> {
    serde_yaml::to_string(abi).map_err(|error| error.to_string())
}

/// What the items of a description mean.
struct Resolve<'l, 'd> {
    document: &'d Document,
    layouts: &'l Layouts<'d>,
    names: Names<'d>,
}

impl<'d> Resolve<'_, 'd> {
    fn symbols(&self) -> &Symbols<'d> {
        self.layouts.symbols()
    }

    fn release(&self, id: ReleaseId) -> String {
        self.document.manifest.release(id).to_string()
    }

    fn arch(&self, id: ArchId) -> String {
        self.document.manifest.arch(id).name.clone()
    }

    /// Returns the last release of a range, unless it is the newest of all.
    fn until(&self, range: ReleaseRange) -> Option<String> {
        (range.until < self.document.manifest.newest()).then(|| self.release(range.until))
    }

    /// Calls `of` for each architecture that has an item.
    fn each<T>(&self, archs: ArchSet, of: impl Fn(ArchId) -> Option<T>) -> BTreeMap<String, T> {
        archs.iter().filter_map(|arch| Some((self.arch(arch), of(arch)?))).collect()
    }

    fn head(&self, head: &document::Head, rust: Option<String>) -> Head {
        let own = head.availability;
        let honoured = |arch| head.honoured_arch.is_none_or(|archs| archs.contains(arch));
        let since = own.honoured_since.unwrap_or(own.releases.since);
        let availability = self.each(own.archs, |arch| {
            Some(Availability {
                since: self.release(own.releases.since),
                until: self.until(own.releases),
                named_since: head.named_since.map(|release| self.release(release)),
                honoured_since: honoured(arch).then(|| self.release(since)),
            })
        });
        Head {
            name: head.name.clone(),
            c: head.c.clone(),
            rust,
            header: head.header.clone(),
            doc: head.doc.clone(),
            superseded_by: head.superseded_by.clone(),
            availability,
        }
    }

    /// Returns the head of something inside an item, which has no path of its own in Rust.
    fn part(&self, head: &document::Head) -> Head {
        self.head(head, None)
    }

    fn type_(&self, type_: &TypeRef) -> Type {
        let (name, kind) = match type_ {
            TypeRef::Primitive(primitive) => (primitive.name(), "primitive"),
            TypeRef::Handle(_) => ("handle", "handle"),
            TypeRef::Named(name) => (name.as_str(), self.kind(name)),
        };
        let to = match type_ {
            TypeRef::Handle(to) => Some(Box::new(self.type_(to))),
            TypeRef::Primitive(_) | TypeRef::Named(_) => None,
        };
        Type { name: name.to_owned(), kind, to }
    }

    fn kind(&self, name: &str) -> &'static str {
        match self.symbols().types(name).first() {
            Some(Item::Enumeration(_)) => "enumeration",
            Some(Item::Word(_)) => "word",
            Some(Item::Encoding(_)) => "encoding",
            Some(Item::Struct(item)) => structs::kind(item),
            Some(Item::Alias(_)) | None => "type",
        }
    }

    fn count(
        &self,
        head: &document::Head,
        count: Option<&PerArch<CountOf>>,
    ) -> Option<BTreeMap<String, Count>> {
        let release = head.availability.releases.until;
        Some(self.each(head.availability.archs, |arch| {
            let count = count?.get(arch)?;
            let constant = match count {
                CountOf::Constant(name) => Some(name.clone()),
                CountOf::Number(_) | CountOf::Flexible => None,
            };
            let number = self.symbols().count(count, release, arch).ok().flatten();
            Some(Count { number, constant })
        }))
        .filter(|counts| !counts.is_empty())
    }

    fn file(&self, file: &'d document::File) -> File {
        let module = format!("xen_pac::{}", naming::MODULE.name(&file.name));
        let rust = |rule: Rule, head: &document::Head| {
            Some(format!("{module}::{}", self.names.item(rule, head)))
        };
        let heads: Vec<_> = file.constants.iter().map(|item| &item.head).collect();
        let names = naming::distinct(naming::CONSTANT, &heads);
        let constant = |(item, name): (&document::Constant, Option<String>)| Constant {
            head: self.head(&item.head, name.map(|name| format!("{module}::{name}"))),
            type_: self.type_(&item.type_),
            value: self.each(item.head.availability.archs, |arch| item.value.get(arch).copied()),
            radix: radix(item.radix),
        };
        let string = |item: &document::StringConstant| StringConstant {
            head: self.head(&item.head, rust(naming::CONSTANT, &item.head)),
            value: self.each(item.head.availability.archs, |arch| item.value.get(arch).cloned()),
        };
        let enumeration = |item: &document::Enumeration| Enumeration {
            head: self.head(&item.head, rust(naming::TYPE, &item.head)),
            is: item.is.name(),
            prefix: item.prefix.clone(),
            values: item.values.iter().map(|value| self.value(value, 0)).collect(),
        };
        let word = |item: &document::Word| Word {
            head: self.head(&item.head, rust(naming::MODULE, &item.head)),
            is: item.is.name(),
            prefix: item.prefix.clone(),
            fields: item.fields.iter().map(|field| self.bit_field(field)).collect(),
        };
        File {
            name: file.name.clone(),
            doc: file.doc.clone(),
            feature: file.feature.clone(),
            types: file
                .types
                .iter()
                .map(|item| self.alias(item, rust(naming::TYPE, &item.head)))
                .collect(),
            constants: file.constants.iter().zip(names).map(constant).collect(),
            strings: file.strings.iter().map(string).collect(),
            enumerations: file.enumerations.iter().map(enumeration).collect(),
            words: file.words.iter().map(word).collect(),
            encodings: file
                .encodings
                .iter()
                .map(|item| self.encoding(item, rust(naming::TYPE, &item.head)))
                .collect(),
            conventions: file.conventions.iter().map(|item| self.convention(item)).collect(),
            structs: file
                .structs
                .iter()
                .map(|item| self.struct_(item, rust(naming::TYPE, &item.head)))
                .collect(),
            hypercalls: file
                .commands
                .iter()
                .map(|set| self.hypercall(set, &module, file.commands.len() > 1))
                .collect(),
            rust: module,
        }
    }

    fn alias(&self, item: &document::TypeAlias, rust: Option<String>) -> Alias {
        let (archs, until) = (item.head.availability.archs, item.head.availability.releases.until);
        let size = self.each(archs, |arch| {
            let type_ = item.is.get(arch)?;
            let meaning = self.symbols().meaning(type_, until, arch).ok()?;
            let arch_of = self.document.manifest.arch(arch);
            let one = match meaning.basis {
                Basis::Handle(_) => Integer::handle(arch_of),
                basis => Integer::of(basis.primitive()?, arch_of),
            };
            let own = item.count.as_ref().and_then(|count| count.get(arch));
            let own = own.and_then(|count| self.symbols().count(count, until, arch).ok()?);
            Some(u64::from(one.size) * meaning.count.unwrap_or(1) * own.unwrap_or(1))
        });
        Alias {
            head: self.head(&item.head, rust),
            is: self.each(archs, |arch| Some(self.type_(item.is.get(arch)?))),
            count: self.count(&item.head, item.count.as_ref()),
            size,
        }
    }

    fn value(&self, item: &document::Value, shift: u32) -> Value {
        Value {
            head: self.part(&item.head),
            value: item.value,
            in_place: item.value << shift,
            radix: radix(item.radix),
        }
    }

    fn bit_field(&self, item: &document::BitField) -> BitField {
        BitField {
            head: self.part(&item.head),
            high: item.bits.high,
            low: item.bits.low,
            mask: item.bits.mask(),
            index_c: item.index_c.clone(),
            values: item.values.iter().map(|value| self.value(value, item.bits.low)).collect(),
        }
    }

    fn encoding(&self, item: &document::Encoding, rust: Option<String>) -> Encoding {
        let variant = |item: &document::Variant| {
            let (value, tag, fields) = match &item.kind {
                document::VariantKind::Value(value) => (Some(*value), None, [].as_slice()),
                document::VariantKind::Fields { tag, fields, .. } => {
                    (None, Some(*tag), fields.as_slice())
                }
            };
            let field = |field: &document::VariantField| VariantField {
                name: field.name.clone(),
                doc: field.doc.clone(),
                high: field.bits.high,
                low: field.bits.low,
                min: field.min,
                max: field.max,
            };
            let fields = fields.iter().map(field).collect();
            Variant { head: self.part(&item.head), value, tag, fields }
        };
        Encoding {
            head: self.head(&item.head, rust),
            is: item.is.name(),
            high: item.tag.high,
            low: item.tag.low,
            variants: item.variants.iter().map(variant).collect(),
        }
    }

    fn convention(&self, item: &document::Convention) -> Convention {
        Convention {
            arch: self.arch(item.arch),
            doc: item.doc.clone(),
            number: item.number.clone(),
            arguments: item.arguments.clone(),
            result: item.result.clone(),
            instructions: item.instructions.clone(),
            page: item.page,
            immediate: item.immediate.clone(),
            clobbers: item.clobbers.clone(),
        }
    }

    fn hypercall(&self, set: &document::CommandSet, module: &str, several: bool) -> Hypercall {
        let numbers = self.document.files.iter().flat_map(|file| &file.enumerations);
        let numbers = numbers.filter(|item| item.head.name == "hypercall_nr");
        let number = numbers
            .flat_map(|item| &item.values)
            .filter(|value| value.head.name == set.hypercall)
            .flat_map(|value| self.each(value.head.availability.archs, |_| Some(value.value)))
            .collect();
        let module = match several {
            true => format!("{module}::command::{}", naming::MODULE.name(&set.hypercall)),
            false => format!("{module}::command"),
        };
        let heads: Vec<_> = set.list.iter().map(|command| &command.head).collect();
        let names = naming::distinct(naming::TYPE, &heads);
        let command = |(item, name): (&document::Command, Option<String>)| {
            let release = item.head.availability.releases.until;
            let reaches = |type_| self.symbols().reaches_beyond(type_, release);
            Command {
                head: self.head(&item.head, name.map(|name| format!("{module}::{name}"))),
                number: item.number,
                shape: item.shape.name(),
                argument: item.argument.as_ref().map(|type_| self.type_(type_)),
                result: item.result.name(),
                safe: item.hazard.is_none() && !item.argument.as_ref().is_some_and(reaches),
                hazard: item.hazard.clone(),
            }
        };
        Hypercall {
            name: set.hypercall.clone(),
            number,
            doc: set.doc.clone(),
            prefix: set.prefix.clone(),
            commands: set.list.iter().zip(names).map(command).collect(),
        }
    }
}

fn radix(radix: Radix) -> u32 {
    match radix {
        Radix::Decimal => 10,
        Radix::Hexadecimal => 16,
    }
}
