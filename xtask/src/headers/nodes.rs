//! The debug information of an object file that was not linked, as plain nodes: only what types and
//! enumerators need.

use super::MeasureError;
use gimli::{
    AttributeValue, DwAt, DwTag, EndianRcSlice, Reader as _, RunTimeEndian, UnitOffset,
    constants as dw,
};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationKind, RelocationTarget,
};
use std::collections::HashMap;
use std::rc::Rc;

/// How the DWARF reader sees the bytes.
pub type Bytes = EndianRcSlice<RunTimeEndian>;

/// Returns the debug information of an object file.
///
/// # Errors
/// The file is no object file, or one of a kind that nothing here knows.
pub fn dwarf(bytes: &[u8]) -> Result<gimli::Dwarf<Bytes>, MeasureError> {
    let file = object::File::parse(bytes)?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    gimli::Dwarf::load(|id| {
        let data = match file.section_by_name(id.name()) {
            Some(section) => relocated(&file, &section)?,
            None => Vec::new(),
        };
        Ok(EndianRcSlice::new(Rc::from(data), endian))
    })
}

fn relocated(
    file: &object::File<'_>,
    section: &object::Section<'_, '_>,
) -> Result<Vec<u8>, MeasureError> {
    let mut data = section.uncompressed_data()?.into_owned();
    for (offset, relocation) in section.relocations() {
        if relocation.kind() != RelocationKind::Absolute {
            continue;
        }
        let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
        let address = file.symbol_by_index(symbol)?.address();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let width = usize::from(relocation.size() / 8);
        let place = start.checked_add(width).and_then(|end| data.get_mut(start..end));
        let place = place
            .ok_or_else(|| MeasureError::Dwarf("a relocation outside its section".to_owned()))?;
        if width > 8 {
            return Err(MeasureError::Dwarf("a relocation wider than 64 bits".to_owned()));
        }
        let mut value = address.wrapping_add_signed(relocation.addend());
        if relocation.has_implicit_addend() {
            value = value.wrapping_add(number(place, file.is_little_endian()));
        }
        put(place, value, file.is_little_endian());
    }
    Ok(data)
}

fn number(bytes: &[u8], little: bool) -> u64 {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
}

fn put(place: &mut [u8], value: u64, little: bool) {
    let width = place.len();
    if little {
        place.copy_from_slice(&value.to_le_bytes()[..width]);
    } else {
        place.copy_from_slice(&value.to_be_bytes()[8 - width..]);
    }
}

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
