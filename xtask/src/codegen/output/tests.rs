use super::apply::{Stage, Step, steps};
use super::{Lock, OutputError, Plan, apply, diff};
use crate::codegen::{Generated, MARK};
use crate::commands::workspace_root;
use crate::generate::from_folder as generate;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn generated(name: &str, body: &str) -> Generated {
    Generated { path: name.to_owned(), text: format!("{MARK}x.yaml. Do not edit.\n{body}\n") }
}

/// Returns a folder with `same.rs`, a `stale.rs` whose source is gone, an `other.rs` that will
/// change, and a handwritten file.
fn world() -> (tempfile::TempDir, PathBuf, Vec<Generated>) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("generated");
    fs::create_dir(&folder).unwrap();
    for file in [
        generated("same.rs", "same"),
        generated("stale.rs", "stale"),
        generated("other.rs", "before"),
    ] {
        fs::write(folder.join(file.path), file.text).unwrap();
    }
    fs::write(folder.join("notes.txt"), "by hand").unwrap();
    let files = vec![
        generated("same.rs", "same"),
        generated("other.rs", "after"),
        generated("new.rs", "new"),
    ];
    (root, folder, files)
}

fn contents(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read_to_string(entry.path()).unwrap_or_default(),
            )
        })
        .collect()
}

fn names(root: &Path) -> Vec<String> {
    contents(root).into_keys().collect()
}

/// Where a complete run leads.
fn goal() -> BTreeMap<String, String> {
    let (_root, folder, files) = world();
    apply(&Plan::new(&files, &folder).unwrap()).unwrap();
    contents(&folder)
}

#[test]
fn what_is_committed_is_what_the_description_says() {
    let output = generate(&workspace_root().join("abi-yaml"))
        .unwrap_or_else(|failure| panic!("{failure:?}"));
    let plan = Plan::new(&output.files, &workspace_root().join("xen-pac/src/generated")).unwrap();
    assert!(plan.is_empty(), "stale: run `cargo xtask regen`\n{}", diff(&plan));
}

#[test]
fn every_run_gives_the_same_bytes() {
    let run = || {
        generate(&workspace_root().join("abi-yaml"))
            .unwrap_or_else(|failure| panic!("{failure:?}"))
            .files
    };
    assert_eq!(run(), run());
}

#[test]
fn new_changed_and_stale_files_are_dealt_with_and_foreign_ones_kept() {
    let (root, folder, files) = world();
    let plan = Plan::new(&files, &folder).unwrap();
    assert_eq!((plan.written(), plan.removed(), plan.unchanged), (2, 1, 1));
    assert_eq!(plan.foreign, ["notes.txt"]);
    apply(&plan).unwrap();
    assert_eq!(names(&folder), ["new.rs", "notes.txt", "other.rs", "same.rs"]);
    assert!(contents(&folder)["other.rs"].ends_with("after\n"));
    assert_eq!(names(root.path()), ["generated"], "nothing is left beside the folder");
    assert!(Plan::new(&files, &folder).unwrap().is_empty());
}

#[test]
fn an_unchanged_file_is_not_touched() {
    let (_root, folder, files) = world();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::options()
        .write(true)
        .open(folder.join("same.rs"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    apply(&Plan::new(&files, &folder).unwrap()).unwrap();
    assert_eq!(fs::metadata(folder.join("same.rs")).unwrap().modified().unwrap(), long_ago);
}

#[test]
fn a_folder_that_does_not_exist_is_made() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("er");
    let files = [generated("a.rs", "a")];
    apply(&Plan::new(&files, &folder).unwrap()).unwrap();
    assert_eq!(names(&folder), ["a.rs"]);
}

#[test]
fn a_folder_that_is_missing_with_the_one_around_it_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::new(&[generated("a.rs", "a")], &root.path().join("mistyped/er")).unwrap();
    assert!(matches!(apply(&plan), Err(OutputError::Io { what: "make the folder", .. })));
    assert!(names(root.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_folder_may_be_a_link_to_one_in_a_folder_that_cannot_be_written() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (root, folder, files) = world();
    let link = root.path().join("link");
    symlink(&folder, &link).unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let applied = Plan::new(&files, &link).and_then(|plan| apply(&plan));
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    applied.unwrap();
    assert_eq!(contents(&folder), goal());
}

#[test]
fn the_next_run_puts_right_what_was_interrupted_at_any_step() {
    let goal = goal();
    let count = steps(&Plan::new(&world().2, &world().1).unwrap()).len();
    for done in 0..count {
        let (root, folder, files) = world();
        let plan = Plan::new(&files, &folder).unwrap();
        let stage = Stage::new(&folder);
        for step in &steps(&plan)[..done] {
            stage.run(step).unwrap();
        }
        // Half a file, as a crash in the middle of a write leaves it.
        if let Some(Step::Stage(change, text)) = steps(&plan).get(done) {
            fs::write(folder.join(".staged").join(&change.name), &text[..5]).unwrap();
        }
        apply(&Plan::new(&files, &folder).unwrap()).unwrap();
        assert_eq!(contents(&folder), goal, "interrupted after {done} steps");
        assert_eq!(names(root.path()), ["generated"], "interrupted after {done} steps");
    }
}

#[test]
fn a_step_that_fails_has_those_before_it_undone() {
    let (root, folder, files) = world();
    let before = contents(&folder);
    let plan = Plan::new(&files, &folder).unwrap();
    // A folder that appears where a file must be renamed to makes that step fail, after `new.rs`
    // is in place.
    fs::remove_file(folder.join("other.rs")).unwrap();
    fs::create_dir_all(folder.join("other.rs/full")).unwrap();
    assert!(matches!(apply(&plan), Err(OutputError::Io { what: "replace", .. })));
    fs::remove_dir_all(folder.join("other.rs")).unwrap();
    fs::write(folder.join("other.rs"), &before["other.rs"]).unwrap();
    assert_eq!(contents(&folder), before);
    assert_eq!(names(root.path()), ["generated"]);
}

#[test]
fn a_removal_that_fails_leaves_the_old_texts() {
    let (_root, folder, files) = world();
    let before = contents(&folder);
    let plan = Plan::new(&files, &folder).unwrap();
    fs::remove_file(folder.join("stale.rs")).unwrap();
    assert!(matches!(apply(&plan), Err(OutputError::Io { what: "remove", .. })));
    fs::write(folder.join("stale.rs"), &before["stale.rs"]).unwrap();
    assert_eq!(contents(&folder), before);
}

#[test]
fn a_handwritten_file_is_not_overwritten() {
    let (_root, folder, mut files) = world();
    let before = contents(&folder);
    files.push(generated("notes.txt", "x"));
    let Err(OutputError::Foreign(path)) = Plan::new(&files, &folder) else { panic!() };
    assert!(path.ends_with("notes.txt"), "{}", path.display());
    assert_eq!(contents(&folder), before);
}

#[test]
fn a_wrong_description_changes_nothing() {
    let abi = tempfile::tempdir().unwrap();
    for entry in
        fs::read_dir(workspace_root().join("abi-yaml")).unwrap().map(|entry| entry.unwrap().path())
    {
        if entry.extension().is_some_and(|ending| ending == "yaml") {
            fs::copy(&entry, abi.path().join(entry.file_name().unwrap())).unwrap();
        }
    }
    generate(abi.path()).unwrap_or_else(|failure| panic!("{failure:?}"));
    let file = abi.path().join("version.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\nnonsense: 1\n")).unwrap();
    assert!(generate(abi.path()).is_err());
}

#[test]
fn the_diff_shows_what_goes_and_what_comes() {
    let (_root, folder, files) = world();
    let text = diff(&Plan::new(&files, &folder).unwrap());
    let plain = anstream::adapter::strip_str(&text).to_string();
    assert!(
        text.contains("\x1b[32m+after\x1b[0m") && text.contains("\x1b[31m-before\x1b[0m"),
        "{text}"
    );
    let other = folder.join("other.rs").display().to_string();
    assert!(plain.contains(&format!("--- {other}\n+++ {other}\n@@ -1,2 +1,2 @@\n")), "{plain}");
    assert!(plain.contains("--- /dev/null\n") && plain.contains("+++ /dev/null\n"), "{plain}");
    assert!(!plain.contains("same.rs"), "{plain}");
}

#[test]
fn runs_at_the_same_time_take_turns() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("there");
    let run = |text: &str| {
        let files = ["a.rs", "b.rs", "c.rs"].map(|name| generated(name, text));
        let _lock = Lock::of(&folder);
        apply(&Plan::new(&files, &folder).unwrap()).unwrap();
    };
    std::thread::scope(|scope| {
        for text in ["one", "two"] {
            scope.spawn(move || (0..50).for_each(|_| run(text)));
        }
    });
    let texts: Vec<_> = contents(&folder).into_values().collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(names(root.path()), ["there"]);
}
