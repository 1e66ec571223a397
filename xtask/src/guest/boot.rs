//! Running the emulator: each line of the console is passed on as it comes.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::emulator::Emulation;
use super::verdict::End;
use crate::tools::find_program;

/// How long the emulator may take to end after the console said that nothing more will come.
const GRACE: Duration = Duration::from_millis(500);

/// How a run of the emulator ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The emulator's error stream.
    pub complaints: String,
    /// The emulator's processor time, user and system.
    pub cpu: Duration,
}

/// What a line of the console tells about what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More lines.
    More,
    /// Another guest, which has as many times the time limit.
    Guest(u32),
    /// Nothing.
    Nothing,
}

/// Runs a boot, and passes each line of the console to `line`. `input` is the console's input.
///
/// # Errors
///
/// If the emulator cannot be started or watched.
pub fn boot(
    emulation: &Emulation,
    limit: Duration,
    input: Stdio,
    line: impl FnMut(&str) -> Next,
) -> io::Result<Ended> {
    let mut emulator = until_parent_ends(&emulation.program)
        .current_dir(&emulation.folder)
        .args(&emulation.arguments)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let complaints = emulator.stderr.take().map(|stream| thread::spawn(move || read_all(stream)));
    let ended = match emulator.stdout.take() {
        Some(console) => watch(&mut emulator, console, limit, line),
        None => Err(io::Error::other("the emulator has no console")),
    };
    // Nothing is left running, whatever happened above.
    let _ = emulator.kill();
    let _ = emulator.wait();
    let complaints = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let (end, cpu) = ended?;
    Ok(Ended { end, complaints, cpu })
}

/// Returns the command for a program that Linux kills when the calling thread ends, so that a
/// killed xtask leaves no emulator running. Two cases remain: xtask ends in the milliseconds before
/// setpriv asks for the signal, and a machine without setpriv, of Debian's package util-linux.
fn until_parent_ends(program: &Path) -> Command {
    let Some(setpriv) = find_program("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Hands on the console's lines until the emulator ends, its time is up, or there is nothing more
/// to wait for. Also returns the emulator's processor time.
fn watch(
    emulator: &mut Child,
    console: ChildStdout,
    limit: Duration,
    mut line: impl FnMut(&str) -> Next,
) -> io::Result<(End, Duration)> {
    let lines = lines_of(console);
    let mut deadline = Instant::now() + limit;
    let mut at_deadline = End::TimedOut(limit.as_secs());
    loop {
        let cpu = || cpu_time(emulator.id());
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                match line(&text) {
                    _ if at_deadline == End::Stopped => {}
                    Next::More => {}
                    Next::Guest(times) => {
                        deadline = Instant::now() + limit * times;
                        at_deadline = End::TimedOut((limit * times).as_secs());
                    }
                    Next::Nothing => {
                        deadline = deadline.min(Instant::now() + GRACE);
                        at_deadline = End::Stopped;
                    }
                }
                // A guest that never stops talking must not outlast its time either.
                if Instant::now() >= deadline {
                    return Ok((at_deadline, cpu()));
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok((at_deadline, cpu())),
            Err(RecvTimeoutError::Disconnected) => return wait(emulator, deadline, at_deadline),
        }
    }
}

/// Waits for the emulator, whose console is closed, to end. Also returns its processor time.
fn wait(emulator: &mut Child, deadline: Instant, at_deadline: End) -> io::Result<(End, Duration)> {
    loop {
        // After `try_wait` has returned the status, the process and its times are gone.
        let cpu = cpu_time(emulator.id());
        if let Some(status) = emulator.try_wait()? {
            return Ok((status.code().map_or(End::Killed, End::Exited), cpu));
        }
        if Instant::now() >= deadline {
            return Ok((at_deadline, cpu));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the processor time of a child that was not waited for, or zero if it cannot be read.
fn cpu_time(process: u32) -> Duration {
    /// Linux counts in these parts of a second, on each architecture.
    const HZ: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 1000 / HZ)
}

/// Returns the stream's lines, as they come. The channel closes when the stream ends.
fn lines_of(console: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut raw = Vec::new();
        while console.read_until(b'\n', &mut raw).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&raw).trim_end_matches(['\r', '\n']).to_owned();
            if sender.send(text).is_err() {
                return;
            }
            raw.clear();
        }
    });
    receiver
}

fn read_all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What could be read before an error is still worth showing.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[path = "boot_tests.rs"]
mod tests;
