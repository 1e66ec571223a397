//! Running the emulator: everything that reaches the console is handed on line by line.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::emulator::Emulation;
use super::verdict::End;

/// How long the emulator may take to end after the console said that nothing more will come.
const GRACE: Duration = Duration::from_millis(500);

/// How a run ended, and what the emulator complained of.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The emulator's error stream.
    pub complaints: String,
}

/// Runs a boot, and gives every line of the console to `line`, which returns whether to go on. The
/// console gets what is typed from `input`.
///
/// # Errors
///
/// If the emulator cannot be started or watched.
pub fn boot(
    emulation: &Emulation,
    limit: Duration,
    input: Stdio,
    line: impl FnMut(&str) -> bool,
) -> io::Result<Ended> {
    let mut emulator = Command::new(&emulation.program)
        .current_dir(&emulation.folder)
        .args(&emulation.arguments)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let complaints = emulator.stderr.take().map(|stream| thread::spawn(move || read_all(stream)));
    let end = match emulator.stdout.take() {
        Some(console) => watch(&mut emulator, console, limit, line),
        None => Err(io::Error::other("the emulator has no console")),
    };
    // Whatever happened above, nothing is left running.
    let _ = emulator.kill();
    let _ = emulator.wait();
    let complaints = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ok(Ended { end: end?, complaints })
}

/// Hands on the console's lines until the emulator ends, its time is up, or there is nothing more
/// to wait for.
fn watch(
    emulator: &mut Child,
    console: ChildStdout,
    limit: Duration,
    mut line: impl FnMut(&str) -> bool,
) -> io::Result<End> {
    let lines = lines_of(console);
    let mut deadline = Instant::now() + limit;
    let mut at_deadline = End::TimedOut(limit.as_secs());
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                if !line(&text) && at_deadline != End::Stopped {
                    deadline = deadline.min(Instant::now() + GRACE);
                    at_deadline = End::Stopped;
                }
                // A guest that never stops talking must not outlast its time either.
                if Instant::now() >= deadline {
                    return Ok(at_deadline);
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok(at_deadline),
            Err(RecvTimeoutError::Disconnected) => return wait(emulator, deadline, at_deadline),
        }
    }
}

/// Waits for the emulator, whose console is closed, to end.
fn wait(emulator: &mut Child, deadline: Instant, at_deadline: End) -> io::Result<End> {
    loop {
        if let Some(status) = emulator.try_wait()? {
            return Ok(status.code().map_or(End::Killed, End::Exited));
        }
        if Instant::now() >= deadline {
            return Ok(at_deadline);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the stream's lines, as they come. The sender goes when the stream ends.
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
