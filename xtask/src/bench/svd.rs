//! Creates a CMSIS-SVD device as large as the description, as the input of `svd2rust`.
//!
//! Every field of a struct, every word, enumeration and encoding becomes a register. Bit fields,
//! forms of encodings and named values become the device's fields and enumerated values. The
//! documentation is included, so that both generators write as much text. Constants, commands and
//! hypercalls have no counterpart in an SVD and are left out, which favours `svd2rust`.

use super::usage::{Usage, measure};
use crate::document::{
    BitField, Document, Encoding, Enumeration, Field, Primitive, Shape, Struct, Value, Word,
};
use crate::tools::find_program;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The device, with the numbers of its registers and fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Device {
    /// The SVD file's text.
    pub(super) text: String,
    /// The number of registers.
    pub(super) registers: usize,
    /// The number of fields.
    pub(super) fields: usize,
}

/// Makes the device.
#[must_use]
pub(super) fn device(document: &Document) -> Device {
    let mut device = Device::default();
    device.text.push_str(HEAD);
    for (index, file) in document.files.iter().enumerate() {
        let mut block = Peripheral::default();
        file.structs.iter().for_each(|item| block.add_struct(item));
        file.words.iter().for_each(|item| block.add_word(item));
        file.enumerations.iter().for_each(|item| block.add_enumeration(item));
        file.encodings.iter().for_each(|item| block.add_encoding(item));
        if block.registers > 0 {
            block.finish(&mut device, &file.name, &file.doc, index);
        }
    }
    device.text.push_str("</peripherals></device>\n");
    device
}

const HEAD: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<device schemaVersion="1.3">
<name>XEN</name><version>1.0</version><description>As large as the Xen guest ABI</description>
<addressUnitBits>8</addressUnitBits><width>32</width><size>32</size>
<resetValue>0</resetValue><resetMask>0xffffffff</resetMask>
<peripherals>
"#;

/// The registers of one file.
#[derive(Default)]
struct Peripheral {
    text: String,
    registers: usize,
    fields: usize,
}

impl Peripheral {
    fn add_struct(&mut self, item: &Struct) {
        self.add_members(&item.head.name, &item.fields);
    }

    fn add_members(&mut self, prefix: &str, fields: &[Field]) {
        for field in fields {
            let name = format!("{prefix}_{}", field.head.name);
            match &field.shape {
                Shape::Type(_) => self.register(
                    &name,
                    &field.head.doc,
                    32,
                    &bit_field("value", "The whole register.", 31, 0, ""),
                ),
                Shape::Union { members, .. } => self.add_members(&name, members),
                Shape::Struct(members) => self.add_members(&name, members),
            }
        }
    }

    fn add_word(&mut self, word: &Word) {
        let fields: String = word.fields.iter().map(word_field).collect();
        self.fields += word.fields.len().saturating_sub(1);
        self.register(&word.head.name, &word.head.doc, width(word.is), &fields);
    }

    fn add_enumeration(&mut self, item: &Enumeration) {
        let high = width(item.is) - 1;
        let field = bit_field("value", &item.head.doc, high, 0, &values(&item.values, high + 1));
        self.register(&item.head.name, &item.head.doc, high + 1, &field);
    }

    fn add_encoding(&mut self, item: &Encoding) {
        let tag = bit_field("tag", &item.head.doc, item.tag.high, item.tag.low, "");
        self.register(&item.head.name, &item.head.doc, width(item.is), &tag);
    }

    fn register(&mut self, name: &str, doc: &str, size: u32, fields: &str) {
        // In the description, items of different releases can have one name. In an SVD, they
        // cannot.
        let name = format!("{name}_{}", self.registers);
        let offset = self.registers * 8;
        let doc = escape(doc);
        writeln!(
            self.text,
            "<register><name>{name}</name><description>{doc}</description>\
             <addressOffset>{offset:#x}</addressOffset><size>{size}</size>\
             <access>read-write</access><fields>{fields}</fields></register>"
        )
        .ok();
        self.registers += 1;
        self.fields += 1;
    }

    fn finish(self, device: &mut Device, name: &str, doc: &str, index: usize) {
        let Self { text, registers, fields } = self;
        let (base, size, doc) =
            (0x4000_0000_u64 + index as u64 * 0x10000, registers * 8, escape(doc));
        writeln!(
            device.text,
            "<peripheral><name>{name}</name><description>{doc}</description>\
             <baseAddress>{base:#x}</baseAddress>\
             <addressBlock><offset>0</offset><size>{size:#x}</size><usage>registers</usage>\
             </addressBlock>\n\
             <registers>\n{text}</registers></peripheral>"
        )
        .ok();
        device.registers += registers;
        device.fields += fields;
    }
}

fn word_field(field: &BitField) -> String {
    let values = values(&field.values, field.bits.width());
    bit_field(&field.head.name, &field.head.doc, field.bits.high, field.bits.low, &values)
}

fn bit_field(name: &str, doc: &str, high: u32, low: u32, values: &str) -> String {
    let doc = escape(doc);
    format!(
        "<field><name>{name}</name><description>{doc}</description>\
         <bitRange>[{high}:{low}]</bitRange>{values}</field>"
    )
}

/// Returns the named values that a field of `width` bits can hold; negative ones, which an SVD
/// cannot name, in two's complement.
fn values(values: &[Value], width: u32) -> String {
    if values.is_empty() {
        return String::new();
    }
    let mask = (1_i128 << width.min(64)) - 1;
    // An SVD accepts each value once. The description can name it once for each release and
    // architecture.
    let mut seen = std::collections::BTreeSet::new();
    let list: String = values
        .iter()
        .filter(|value| seen.insert(value.value & mask))
        .map(|value| enumerated(value, mask))
        .collect();
    format!("<enumeratedValues>{list}</enumeratedValues>")
}

fn enumerated(value: &Value, mask: i128) -> String {
    let (name, doc, number) = (&value.head.name, escape(&value.head.doc), value.value & mask);
    // svd2rust fails for a name that is a keyword, such as SELF, so every name gets a prefix.
    format!(
        "<enumeratedValue><name>v_{name}</name><description>{doc}</description>\
         <value>{number}</value></enumeratedValue>"
    )
}

fn width(primitive: Primitive) -> u32 {
    match primitive {
        Primitive::U8 | Primitive::I8 | Primitive::Char => 8,
        Primitive::U16 | Primitive::I16 => 16,
        Primitive::U32 | Primitive::I32 => 32,
        Primitive::U64 | Primitive::I64 | Primitive::Ulong => 64,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Runs svd2rust on a device as large as the description.
#[derive(Debug)]
pub(super) struct Rival {
    program: PathBuf,
    folder: PathBuf,
    /// The number of the device's registers.
    pub(super) registers: usize,
    /// The number of the device's fields.
    pub(super) fields: usize,
}

impl Rival {
    /// Writes the device into `folder`.
    ///
    /// # Errors
    ///
    /// svd2rust is not installed, or the folder cannot be written.
    pub(super) fn new(document: &Document, folder: &Path) -> Result<Self, String> {
        let program = find_program("svd2rust")
            .ok_or("svd2rust was not found; `cargo install svd2rust` installs it")?;
        let device = device(document);
        write(&folder.join("src/lib.rs"), "")?;
        write(&folder.join("device.svd"), &device.text)?;
        write(&folder.join("Cargo.toml"), MANIFEST)?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            registers: device.registers,
            fields: device.fields,
        })
    }

    /// Generates and formats the crate, as its users do.
    ///
    /// # Errors
    ///
    /// One of the two programs failed.
    pub(super) fn generate(&self) -> Result<Usage, String> {
        let generate = measure(
            Command::new(&self.program)
                .args(["--target", "none", "-i", "device.svd", "-o", "src"])
                .current_dir(&self.folder),
        )?;
        let format = measure(
            Command::new("rustfmt")
                .args(["--edition", "2021", "src/lib.rs"])
                .current_dir(&self.folder),
        )?;
        Ok(generate + format)
    }

    /// Returns the crate that was generated.
    #[must_use]
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

const MANIFEST: &str = r#"[package]
name = "rival"
version = "0.0.0"
edition = "2021"

[features]
rt = []

[dependencies]
vcell = "0.1"

[workspace]
"#;

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
