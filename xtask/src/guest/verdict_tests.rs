use super::{End, Verdict, bochs_end, is_last_word, judge, judge_image, judge_lines, xl_end};
use crate::guest::console::Line;

/// Lines as they came from the real hypervisor.
fn recorded(log: &str) -> Vec<Line> {
    log.lines().map(Line::parse).collect()
}

const SUCCESS: &str = include_str!("logs/success.log");
const GUEST_FAILURE: &str = include_str!("logs/guest_failure.log");
const GUEST_PANIC: &str = include_str!("logs/guest_panic.log");
const GUEST_CRASH: &str = include_str!("logs/guest_crash.log");
const TRIPLE_FAULT: &str = include_str!("logs/triple_fault.log");
const HYPERVISOR_PANIC: &str = include_str!("logs/hypervisor_panic.log");
const HANG: &str = include_str!("logs/hang.log");
const HALTED: &str = include_str!("logs/halted.log");
const SILENT: &str = include_str!("logs/silent.log");

#[test]
fn success_needs_the_line_and_the_status() {
    assert_eq!(judge(&recorded(SUCCESS), &End::Exited(33), ""), Verdict::Success);
    for end in [End::Exited(0), End::Exited(1), End::Stopped, End::TimedOut(9)] {
        assert!(
            matches!(judge(&recorded(SUCCESS), &end, ""), Verdict::Contradiction(_)),
            "{end:?}"
        );
    }
    assert!(matches!(judge(&recorded(HANG), &End::Exited(33), ""), Verdict::Contradiction(_)));
    assert!(matches!(judge(&[], &End::Exited(33), ""), Verdict::Contradiction(_)));
}

#[test]
fn a_line_that_a_guest_must_print_is_missed() {
    let judged = |log: &str| judge_lines(&recorded(log), &["1000 ticks, 0 early, ", "done"]);
    for log in [
        "(d1) done\n(d1) 1000 ticks, 0 early, 0 lost",
        "(d1) done\nconsole: 1000 ticks, 0 early, 0 lost",
    ] {
        assert_eq!(judged(log), Verdict::Success);
    }
    for log in
        ["(d1) done\n(d1) 1000 ticks, 3 early, 0 lost", "(XEN) 1000 ticks, 0 early, \n(d1) done"]
    {
        assert_eq!(judged(log), Verdict::Missing("1000 ticks, 0 early, "));
    }
    assert_eq!(judge_lines(&[], &[]), Verdict::Success);
}

#[test]
fn one_report_of_success_is_enough_for_an_image() {
    let crash = format!("{SUCCESS}\n(XEN) Hardware Dom0 crashed: rebooting machine in 5 seconds.");
    for (log, end, expected) in [
        (SUCCESS, End::Exited(33), "success"),
        (SUCCESS, End::Exited(0), "success"),
        (SUCCESS, End::Stopped, "success"),
        (SUCCESS, End::TimedOut(9), "success"),
        (HANG, End::Exited(33), "success"),
        (HANG, End::TimedOut(9), "expected an end within 9 s"),
        (SUCCESS, End::Exited(1), "console and exit status disagree"),
        (&crash, End::Stopped, "console and exit status disagree"),
        (SUCCESS, End::Exited(35), "the guest failed"),
        (GUEST_PANIC, End::Exited(33), "the guest panicked"),
        (SILENT, End::Exited(0), "the machine stopped, and the guest reported no status"),
        (HALTED, End::Stopped, "the machine stopped, and the guest reported no status"),
    ] {
        let verdict = judge_image(&recorded(log), &end, "").to_string();
        assert!(verdict.starts_with(expected), "{end:?}: {verdict}");
    }
}

#[test]
fn a_success_line_does_not_outweigh_what_went_wrong() {
    for (log, status) in [
        (TRIPLE_FAULT, 0),
        (GUEST_PANIC, 37),
        (GUEST_FAILURE, 35),
        (GUEST_CRASH, 0),
        (HYPERVISOR_PANIC, 0),
    ] {
        let lines = recorded(&format!("{SUCCESS}\n{log}"));
        for status in [status, 33] {
            let verdict = judge(&lines, &End::Exited(status), "");
            assert_ne!(verdict, Verdict::Success, "{log}");
        }
    }
}

#[test]
fn the_guests_own_words_are_kept() {
    assert_eq!(
        judge(&recorded(GUEST_FAILURE), &End::Exited(35), ""),
        Verdict::GuestFailure("error 38".into())
    );
    assert_eq!(
        judge(&recorded(GUEST_PANIC), &End::Exited(37), ""),
        Verdict::GuestPanic("at src/bin/misbehave.rs:11:20: as asked".into())
    );
}

#[test]
fn what_dom0_finds_wrong_counts() {
    let log = format!("{SUCCESS}\ndom0: failure: the check of files fails in round 2\n");
    assert_eq!(
        judge(&recorded(&log), &End::Exited(33), ""),
        Verdict::GuestFailure("the check of files fails in round 2".into())
    );
}

#[test]
fn a_status_without_words_counts() {
    assert!(matches!(judge(&recorded(HANG), &End::Exited(35), ""), Verdict::GuestFailure(_)));
    assert!(matches!(judge(&recorded(HANG), &End::Exited(37), ""), Verdict::GuestPanic(_)));
}

#[test]
fn a_triple_fault_looks_like_a_restart_and_is_none() {
    assert_eq!(judge(&recorded(TRIPLE_FAULT), &End::Exited(0), ""), Verdict::TripleFault);
    assert_eq!(judge(&recorded(SILENT), &End::Exited(0), ""), Verdict::EndedSilently);
    assert_eq!(judge(&recorded(HALTED), &End::Stopped, ""), Verdict::EndedSilently);
}

#[test]
fn xen_gives_its_reasons() {
    for end in [End::Exited(0), End::Stopped, End::TimedOut(9)] {
        let why = "Presently, iommu must be enabled for PVH hardware domain".into();
        assert_eq!(judge(&recorded(HYPERVISOR_PANIC), &end, ""), Verdict::HypervisorPanic(why));
        assert!(matches!(
            judge(&recorded(GUEST_CRASH), &end, ""),
            Verdict::GuestCrash(why) if why.starts_with("domain_crash called from")
        ));
    }
}

#[test]
fn a_hang_shows_the_last_line() {
    let verdict = judge(&recorded(HANG), &End::TimedOut(9), "");
    assert_eq!(verdict, Verdict::Hang { seconds: 9, last: Some("command line: spin".into()) });
    assert_eq!(judge(&[], &End::TimedOut(9), ""), Verdict::Hang { seconds: 9, last: None });
}

#[test]
fn an_emulator_that_does_not_start_says_why() {
    let complaints = "warning: this\nqemu: Failed to open file 'guest.elf'\n\n";
    assert_eq!(
        judge(&[], &End::Exited(1), complaints),
        Verdict::Emulator("qemu: Failed to open file 'guest.elf'".into())
    );
    assert_eq!(
        judge(&[], &End::Exited(0), ""),
        Verdict::Emulator("its error stream is empty".into())
    );
    assert!(matches!(judge(&recorded(HANG), &End::Killed, ""), Verdict::Emulator(_)));
}

#[test]
fn there_is_no_waiting_for_a_machine_that_will_not_go_on() {
    for log in [GUEST_CRASH, HYPERVISOR_PANIC, HALTED] {
        assert!(recorded(log).iter().any(is_last_word), "{log}");
    }
    for log in [SUCCESS, GUEST_PANIC, HANG] {
        assert!(!recorded(log).iter().any(is_last_word), "{log}");
    }
}

#[test]
fn bochs_and_xl_say_how_a_guest_ended_in_their_own_ways() {
    let output = "junk\n(0).[161771314] VGABIOS panic at vgabios.c, line 16\n";
    assert_eq!(bochs_end(End::Exited(1), output), End::Exited(33));
    assert_eq!(bochs_end(End::TimedOut(9), "nothing"), End::TimedOut(9));
    let xl = |reasons: &[&str]| {
        let lines: Vec<Line> = reasons
            .iter()
            .map(|reason| Line::parse(&format!("Domain 3 has shut down, reason code {reason} 0x0")))
            .collect();
        xl_end(&lines)
    };
    assert_eq!(xl(&["0", "0"]), Some(End::Exited(33)));
    assert_eq!(xl(&["0", "3"]), Some(End::Exited(35)));
    assert_eq!(xl(&["1"]), Some(End::Exited(0)));
    assert_eq!(xl(&[]), None);
}
