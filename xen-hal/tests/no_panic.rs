//! Nothing that the hot paths reach can panic, as their object file shows.
//!
//! They are linked alone into a shared object of which each is an entry. The linker drops what no
//! entry reaches, so that a function of `core::panicking` among the symbols would mean that some
//! path leads there.
#![cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use object::{Object, ObjectSymbol, SymbolKind};

/// Held while an object is built and read: both tests build theirs in one folder.
static FOLDER: Mutex<()> = Mutex::new(());

/// The names of the functions in the object, built with these further arguments.
fn functions(arguments: &[&str]) -> Vec<String> {
    let _folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/hot-paths/Cargo.toml");
    // With the procedural macros of this test, which are in its folder. The development profile of
    // the hot paths optimises them.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--config",
            "profile.dev.panic='abort'",
            "--manifest-path",
        ])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .args(arguments);
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    assert!(cargo.status().expect("cargo runs this test, so it is there").success());
    let file = fs::read(target.join("debug/libhot_paths.so")).expect("cargo has built it");
    let object = object::File::parse(&*file).expect("the linker writes objects");
    let functions = object.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    functions.filter_map(|symbol| symbol.name().ok()).map(str::to_owned).collect()
}

fn panics(functions: &[String]) -> Vec<&String> {
    // In either way of mangling, a module's name stands behind its length.
    functions.iter().filter(|name| name.contains("9panicking")).collect()
}

#[test]
fn the_hot_paths_reach_no_panic() {
    let functions = functions(&[]);
    let entries = functions.iter().filter(|name| name.starts_with("hot_")).count();
    assert_eq!(entries, 21, "{functions:?}");
    assert_eq!(panics(&functions), [] as [&String; 0]);
}

#[test]
fn a_panic_would_be_seen() {
    let functions = functions(&["--features", "planted"]);
    assert!(!panics(&functions).is_empty(), "{functions:?}");
}
