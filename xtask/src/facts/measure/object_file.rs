//! The debug sections of an object file that was not linked, with its relocations applied.

use super::MeasureError;
use gimli::{EndianRcSlice, RunTimeEndian};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationKind, RelocationTarget,
};
use std::rc::Rc;

/// How the DWARF reader sees the bytes.
pub type Bytes = EndianRcSlice<RunTimeEndian>;

/// The debug information of an object file.
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
