//! One table as JSON:
//! `{"release", "interface_version", "arch", "structs": {name: {"size", "fields": {path: [offset, size]}}}, "constants"}`.

use super::FactsError;
use super::table::{Extent, StructTable, Table};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Number, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::marker::PhantomData;

/// Reads a table. `name` is what errors call it.
///
/// # Errors
/// Whatever is not exactly of the form above, names given twice included.
pub fn read(name: &str, text: &str) -> Result<Table, FactsError> {
    let wrong = |why: String| FactsError::Json { file: name.to_owned(), why };
    let raw: Raw = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let release =
        raw.release.parse().map_err(|()| wrong(format!("`{}` is no release", raw.release)))?;
    let interface_version = u32::from_str_radix(raw.interface_version.trim_start_matches("0x"), 16)
        .ok()
        .filter(|version| hex(*version) == raw.interface_version)
        .ok_or_else(|| wrong(format!("`{}` is no interface version", raw.interface_version)))?;
    let structs = raw.structs.0.into_iter().map(|(name, raw)| (name, raw.into())).collect();
    let mut constants = BTreeMap::new();
    for (name, value) in raw.constants.0 {
        let value = integer(&value).ok_or_else(|| wrong(format!("`{name}` is no integer")))?;
        constants.insert(name, value);
    }
    Ok(Table { release, interface_version, arch: raw.arch, structs, constants })
}

/// Writes a table, one struct or constant a line.
#[must_use]
pub fn write(table: &Table) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut out = String::new();
    let head = (
        quoted(&table.release.to_string()),
        quoted(&hex(table.interface_version)),
        quoted(&table.arch),
    );
    let _ = writeln!(
        out,
        "{{\n\"release\": {}, \"interface_version\": {}, \"arch\": {},",
        head.0, head.1, head.2
    );
    let structs: Vec<String> = table
        .structs
        .iter()
        .map(|(name, table)| format!("{}: {}", quoted(name), write_struct(table)))
        .collect();
    let constants: Vec<String> =
        table.constants.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    let _ = writeln!(out, "\"structs\": {{\n{}\n}},", structs.join(",\n"));
    let _ = writeln!(out, "\"constants\": {{\n{}\n}}\n}}", constants.join(",\n"));
    out
}

fn write_struct(table: &StructTable) -> String {
    let fields: Vec<String> = table
        .members
        .iter()
        .map(|(path, extent)| {
            format!("{}:[{},{}]", Value::from(path.as_str()), extent.offset, extent.size)
        })
        .collect();
    format!("{{\"size\":{},\"fields\":{{{}}}}}", table.size, fields.join(","))
}

fn hex(version: u32) -> String {
    format!("{version:#010x}")
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    release: String,
    interface_version: String,
    arch: String,
    structs: Pairs<RawStruct>,
    constants: Pairs<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStruct {
    size: u64,
    fields: Pairs<(u64, u64)>,
}

impl From<RawStruct> for StructTable {
    fn from(raw: RawStruct) -> Self {
        let members = raw
            .fields
            .0
            .into_iter()
            .map(|(path, (offset, size))| (path, Extent { offset, size }))
            .collect();
        Self { size: raw.size, members }
    }
}

/// A JSON object in its order, without a name given twice.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Pairs<T>;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Pairs<T>, A::Error> {
                let mut seen = std::collections::HashSet::new();
                let mut pairs = Vec::new();
                while let Some((name, value)) = from.next_entry::<String, T>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("`{name}` is given twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Reader(PhantomData))
    }
}
