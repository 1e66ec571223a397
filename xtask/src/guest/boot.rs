//! Running the emulator: Xen boots, starts the guest as its control domain, and everything that
//! reaches the console is handed on line by line.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::program::Program;
use super::stage;
use super::verdict::End;

/// How long the emulator may take to end after the console said that nothing more will come.
const GRACE: Duration = Duration::from_millis(500);

/// What Xen is told. The emulated machine has no IOMMU, without which Xen makes no PVH control
/// domain unless told so; the console is the serial port.
const XEN_OPTIONS: &str = "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all dom0=pvh \
 dom0-iommu=none iommu=off dom0_mem=64M dom0_max_vcpus=2";

/// How a run ended, and what the emulator complained of.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The emulator's error stream.
    pub complaints: String,
}

/// The emulator's arguments: names of files are relative to the run's folder.
fn arguments(program: &Program) -> Vec<OsString> {
    let guest = format!("{} {}", stage::GUEST, program.command_line);
    let hypervisor = format!("../{}", stage::HYPERVISOR);
    [
        // Software emulation, so that it works everywhere and alike. Xen idles by MWAIT where it
        // can, and faults on iretq with SMAP: QEMU 7.2 emulates neither well.
        ["-accel", "tcg,thread=multi"],
        ["-machine", "q35"],
        ["-cpu", "EPYC,-monitor,-smap"],
        // One processor, on which Xen runs both vCPUs in turns. With two, about one run in ten of
        // two vCPUs that interrupt each other ended in a triple fault or a hang. What was found
        // then fits a guest that runs with another task register than its own, which points at QEMU
        // 7.2's emulation; it is not proven.
        ["-smp", "1"],
        ["-m", "256"],
        ["-display", "none"],
        ["-serial", "stdio"],
        // The guest ends the emulator through this device, with a status.
        ["-device", "isa-debug-exit,iobase=0x501,iosize=2"],
        ["-kernel", hypervisor.as_str()],
        ["-initrd", guest.trim_end()],
        ["-append", XEN_OPTIONS],
    ]
    .into_iter()
    .flatten()
    .chain(["-nodefaults", "-no-reboot"])
    .map(OsString::from)
    .collect()
}

/// Boots the program that was staged in `run`, and gives every line of the console to `line`, which
/// answers whether to go on.
///
/// # Errors
///
/// When the emulator cannot be started or watched.
pub fn boot(
    qemu: &Path,
    run: &Path,
    program: &Program,
    limit: Duration,
    line: impl FnMut(&str) -> bool,
) -> io::Result<Ended> {
    let mut emulator = Command::new(qemu)
        .current_dir(run)
        .args(arguments(program))
        .stdin(Stdio::null())
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

/// The stream's lines, as they come. The sender goes when the stream ends.
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
