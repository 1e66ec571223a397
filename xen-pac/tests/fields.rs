//! Compares every bit field of every word with the bits that its documentation names.
//! (`tock-registers` itself tests that a `Field` accesses the bits of its mask and shift.)
#![allow(missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A field constant of the generated source.
#[derive(Debug)]
struct Constant {
    word: String,
    name: String,
    width: u32,
    mask: u64,
    shift: u32,
    /// The highest and the lowest bit in the documentation.
    bits: (u32, u32),
}

fn number(text: &str) -> u64 {
    let text = text.replace('_', "");
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// "Bits 7:4." or "Bit 3." at the end of a documentation comment.
fn documented_bits(doc: &str) -> Option<(u32, u32)> {
    let (_, found) = doc.rsplit_once("Bit")?;
    let range = found.trim_start_matches('s').split('.').next()?.trim();
    let (high, low) = range.split_once(':').unwrap_or((range, range));
    Some((high.parse().ok()?, low.parse().ok()?))
}

fn constants_of(text: &str, into: &mut Vec<Constant>) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut module = "";
    let mut word = String::new();
    let mut rest = text.as_str();
    while let Some(found) = rest.find("pub ") {
        let (before, from) = rest.split_at(found);
        if let Some(name) = from.strip_prefix("pub mod ") {
            module = name.split_whitespace().next().unwrap();
        } else if from.starts_with("pub struct Register;") {
            // The module of a word, not the nested module with the names of a field's values.
            module.clone_into(&mut word);
        } else if let Some((name, value)) =
            from.strip_prefix("pub const ").and_then(|item| item.split_once(": Field<"))
        {
            if name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                let width = value[1..].split(',').next().unwrap().parse().unwrap();
                let (_, new) = value.split_once("Field::new(").unwrap();
                let mut numbers = new.split(')').next().unwrap().split(',').map(str::trim);
                let mask = number(numbers.next().unwrap());
                let shift = number(numbers.next().unwrap()) as u32;
                let bits = documented_bits(before)
                    .unwrap_or_else(|| panic!("{word}::{name} does not say which bits it has"));
                into.push(Constant {
                    word: word.clone(),
                    name: name.to_owned(),
                    width,
                    mask,
                    shift,
                    bits,
                });
            }
        }
        rest = &from[4..];
    }
}

fn constants() -> Vec<Constant> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        constants_of(&fs::read_to_string(entry.unwrap().path()).unwrap(), &mut found);
    }
    assert!(found.len() >= 50, "only {} fields were found in the generated source", found.len());
    found
}

/// Returns the value of a field, computed bit by bit.
fn model(value: u64, (high, low): (u32, u32)) -> u64 {
    (low..=high).filter(|bit| value >> bit & 1 == 1).map(|bit| 1 << (bit - low)).sum()
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn every_field_lies_within_its_word_and_beside_its_neighbours() {
    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
    for Constant { word, name, width, mask, shift, bits: (high, low) } in constants() {
        assert!(low <= high && high < width, "{word}::{name}: bits {high}:{low} of {width}");
        let place = mask << shift;
        assert_eq!((shift, place), (low, model(u64::MAX, (high, low)) << low), "{word}::{name}");
        let taken = taken.entry(word.clone()).or_default();
        assert_eq!(*taken & place, 0, "{word}::{name} overlaps a neighbour");
        *taken |= place;
    }
}
