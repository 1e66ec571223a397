//! The kept form of the facts loses nothing: text and tables give one another back.

use std::path::Path;
use xtask::headers::facts::{Facts, Table};
use xtask::headers::store;

fn kept() -> Facts {
    store::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml/facts"))
        .expect("the facts can be read")
}

#[test]
fn every_table_survives_the_kept_form() {
    let facts = kept();
    let tables = facts.tables();
    assert_eq!(
        tables.len(),
        facts.grid.releases.len() * facts.grid.archs.len(),
        "every release on every architecture"
    );
    let rebuilt = Facts::from_tables(&tables).expect("tables that go together");
    assert_eq!(rebuilt.tables(), tables);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let written = store::save(&rebuilt, folder.path()).expect("written");
    assert_eq!(store::load(folder.path()).expect("read").tables(), tables);
    for name in written {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi-yaml/facts").join(name);
        let same = std::fs::read(kept).unwrap() == std::fs::read(folder.path().join(name)).unwrap();
        assert!(same, "{name} is as the facts command writes it");
    }
    assert_eq!(store::save(&rebuilt, folder.path()).expect("written"), [] as [&str; 0]);
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
