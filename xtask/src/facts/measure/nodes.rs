//! A compilation unit as plain nodes: only what types and enumerators need.

use super::MeasureError;
use super::object_file::Bytes;
use gimli::{AttributeValue, DwAt, DwTag, Reader as _, UnitOffset, constants as dw};
use std::collections::HashMap;

/// A node of the debug information.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub tag: DwTag,
    /// Its name in C.
    pub name: Option<String>,
    /// The file that declares it.
    pub file: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// Whether it is declared here and defined elsewhere.
    pub declaration: bool,
    /// The node of its type.
    pub of: Option<usize>,
    /// A member's offset in bytes.
    pub offset: Option<u64>,
    /// A bit field's offset in bits.
    pub bit_offset: Option<u64>,
    /// An enumerator's value as it is encoded.
    pub value: Option<i128>,
    /// How many elements a dimension of an array has.
    pub count: Option<u64>,
    /// Whether it is a base type without sign.
    pub unsigned: bool,
    /// The nodes inside.
    pub children: Vec<usize>,
}

/// All nodes of an object file's only unit.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// In the file's order; the first is the unit.
    pub all: Vec<Node>,
    /// Bytes of a pointer.
    pub address_size: u64,
}

type Unit = gimli::Unit<Bytes>;
type Entry = gimli::DebuggingInformationEntry<Bytes>;

/// Reads the first unit.
///
/// # Errors
/// There is none, or it is damaged.
pub fn read(dwarf: &gimli::Dwarf<Bytes>) -> Result<Nodes, MeasureError> {
    let header =
        dwarf.units().next()?.ok_or_else(|| MeasureError::Dwarf("there is none".to_owned()))?;
    let unit = dwarf.unit(header)?;
    let mut nodes =
        Nodes { all: Vec::new(), address_size: u64::from(unit.header.encoding().address_size) };
    let mut places: HashMap<UnitOffset, usize> = HashMap::new();
    let mut types: Vec<Option<UnitOffset>> = Vec::new();
    let mut path: Vec<usize> = Vec::new();
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs()? {
        let index = nodes.all.len();
        path.truncate(usize::try_from(entry.depth()).unwrap_or(0));
        if let Some(parent) = path.last() {
            nodes.all[*parent].children.push(index);
        }
        path.push(index);
        places.insert(entry.offset(), index);
        types.push(match entry.attr_value(dw::DW_AT_type) {
            Some(AttributeValue::UnitRef(offset)) => Some(offset),
            _ => None,
        });
        nodes.all.push(node(dwarf, &unit, entry)?);
    }
    for (node, of) in nodes.all.iter_mut().zip(types) {
        node.of = of.and_then(|offset| places.get(&offset).copied());
    }
    Ok(nodes)
}

fn node(dwarf: &gimli::Dwarf<Bytes>, unit: &Unit, entry: &Entry) -> Result<Node, MeasureError> {
    let number = |name: DwAt| entry.attr_value(name).and_then(|value| value.udata_value());
    let name = match entry.attr_value(dw::DW_AT_name) {
        Some(value) => Some(dwarf.attr_string(unit, value)?.to_string_lossy()?.into_owned()),
        None => None,
    };
    let encoding = match entry.attr_value(dw::DW_AT_encoding) {
        Some(AttributeValue::Encoding(encoding)) => Some(encoding),
        _ => None,
    };
    let bound = number(dw::DW_AT_upper_bound).map(|bound| bound.wrapping_add(1));
    Ok(Node {
        tag: entry.tag(),
        name,
        file: file(dwarf, unit, entry)?,
        size: number(dw::DW_AT_byte_size),
        declaration: entry.attr(dw::DW_AT_declaration).is_some(),
        of: None,
        offset: number(dw::DW_AT_data_member_location),
        bit_offset: number(dw::DW_AT_data_bit_offset),
        value: entry.attr_value(dw::DW_AT_const_value).and_then(|value| integer(&value)),
        count: number(dw::DW_AT_count).or(bound),
        unsigned: matches!(
            encoding,
            Some(dw::DW_ATE_unsigned | dw::DW_ATE_unsigned_char | dw::DW_ATE_boolean)
        ),
        children: Vec::new(),
    })
}

fn integer(value: &AttributeValue<Bytes>) -> Option<i128> {
    match value {
        AttributeValue::Sdata(value) => Some(i128::from(*value)),
        other => {
            other.udata_value().map(i128::from).or_else(|| other.sdata_value().map(i128::from))
        }
    }
}

fn file(
    dwarf: &gimli::Dwarf<Bytes>,
    unit: &Unit,
    entry: &Entry,
) -> Result<Option<String>, MeasureError> {
    let Some(AttributeValue::FileIndex(index)) = entry.attr_value(dw::DW_AT_decl_file) else {
        return Ok(None);
    };
    let Some(program) = &unit.line_program else { return Ok(None) };
    let header = program.header();
    let Some(file) = header.file(index) else { return Ok(None) };
    let text = |value| -> Result<String, MeasureError> {
        Ok(dwarf.attr_string(unit, value)?.to_string_lossy()?.into_owned())
    };
    let name = text(file.path_name())?;
    if name.starts_with('/') {
        return Ok(Some(name));
    }
    match file.directory(header) {
        Some(folder) => Ok(Some(format!("{}/{name}", text(folder)?))),
        None => Ok(Some(name)),
    }
}
