use super::{Next, boot, cpu_time, until_parent_ends};
use crate::guest::emulator::Emulation;
use crate::guest::verdict::End;
use crate::tools::find_program;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
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

fn run(script: &str, limit: Duration, next: impl Fn(&str) -> Next) -> (Vec<String>, End, String) {
    let (folder, path) = emulator(script);
    let mut lines = Vec::new();
    let emulation =
        Emulation { program: path, arguments: Vec::new(), folder: folder.path().to_owned() };
    let ended = boot(&emulation, limit, Stdio::null(), |line| {
        lines.push(line.to_owned());
        next(line)
    });
    let ended = ended.unwrap();
    (lines, ended.end, ended.complaints)
}

#[test]
fn every_line_and_the_status_come_through() {
    let (lines, end, complaints) = run(
        "printf 'one\\r\\ntwo\\n\\377three'; echo why >&2; exit 33",
        Duration::from_secs(20),
        |_| Next::More,
    );
    assert_eq!(lines, ["one", "two", "\u{fffd}three"]);
    assert_eq!(end, End::Exited(33));
    assert_eq!(complaints, "why\n");
}

#[test]
fn time_runs_out_for_the_silent_and_for_the_talkative() {
    assert_eq!(run("exec sleep 60", Duration::from_secs(1), |_| Next::More).1, End::TimedOut(1));
    assert_eq!(
        run("while :; do echo on and on; done", Duration::from_secs(1), |_| Next::More).1,
        End::TimedOut(1)
    );
}

#[test]
fn after_the_last_word_the_wait_is_short() {
    let (lines, end, _) =
        run("echo goodbye; exec sleep 60", Duration::from_secs(50), |_| Next::Nothing);
    assert_eq!((lines, end), (vec!["goodbye".to_owned()], End::Stopped));
}

#[test]
fn each_guest_of_a_boot_has_the_whole_time() {
    let script = "for i in 1 2 3; do echo $i; sleep 2.5; done; exec sleep 60";
    let limit = Duration::from_secs(4);
    let (lines, end, _) =
        run(script, limit, |line| if line == "3" { Next::Nothing } else { Next::Guest(1) });
    assert_eq!((lines.concat().as_str(), end), ("123", End::Stopped));
    let (lines, end, _) = run(script, limit, |_| Next::More);
    assert!(!lines.contains(&"3".to_owned()), "{lines:?}");
    assert_eq!(end, End::TimedOut(4));
    let twice = run("echo 1; exec sleep 60", Duration::from_secs(1), |_| Next::Guest(2));
    assert_eq!(twice.1, End::TimedOut(2));
}

#[test]
fn the_emulator_ends_with_the_thread_that_started_it() {
    assert!(find_program("setpriv").is_some(), "expected setpriv, of Debian's package util-linux");
    let start = || {
        let child = until_parent_ends(Path::new("sleep")).arg("60").spawn().unwrap();
        // setpriv has asked for the signal when it has started the program.
        let name = format!("/proc/{}/comm", child.id());
        while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    };
    let mut emulator = std::thread::spawn(start).join().unwrap();
    assert_eq!(emulator.wait().unwrap().signal(), Some(9));
}

#[test]
fn the_processor_time_of_a_child_is_read() {
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
    let mut child = std::process::Command::new("sh").args(["-c", busy]).spawn().unwrap();
    // A child that has ended keeps it until it is waited for.
    let mut polls = 0;
    while cpu_time(child.id()) < Duration::from_millis(50) && polls < 4000 {
        std::thread::sleep(Duration::from_millis(5));
        polls += 1;
    }
    assert!(polls < 4000, "expected 50 ms of processor time, found {:?}", cpu_time(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(cpu_time(child.id()), Duration::ZERO);
}
