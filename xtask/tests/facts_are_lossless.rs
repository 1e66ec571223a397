//! The compact form of the facts loses nothing: text, tables and JSON give one another back.

use std::path::Path;
use xtask::facts::{Facts, Table, json, store, text};

fn kept() -> Facts {
    store::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml/facts"))
        .expect("the facts can be read")
}

#[test]
fn every_table_survives_json_and_the_compact_form() {
    let facts = kept();
    let tables = facts.tables();
    assert_eq!(
        tables.len(),
        facts.grid.releases.len() * facts.grid.archs.len(),
        "every release on every architecture"
    );
    let back: Vec<Table> = tables
        .iter()
        .map(|table| json::read("table", &json::write(table)).expect("written by us"))
        .collect();
    assert_eq!(back, tables);
    let rebuilt = Facts::from_tables(&back).expect("tables that go together");
    assert_eq!(rebuilt.tables(), tables);
    for (name, written) in text::write(&rebuilt) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml/facts").join(name);
        assert!(
            std::fs::read_to_string(path).expect("kept") == written,
            "{name} is as import writes it"
        );
    }
}

#[test]
fn a_folder_of_tables_comes_back_from_the_compact_form() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tables = kept().tables();
    store::save_tables(&tables, &folder.path().join("json")).expect("written");
    let read = store::load_tables(&folder.path().join("json")).expect("read");
    store::save(&Facts::from_tables(&read).expect("go together"), &folder.path().join("compact"))
        .expect("written");
    let mut back = store::load(&folder.path().join("compact")).expect("read").tables();
    back.sort_by_key(|table| (table.release, table.arch.clone()));
    assert_eq!(back, tables);
}

#[test]
fn tables_that_contradict_one_another_are_refused() {
    let one = kept().tables().remove(0);
    let twice = Facts::from_tables(&[one.clone(), one.clone()]).expect_err("given twice");
    assert_eq!(twice.to_string(), "Xen 4.4 on aarch64 is given twice");
    let other = Table { arch: "riscv64".to_owned(), interface_version: 1, ..one.clone() };
    let versions = Facts::from_tables(&[one, other]).expect_err("two interface versions");
    assert_eq!(versions.to_string(), "Xen 4.4: interface version 0x00040400 and 0x00000001");
}

#[test]
fn json_of_another_form_is_refused() {
    let table = |constants: &str| {
        let head = r#""release": "4.4", "interface_version": "0x00040400", "arch": "x86""#;
        format!(r#"{{{head}, "structs": {{}}, "constants": {{{constants}}}}}"#)
    };
    assert!(json::read("t", &table(r#""A": -1, "B": 18446744073709551615"#)).is_ok());
    for wrong in [r#""A": 1, "A": 1"#, r#""A": 1.5"#, r#""A": "1""#, r#""A": 1}, "more": {"#] {
        assert!(json::read("t", &table(wrong)).is_err(), "{wrong}");
    }
}
