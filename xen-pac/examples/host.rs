//! Uses a shared page in ordinary memory: one thread does Xen's part, and the main thread is the
//! guest.
//!
//! ```sh
//! cargo run -p xen-pac --features simulated --example host
//! ```
//!
//! Xen updates the clock and raises events as fast as it can. The guest reads the clock, handles
//! the events and writes to the console, which Xen reads. Every reading of the clock must lie
//! between the true times before and after it. Every event must be handled exactly once. The
//! console must hold digits only. Otherwise, the exit status is 1.

use std::process::ExitCode;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xen_pac::base::XenUlong;
use xen_pac::console_ring::{self, XenconsInterface};
use xen_pac::shared_info::{SharedInfo, VcpuInfo, VcpuTimeInfo, VcpuTimeInfoSnapshot, raw};

/// Ports that Xen raises: two words of the bitmap and a part of the third on 64-bit architectures.
const PORTS: usize = 150;
/// The port that the guest masks and later unmasks.
const MASKED_PORT: u32 = 77;
/// Events that Xen sends.
const SENDS: u64 = 100_000;
/// Events of each side that are printed.
const SHOWN: u64 = 12;

fn main() -> ExitCode {
    let page = NonNull::from(Box::leak(Box::new(raw::SharedInfo::ZEROED)));
    // SAFETY: the page is leaked, so it stays allocated, and is accessed through handles only.
    let shared = unsafe { SharedInfo::from_ptr(page) };
    let Some(vcpu) = shared.vcpu_info(0) else { return ExitCode::FAILURE };
    let ring = NonNull::from(Box::leak(Box::new(console_ring::raw::XenconsInterface::ZEROED)));
    // SAFETY: as above.
    let console = unsafe { XenconsInterface::from_ptr(ring) };
    let xen = Xen::new(shared, vcpu, console);
    let mut guest = Guest::new(shared, vcpu, &xen);

    guest.mask(MASKED_PORT);
    let raised = thread::scope(|scope| {
        let raising = scope.spawn(|| xen.run());
        guest.run();
        raising.join()
    });
    let Ok(raised) = raised else { return ExitCode::FAILURE };

    println!(
        "clock : {} readings during {} updates, {} read again because of an update, {} wrong",
        guest.readings,
        xen.updates.load(Ordering::Relaxed),
        guest.retries,
        guest.wrong_readings
    );
    let sum = |counts: &[u64]| counts.iter().sum::<u64>();
    println!("events: {} raised, {} handled", sum(&raised), sum(&guest.handled));
    let clock_right = guest.wrong_readings == 0 && guest.readings > 0;
    let console_right = !xen.wrong_console.load(Ordering::Relaxed);
    if clock_right && console_right && raised == guest.handled && raised[MASKED_PORT as usize] > 0 {
        println!("verdict: no reading of the clock was torn, and each event was handled once");
        ExitCode::SUCCESS
    } else {
        println!("verdict: WRONG: raised {raised:?}, handled {:?}", guest.handled);
        ExitCode::FAILURE
    }
}

/// The word of the event bitmaps that holds a port's bit, and that bit.
const fn word_and_bit(port: u32) -> (usize, XenUlong) {
    ((port / XenUlong::BITS) as usize, 1 << (port % XenUlong::BITS))
}

/// The guest: what a kernel writes to read the clock and to handle upcalls.
struct Guest<'a> {
    shared: SharedInfo<'a>,
    vcpu: VcpuInfo<'a>,
    xen: &'a Xen<'a>,
    /// The number of times that each port was handled.
    handled: [u64; PORTS],
    readings: u64,
    retries: u64,
    wrong_readings: u64,
}

impl<'a> Guest<'a> {
    fn new(shared: SharedInfo<'a>, vcpu: VcpuInfo<'a>, xen: &'a Xen<'a>) -> Self {
        let handled = [0; PORTS];
        Self { shared, vcpu, xen, handled, readings: 0, retries: 0, wrong_readings: 0 }
    }

    /// Reads the clock, and handles the upcalls between readings, until Xen has sent all events.
    fn run(&mut self) {
        let mut masked = true;
        loop {
            let last_round = self.xen.finished.load(Ordering::Acquire);
            for _ in 0..10 {
                self.read_clock(self.vcpu.time());
            }
            let digit = b'0' + (self.readings % 10) as u8;
            self.xen.console.output().copy_from(0, &[digit; 24]).expect("24 bytes fit");
            if self.vcpu.evtchn_upcall_pending().load(Ordering::Acquire) != 0 {
                self.upcall();
            } else {
                // A guest would block here until the next upcall.
                thread::yield_now();
            }
            if masked && (last_round || self.readings > 1000) {
                masked = false;
                self.unmask(MASKED_PORT);
            } else if last_round {
                return;
            }
        }
    }

    /// The two-level protocol: clears the upcall, takes the selector, and handles the ports that
    /// are pending and unmasked in each word that it selects.
    fn upcall(&mut self) {
        self.vcpu.evtchn_upcall_pending().swap(0, Ordering::AcqRel);
        let mut selector = self.vcpu.evtchn_pending_sel().swap(0, Ordering::AcqRel);
        while selector != 0 {
            let word = selector.trailing_zeros();
            selector &= selector - 1;
            let (Some(pending), Some(mask)) =
                (self.shared.evtchn_pending(word as usize), self.shared.evtchn_mask(word as usize))
            else {
                continue;
            };
            let mut due = pending.load(Ordering::Acquire) & !mask.load(Ordering::Acquire);
            while due != 0 {
                let bit = due.trailing_zeros();
                due &= due - 1;
                // Clears the bit before handling the port: an event that arrives meanwhile must set
                // the bit again.
                pending.fetch_and(!(1 << bit), Ordering::AcqRel);
                self.handle(word * XenUlong::BITS + bit);
            }
        }
    }

    fn handle(&mut self, port: u32) {
        if let Some(count) = self.handled.get_mut(port as usize) {
            *count += 1;
        }
        if self.handled.iter().sum::<u64>() <= SHOWN {
            println!("guest : handles port {port}");
        }
    }

    fn mask(&self, port: u32) {
        println!("guest : masks port {port}");
        let (word, bit) = word_and_bit(port);
        if let Some(mask) = self.shared.evtchn_mask(word) {
            mask.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Clears the mask, then checks for an event that arrived while it was set. Such an event
    /// raised no upcall, so the guest must ask Xen for one.
    fn unmask(&self, port: u32) {
        println!("guest : unmasks port {port}");
        let (word, bit) = word_and_bit(port);
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(word), self.shared.evtchn_mask(word))
        else {
            return;
        };
        mask.fetch_and(!bit, Ordering::SeqCst);
        if pending.load(Ordering::SeqCst) & bit != 0 {
            mask.fetch_or(bit, Ordering::SeqCst);
            self.xen.unmask(port);
        }
    }

    /// Reads the clock and compares it with the true time before and after.
    fn read_clock(&mut self, time: VcpuTimeInfo<'_>) {
        let mut runs = 0;
        let before = self.xen.true_time();
        // The counter must be read inside the window: it does not fit the values of another update.
        let (info, ticks) = time.snapshot_with(|| {
            runs += 1;
            self.xen.counter()
        });
        let delta = ticks.wrapping_sub(info.tsc_timestamp);
        let delta = if info.tsc_shift < 0 {
            delta >> info.tsc_shift.unsigned_abs()
        } else {
            delta << info.tsc_shift
        };
        let elapsed = (u128::from(delta) * u128::from(info.tsc_to_system_mul)) >> 32;
        let now = info.system_time + elapsed as u64;
        let after = self.xen.true_time();

        self.readings += 1;
        self.retries += runs - 1;
        if now < before || now > after {
            self.wrong_readings += 1;
        }
        if self.readings <= 3 {
            println!("guest : the clock shows {now} ns, the true time is {before} to {after} ns");
        }
    }
}

/// The state of the thread that does Xen's part.
struct Xen<'a> {
    shared: SharedInfo<'a>,
    vcpu: VcpuInfo<'a>,
    boot: Instant,
    /// The number of updates of the clock.
    updates: AtomicU64,
    finished: AtomicBool,
    console: XenconsInterface<'a>,
    /// Whether the console held anything but digits.
    wrong_console: AtomicBool,
}

impl<'a> Xen<'a> {
    fn new(shared: SharedInfo<'a>, vcpu: VcpuInfo<'a>, console: XenconsInterface<'a>) -> Self {
        let (updates, boot) = (AtomicU64::new(0), Instant::now());
        let (finished, wrong_console) = (AtomicBool::new(false), AtomicBool::new(false));
        let xen = Self { shared, vcpu, boot, updates, finished, console, wrong_console };
        xen.update_clock(0);
        xen
    }

    /// Nanoseconds since boot.
    fn true_time(&self) -> u64 {
        self.boot.elapsed().as_nanos() as u64
    }

    /// The time stamp counter of a 4 GHz machine.
    fn counter(&self) -> u64 {
        self.true_time() * 4
    }

    /// Raises events on all ports in random order. Returns how often each port was raised.
    fn run(&self) -> [u64; PORTS] {
        let mut raised = [0; PORTS];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for send in 0..SENDS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let port = (random % PORTS as u64) as u32;
            let new = self.raise(port);
            raised[port as usize] += u64::from(new);
            self.read_console();
            if send < SHOWN {
                // The guest's lines go to a different stream, because ThreadSanitizer does not see
                // the lock of a stream.
                eprintln!("xen   : raises port {port}");
                thread::sleep(Duration::from_millis(1));
            } else if !new {
                // The guest is far behind, possibly without a processor: let it run.
                thread::yield_now();
            }
            for update in 0..random % 8 {
                self.update_clock(random.wrapping_add(update));
            }
        }
        self.finished.store(true, Ordering::Release);
        raised
    }

    /// Reads the console while the guest writes it, so only single bytes are consistent.
    fn read_console(&self) {
        let mut bytes = [0; 24];
        self.console.output().copy_to(0, &mut bytes).expect("24 bytes fit");
        if !bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_digit()) {
            self.wrong_console.store(true, Ordering::Relaxed);
        }
    }

    /// Marks a port as pending and, unless it is masked, raises an upcall. Returns false if the
    /// port was already pending: the two events are handled as one.
    fn raise(&self, port: u32) -> bool {
        let (word, bit) = word_and_bit(port);
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(word), self.shared.evtchn_mask(word))
        else {
            return false;
        };
        if pending.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
            return false;
        }
        if mask.load(Ordering::SeqCst) & bit == 0 {
            self.cause_upcall(word);
        }
        true
    }

    /// `EVTCHNOP_unmask`: for a port that became pending while it was masked.
    fn unmask(&self, port: u32) {
        let (word, bit) = word_and_bit(port);
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(word), self.shared.evtchn_mask(word))
        else {
            return;
        };
        if mask.fetch_and(!bit, Ordering::SeqCst) & bit != 0
            && pending.load(Ordering::SeqCst) & bit != 0
        {
            self.cause_upcall(word);
        }
    }

    fn cause_upcall(&self, word: usize) {
        self.vcpu.evtchn_pending_sel().fetch_or(1 << word, Ordering::AcqRel);
        self.vcpu.evtchn_upcall_pending().fetch_or(1, Ordering::AcqRel);
    }

    /// Describes the same clock by new values: a new origin, and a different pair of shift and
    /// factor. Values of two updates are inconsistent.
    fn update_clock(&self, random: u64) {
        let now = self.true_time();
        let (tsc_shift, tsc_to_system_mul) =
            [(-1, 1 << 31), (0, 1 << 30), (1, 1 << 29)][(random % 3) as usize];
        self.vcpu.time().publish_snapshot(&VcpuTimeInfoSnapshot {
            tsc_timestamp: now * 4,
            system_time: now,
            tsc_to_system_mul,
            tsc_shift,
            flags: 0,
        });
        self.updates.fetch_add(1, Ordering::Relaxed);
    }
}
