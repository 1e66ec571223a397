//! Each example with a seed succeeds with every seed, and prints the same with the same seed. Those
//! with a console answer what is typed.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

const FEATURES: &str = "features";
const PING_PONG: &str = "ping-pong";
const CLOCK: &str = "clock";
const TICK: &str = "tick";
const IPI: &str = "ipi";
const ECHO: &str = "echo";
const STORE: &str = "store";

const SEEDS: [u64; 8] = [0, 1, 2, 3, 7, 99, 1 << 40, u64::MAX];

/// The folder of the examples, which are built if one of them is missing.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().expect("the test knows where it is");
    let folder = test.ancestors().nth(2).expect("it is in a folder of the target").join("examples");
    // `cargo test` builds all examples, but `cargo test --test examples` does not.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let all = [FEATURES, PING_PONG, CLOCK, TICK, IPI, ECHO, STORE];
    if all.iter().any(|name| !folder.join(name).exists()) {
        let arguments = ["build", "--quiet", "--workspace", "--examples"];
        let mut command = Command::new(cargo);
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(command.status().expect("cargo can be run").success());
    }
    folder
});

fn run(program: &str, arguments: &[&str]) -> Output {
    let path = EXAMPLES.join(program);
    Command::new(path).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What a program prints with a seed.
fn printed(program: &str, seed: u64) -> String {
    let output = run(program, &[&seed.to_string()]);
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && errors.is_empty(),
        "{program} {seed}: {}\n{printed}{errors}",
        output.status
    );
    printed.into_owned()
}

/// Runs a program with each seed, twice, and returns how many outputs differ.
fn outputs(program: &str, shown: &str) -> usize {
    let mut outputs = Vec::new();
    for seed in SEEDS {
        let lines = printed(program, seed);
        assert_eq!(lines, printed(program, seed), "{program} {seed} twice");
        assert_eq!(lines.lines().next(), Some(format!("seed {seed}").as_str()));
        assert_eq!(lines.lines().last(), Some(format!("shown: {shown}").as_str()));
        outputs.push(lines.lines().skip(1).collect::<Vec<_>>().join("\n"));
    }
    outputs.sort_unstable();
    outputs.dedup();
    outputs.len()
}

#[test]
fn features() {
    assert_eq!(
        outputs(FEATURES, "what Xen tells each sort of guest"),
        1,
        "the seed changes none of the answers"
    );
}

#[test]
fn ping_pong() {
    assert!(
        outputs(
            PING_PONG,
            "a page lent, mapped, used by both with events, unmapped and taken back"
        ) > 1
    );
}

#[test]
fn clock() {
    assert!(
        outputs(
            CLOCK,
            "a clock that Xen sets while it is read, and that is right and never goes back"
        ) > 1
    );
}

#[test]
fn tick() {
    assert!(
        outputs(
            TICK,
            "a tick every 10 ms, none early and none lost, although upcalls come late and for \
             nothing"
        ) > 1
    );
}

#[test]
fn ipi() {
    assert!(outputs(IPI, "two vCPUs, each interrupted once for each event of the other's") > 1);
}

#[test]
fn a_console_answers_what_is_typed() {
    let refused = "> cat domid\n1\n> cat no\nxenstore refused: ENOENT\n> ";
    let greeting = "type lines; `quit` ends\n";
    let echoed = format!("{greeting}you typed: hello\nyou typed: two words\nbye\n");
    for (program, script, typed, expected) in [
        (ECHO, "", "hello\ntwo words\n", echoed),
        (ECHO, "", "quit\nhello\n", format!("{greeting}bye\n")),
        (STORE, "", "set data/x 1\ncat data/x\nperms data\n", "> > 1\n> n1\n> ".to_owned()),
        (STORE, "cat domid;cat no", "quit\n", refused.to_owned()),
    ] {
        let mut example = Command::new(EXAMPLES.join(program))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut stdin = example.stdin.take().expect("it is a pipe");
        stdin.write_all(typed.as_bytes()).expect("the pipe holds what is typed");
        drop(stdin);
        let output = example.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{program}: {}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{program}: {typed}");
    }
}

#[test]
fn a_hundred_runs_with_one_seed_are_equal() {
    let first = printed(IPI, 7);
    assert!((1..100).all(|_| printed(IPI, 7) == first));
}

#[test]
fn the_default_seed_is_1() {
    assert_eq!(String::from_utf8_lossy(&run(TICK, &[]).stdout), printed(TICK, 1));
}

#[test]
fn an_invalid_seed_is_a_failure() {
    let output = run(TICK, &["seven"]);
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        errors,
        "error: expected a u64 as the seed, found `seven`: invalid digit found in string\n"
    );
}
