//! Structs and enumerators in the debug information of an object file.

use super::MeasureError;
use super::facts::{Extent, StructTable};
use super::nodes::{self, Node, Nodes};
use super::tree::Tree;
use gimli::{DwTag, constants as dw};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the enumerator of a macro begins with.
pub const PREFIX: &str = "measured__";

/// Deeper than any C type of the headers; what is deeper is damaged.
const DEPTH: usize = 64;

/// Guest handles are structs in C and a type of their own in the description.
const HANDLE: &str = "__guest_handle_";

/// Structs, constants, and the header of each name, a struct's behind `struct `.
pub type Measurements =
    (BTreeMap<String, StructTable>, BTreeMap<String, i128>, BTreeMap<String, Arc<str>>);

/// Reads the structs that the tree's headers declare, their enumerators, and the macros that were
/// made enumerators.
///
/// # Errors
/// Debug information that is damaged, or that gives a name two meanings.
pub fn read(tree: &Tree, object: &[u8]) -> Result<Measurements, MeasureError> {
    let mut found = Found { nodes: nodes::read(&nodes::dwarf(object)?)?, ..Found::default() };
    for index in 0..found.nodes.all.len() {
        let node = found.nodes.all[index].clone();
        let file = node.file.as_deref().and_then(|file| tree.relative(file));
        match (node.tag, file.as_deref()) {
            (dw::DW_TAG_enumeration_type, file) => found.enumerators(&node, file)?,
            (tag, Some(file)) if is_aggregate(tag) && !node.declaration => {
                found.structure(node.name.as_deref(), index, file)?;
            }
            // A struct without a tag goes by the name of its typedef.
            (dw::DW_TAG_typedef, Some(file)) => {
                let target = node.of.map(|of| (of, &found.nodes.all[of]));
                let target = target.filter(|(_, to)| is_aggregate(to.tag) && to.name.is_none());
                if let Some((of, _)) = target {
                    found.structure(node.name.as_deref(), of, file)?;
                }
            }
            _ => {}
        }
    }
    Ok((found.structs, found.constants, found.places))
}

/// What was found so far.
#[derive(Default)]
struct Found {
    nodes: Nodes,
    structs: BTreeMap<String, StructTable>,
    constants: BTreeMap<String, i128>,
    places: BTreeMap<String, Arc<str>>,
}

impl Found {
    fn structure(
        &mut self,
        name: Option<&str>,
        index: usize,
        file: &str,
    ) -> Result<(), MeasureError> {
        if let Some(name) = name.filter(|name| !name.starts_with(HANDLE)) {
            self.structs.insert(name.to_owned(), self.nodes.table(index)?);
            self.places.insert(format!("struct {name}"), file.into());
        }
        Ok(())
    }

    fn enumerators(&mut self, node: &Node, file: Option<&str>) -> Result<(), MeasureError> {
        for child in &node.children {
            let child = &self.nodes.all[*child];
            let (Some(name), Some(value)) = (&child.name, child.value) else { continue };
            let name = match (name.strip_prefix(PREFIX), file) {
                (Some(name), _) => name,
                (None, Some(file)) => {
                    self.places.insert(name.clone(), file.into());
                    name
                }
                (None, None) => continue,
            };
            let value = self.nodes.signed_as(node, value);
            match self.constants.insert(name.to_owned(), value) {
                Some(other) if other != value => {
                    return Err(MeasureError::Dwarf(format!(
                        "`{name}` is both {other} and {value}"
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_aggregate(tag: DwTag) -> bool {
    matches!(tag, dw::DW_TAG_structure_type | dw::DW_TAG_union_type)
}

impl Nodes {
    fn table(&self, index: usize) -> Result<StructTable, MeasureError> {
        let mut members = Vec::new();
        self.members(index, "", 0, &mut members, 0)?;
        Ok(StructTable { size: self.all[index].size.unwrap_or(0), members })
    }

    fn members(
        &self,
        index: usize,
        prefix: &str,
        base: u64,
        out: &mut Vec<(String, Extent)>,
        depth: usize,
    ) -> Result<(), MeasureError> {
        if depth > DEPTH {
            return Err(MeasureError::Dwarf("a type without end".to_owned()));
        }
        for member in self.all[index]
            .children
            .iter()
            .map(|child| &self.all[*child])
            .filter(|child| child.tag == dw::DW_TAG_member)
        {
            let Some(of) = member.of else { continue };
            let size = self.size(of, 0)?;
            let offset = match member.bit_offset {
                Some(bits) if size > 0 => base + bits / (8 * size) * size,
                _ => base + member.offset.unwrap_or(0),
            };
            let aggregate = self.strip(of, 0)?;
            let inside = is_aggregate(self.all[aggregate].tag);
            match &member.name {
                Some(name) => {
                    let path = format!("{prefix}{name}");
                    out.push((path.clone(), Extent { offset, size }));
                    if inside {
                        self.members(aggregate, &format!("{path}."), offset, out, depth + 1)?;
                    }
                }
                None if inside => self.members(aggregate, prefix, offset, out, depth + 1)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Returns the type behind typedefs and qualifiers.
    fn strip(&self, index: usize, depth: usize) -> Result<usize, MeasureError> {
        let node = &self.all[index];
        let transparent = matches!(
            node.tag,
            dw::DW_TAG_typedef | dw::DW_TAG_const_type | dw::DW_TAG_volatile_type
        );
        match node.of {
            _ if depth > DEPTH => Err(MeasureError::Dwarf("a type without end".to_owned())),
            Some(of) if transparent => self.strip(of, depth + 1),
            _ => Ok(index),
        }
    }

    fn size(&self, index: usize, depth: usize) -> Result<u64, MeasureError> {
        let index = self.strip(index, depth)?;
        let node = &self.all[index];
        match node.tag {
            dw::DW_TAG_pointer_type => Ok(node.size.unwrap_or(self.address_size)),
            dw::DW_TAG_array_type => {
                let element =
                    node.of.ok_or_else(|| MeasureError::Dwarf("an array of nothing".to_owned()))?;
                let dimensions = node
                    .children
                    .iter()
                    .map(|child| &self.all[*child])
                    .filter(|child| child.tag == dw::DW_TAG_subrange_type);
                let count: u64 = dimensions.map(|dimension| dimension.count.unwrap_or(0)).product();
                Ok(self.size(element, depth + 1)? * count)
            }
            _ => Ok(node.size.unwrap_or(0)),
        }
    }

    /// Returns an enumerator's value, read as the sign of its enumeration's integer wants it.
    fn signed_as(&self, enumeration: &Node, value: i128) -> i128 {
        let unsigned = enumeration
            .of
            .is_some_and(|of| self.strip(of, 0).is_ok_and(|of| self.all[of].unsigned));
        let bits = enumeration.size.unwrap_or(8).clamp(1, 8) * 8;
        let modulus = 1_i128 << bits;
        match unsigned {
            true if value < 0 => value + modulus,
            false if value >= modulus / 2 => value - modulus,
            _ => value,
        }
    }
}
