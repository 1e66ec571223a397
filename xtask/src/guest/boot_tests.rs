use super::boot;
use crate::guest::emulator::Emulation;
use crate::guest::verdict::End;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// Returns a script in the emulator's place.
fn emulator(script: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emulator");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

fn run(script: &str, limit: Duration, go_on: impl Fn(&str) -> bool) -> (Vec<String>, End, String) {
    let (folder, path) = emulator(script);
    let mut lines = Vec::new();
    let emulation =
        Emulation { program: path, arguments: Vec::new(), folder: folder.path().to_owned() };
    let ended = boot(&emulation, limit, Stdio::null(), |line| {
        lines.push(line.to_owned());
        go_on(line)
    });
    let ended = ended.unwrap();
    (lines, ended.end, ended.complaints)
}

#[test]
fn every_line_and_the_status_come_through() {
    let (lines, end, complaints) = run(
        "printf 'one\\r\\ntwo\\n\\377three'; echo why >&2; exit 33",
        Duration::from_secs(20),
        |_| true,
    );
    assert_eq!(lines, ["one", "two", "\u{fffd}three"]);
    assert_eq!(end, End::Exited(33));
    assert_eq!(complaints, "why\n");
}

#[test]
fn time_runs_out_for_the_silent_and_for_the_talkative() {
    assert_eq!(run("exec sleep 60", Duration::from_secs(1), |_| true).1, End::TimedOut(1));
    assert_eq!(
        run("while :; do echo on and on; done", Duration::from_secs(1), |_| true).1,
        End::TimedOut(1)
    );
}

#[test]
fn after_the_last_word_the_wait_is_short() {
    let (lines, end, _) =
        run("echo goodbye; exec sleep 60", Duration::from_secs(50), |line| line != "goodbye");
    assert_eq!((lines, end), (vec!["goodbye".to_owned()], End::Stopped));
}
