//! The published packages: what they contain, and which features they have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use xtask::commands::workspace_root;

/// The packages, each with its folder, its readme, and its features; those of `xen-hal` follow.
const PACKAGES: [(&str, &str, &str, &[&str]); 3] = [
    ("xen-pac", "xen-pac", "README.md", &["io", "simulated"]),
    ("xen-hal", "xen-hal", "README.md", &[]),
    ("xen-sim", "xen-hal/sim", "docs/testing-with-the-simulator.md", &["critical-section"]),
];

/// The features of `xen-hal`, each of which integrates another crate or adds a driver.
const INTEGRATIONS: [&str; 13] = [
    "async",
    "blk",
    "block-device-driver",
    "critical-section",
    "defmt",
    "embassy-executor",
    "embassy-net-driver",
    "embassy-time-driver",
    "embedded-hal",
    "embedded-io",
    "embedded-io-async",
    "log",
    "net",
];

fn packaged_files(package: &str) -> BTreeSet<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["package", "--quiet", "--list", "--allow-dirty", "--package", package])
        .current_dir(workspace_root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{package}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The names of the entries of a manifest's section.
fn entries(manifest: &str, section: &str) -> BTreeSet<String> {
    let lines = manifest.lines().skip_while(|line| *line != section).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names =
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" ="));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn packages_have_licences_a_readme_and_no_tests() {
    for (package, _, readme, _) in PACKAGES {
        let files = packaged_files(package);
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "src/lib.rs", readme] {
            assert!(files.contains(file), "{package} lacks {file}: {files:?}");
        }
        let tests = files.iter().find(|file| file.starts_with("tests/") || file.contains("fuzz"));
        assert_eq!(tests, None, "{package}");
    }
}

#[test]
fn manifests_build_all_docs_and_have_no_further_feature() {
    let root = workspace_root();
    for (package, folder, _, features) in PACKAGES {
        let manifest = Path::new(&root).join(folder).join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("a manifest");
        let docs = entries(&manifest, "[package.metadata.docs.rs]");
        assert!(docs.contains("targets"), "{package}: {docs:?}");
        assert_eq!(docs.contains("all-features"), package == "xen-hal", "{package}: {docs:?}");
        let found: Vec<_> = entries(&manifest, "[features]").into_iter().collect();
        let expected = if package == "xen-hal" { &INTEGRATIONS[..] } else { features };
        assert_eq!(found, expected, "{package}");
    }
}
