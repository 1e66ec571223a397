//! The export of the whole description against what C compilers measured. The texts are read back,
//! so that the comparison covers what other tools read.

use super::{json, resolve, yaml};
use crate::commands::workspace_root;
use crate::generate;
use crate::headers::facts::{Facts, Grid};
use crate::headers::store;
use crate::yaml as source;
use serde_json::Value;
use std::collections::BTreeMap;

/// Values by C name and cell of the grid.
type Cells = BTreeMap<String, BTreeMap<usize, Vec<i128>>>;

/// The export and the facts.
struct Both {
    abi: Value,
    facts: Facts,
}

impl Both {
    fn read() -> Self {
        let folder = workspace_root().join("abi-yaml");
        let sources = source::load(&folder).expect("the description");
        let abi = generate::checked(sources, |document, layouts| Ok(resolve(document, layouts)));
        let abi = abi.unwrap_or_else(|why| panic!("{why:?}"));
        let text = json(&abi).expect("JSON");
        let abi_of_json: Value = serde_json::from_str(&text).expect("the JSON that was written");
        let text = yaml(&abi).expect("YAML");
        let abi_of_yaml: Value = serde_yaml::from_str(&text).expect("the YAML that was written");
        assert!(abi_of_json == abi_of_yaml, "JSON and YAML differ");
        Self { abi: abi_of_json, facts: store::load(&folder.join("facts")).expect("the facts") }
    }

    fn grid(&self) -> &Grid {
        &self.facts.grid
    }

    /// Returns the items of a section of all files.
    fn section(&self, name: &str) -> impl Iterator<Item = &Value> {
        list(&self.abi["files"]).iter().flat_map(move |file| list(&file[name]))
    }

    /// Returns the cells of a range on an architecture.
    fn cells(&self, arch: &str, range: &Value) -> Vec<usize> {
        let releases = list(&self.abi["releases"]);
        let position = |release: &Value| {
            releases.iter().position(|known| known == release).expect("a known release")
        };
        let named = range["named_since"].is_string().then(|| position(&range["named_since"]));
        let since = position(&range["since"]).max(named.unwrap_or(0));
        let until = match &range["until"] {
            Value::Null => releases.len() - 1,
            until => position(until),
        };
        let name = |at: usize| text(&releases[at]).parse().expect("a release");
        (since..=until).filter_map(|at| Some(self.grid().find(name(at), arch)?.0)).collect()
    }

    /// Adds the value of a constant in each cell that has it.
    fn add(&self, all: &mut Cells, item: &Value, c: &Value, value: &Value) {
        let Some(c) = c.as_str() else { return };
        for (arch, range) in item["availability"].as_object().expect("a map of architectures") {
            let value = if value.is_object() { &value[arch] } else { value };
            for cell in self.cells(arch, range) {
                all.entry(c.to_owned()).or_default().entry(cell).or_default().push(number(value));
            }
        }
    }

    /// Returns the values of all C constants.
    fn constants(&self) -> Cells {
        let mut all = Cells::new();
        for item in self.section("constants") {
            self.add(&mut all, item, &item["c"], &item["value"]);
        }
        for item in self.section("enumerations").flat_map(|item| list(&item["values"])) {
            self.add(&mut all, item, &item["c"], &item["value"]);
        }
        for field in self.section("words").flat_map(|item| list(&item["fields"])) {
            self.add(&mut all, field, &field["c"], &field["mask"]);
            self.add(&mut all, field, &field["index_c"], &field["low"]);
            for value in list(&field["values"]) {
                self.add(&mut all, value, &value["c"], &value["in_place"]);
            }
        }
        for item in self.section("encodings").flat_map(|item| list(&item["variants"])) {
            let value = if item["tag"].is_null() { &item["value"] } else { &item["tag"] };
            self.add(&mut all, item, &item["c"], value);
        }
        for item in self.section("hypercalls").flat_map(|item| list(&item["commands"])) {
            self.add(&mut all, item, &item["c"], &item["number"]);
        }
        all
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> i128 {
    value.to_string().parse().expect("a whole number")
}

/// Adds the extents of the fields that have a name in C.
fn extents(placed: &Value, all: &mut BTreeMap<String, (u64, u64)>) {
    for field in list(placed) {
        if let Some(c) = field["c"].as_str() {
            let of = |key: &str| field[key].as_u64().expect("a number of bytes");
            all.insert(c.to_owned(), (of("offset"), of("size")));
        }
        if field["count"].is_null() {
            extents(&field["members"], all);
        }
    }
}

#[test]
fn constants_strings_sizes_and_members_are_those_of_the_headers() {
    let both = Both::read();
    let grid = both.grid();
    let mut compared = BTreeMap::from([("constants", 0), ("strings", 0), ("sizes", 0)]);
    for (name, cells) in both.constants() {
        let Some(column) = both.facts.constants.get(&name) else { panic!("no constant {name}") };
        for cell in grid.cells() {
            let exported = cells.get(&cell.0).map_or(&[][..], Vec::as_slice);
            let measured = column.get(cell);
            assert_eq!(measured.is_some(), !exported.is_empty(), "{name}: {}", grid.name(cell));
            for value in exported {
                let measured = measured.expect("a value");
                // The highest bit of a word can make a C constant negative.
                let unsigned = if measured < 0 { measured + (1 << 32) } else { measured };
                assert!(
                    *value == measured || *value == unsigned,
                    "{name}: {value}, {measured} in {}",
                    grid.name(cell)
                );
                *compared.entry("constants").or_insert(0) += 1;
            }
        }
    }
    for item in both.section("strings") {
        let Some(c) = item["c"].as_str() else { continue };
        for (arch, range) in item["availability"].as_object().expect("a map") {
            for cell in both.cells(arch, range) {
                let cell = grid.cells().find(|known| known.0 == cell).expect("a measured cell");
                let measured = both.facts.texts[c].get(cell).map(|text| text.to_string());
                assert_eq!(measured, Some(format!("\"{}\"", text(&item["value"][arch]))), "{c}");
                *compared.entry("strings").or_insert(0) += 1;
            }
        }
    }
    let mut members = 0;
    for item in both.section("structs") {
        let Some(c) = item["c"].as_str() else { continue };
        let measured = &both.facts.structs[c];
        for (arch, layouts) in item["layouts"].as_object().expect("a map of architectures") {
            let named = &item["availability"][arch]["named_since"];
            for layout in list(layouts) {
                let mut range = layout.clone();
                range["named_since"] = named.clone();
                let mut fields = BTreeMap::new();
                extents(&layout["fields"], &mut fields);
                for cell in both.cells(arch, &range) {
                    let cell = grid.cells().find(|known| known.0 == cell).expect("a cell");
                    let place = || format!("{c}: {}", grid.name(cell));
                    assert_eq!(measured.size.get(cell), layout["size"].as_u64(), "{}", place());
                    *compared.entry("sizes").or_insert(0) += 1;
                    for (path, extent) in &fields {
                        let there = measured.member(path).and_then(|column| column.get(cell));
                        let there = there.map(|there| (there.offset, there.size));
                        assert_eq!(there, Some(*extent), "{path} of {}", place());
                        members += 1;
                    }
                }
            }
        }
    }
    compared.insert("members", members);
    for (what, least) in
        [("constants", 40_000), ("strings", 1_000), ("sizes", 5_000), ("members", 20_000)]
    {
        assert!(compared[what] > least, "only {} {what} were compared", compared[what]);
    }
}

#[test]
fn the_same_description_gives_the_same_text() {
    let export = || {
        let sources = source::load(&workspace_root().join("abi-yaml")).expect("the description");
        let abi = generate::checked(sources, |document, layouts| Ok(resolve(document, layouts)));
        json(&abi.unwrap_or_else(|why| panic!("{why:?}"))).expect("JSON")
    };
    assert!(export() == export());
}
