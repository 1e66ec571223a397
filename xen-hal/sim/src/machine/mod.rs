//! Creates a machine, adds domains, and runs it.

mod seeds;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{env, io, process, thread};

use xen_pac::base::Domid;
use xen_pac::sched::ShutdownReason;

use crate::config::{DomainConfig, Failure, FailureKind, FaultRates, Profile, replay};
use crate::guest::{Guest, ProgramResult, boxed};
use crate::scheduler::Scheduler;
use crate::state::{BEGINNING, Domain, State};
use crate::vcpu;
#[cfg(target_arch = "x86_64")]
pub use seeds::storm_with_dom0;
pub use seeds::{for_each_seed, runs_all_seeds, storm};

/// The environment variable that limits the run time of a machine, in seconds, and the default.
const LIMIT_VARIABLE: &str = "XEN_SIM_TIME_LIMIT";
const DEFAULT_LIMIT: u64 = 900;
/// The number of frames of a machine.
const FRAMES: usize = 8192;

/// A simulated machine with Xen and its domains: see the [crate's](crate) documentation.
///
/// The seed decides every random choice: the same seed and the same programs give the same run.
pub struct Machine {
    state: State,
    leaks_fail: bool,
}

/// The result of a machine whose programs have all returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of hypercalls.
    pub hypercalls: u64,
    /// The duration of the run, in nanoseconds of the machine's time.
    pub nanos: u64,
    /// A hash of the run's steps: equal runs have equal hashes.
    pub trace_hash: u64,
    /// Why each domain ended, by the number that [`Machine::domain`] returned.
    pub shutdown_reasons: BTreeMap<u16, ShutdownReason>,
    /// The text that each domain wrote to Xen's console.
    pub consoles: BTreeMap<u16, String>,
    /// The resources that each domain had not released when its first program returned, including
    /// those that an interrupt handler owns:
    ///
    /// - open channels;
    /// - mappings of grants;
    /// - entries of its grant table that grant a page;
    /// - grants that a peer has mapped;
    /// - pages that the domain returned to Xen. A page that mapping the shared page or the grant
    ///   table has replaced is not one of them.
    ///
    /// Leaves out the grants of the xenstore and console rings that the toolstack made, and their
    /// channels.
    ///
    /// Also lists grants whose entry or page the domain changed while a peer had them mapped. If a
    /// domain ended before its first program returned, only these are listed.
    pub leaks: BTreeMap<u16, Vec<String>>,
}

impl Machine {
    /// Creates a machine without domains.
    ///
    /// # Errors
    ///
    /// If the host has no memory, or if other code in the process has set the [hook before
    /// accesses](xen_pac::access::before_each).
    pub fn new(profile: Profile, seed: u64) -> io::Result<Self> {
        let state = State::new(profile, seed, FRAMES)?;
        if !xen_pac::access::before_each(vcpu::before_access) {
            return Err(io::Error::other(
                "something other than this simulator has set the hook before accesses",
            ));
        }
        Ok(Self { state, leaks_fail: false })
    }

    /// Sets the fault-injection rates.
    #[must_use]
    pub fn fault_rates(mut self, rates: FaultRates) -> Self {
        self.state.rates = rates;
        self
    }

    /// Lets unprivileged domains share grants and events with each other on Arm, as Xen's option
    /// `xsm=dummy` does. On x86 they always do, by Xen's default policy.
    #[must_use]
    pub fn dummy_policy(mut self) -> Self {
        self.state.is_silo = false;
        self
    }

    /// Makes [leaks](Report::leaks) a failure.
    #[must_use]
    pub fn fail_on_leaks(mut self) -> Self {
        self.leaks_fail = true;
        self
    }

    /// Adds a domain, whose first vCPU runs `program` when the machine runs. The domain ends when
    /// the program returns.
    ///
    /// Domains are numbered from 0 if the first one is the control domain, otherwise from 1.
    ///
    /// # Errors
    ///
    /// If the host or the machine has not enough memory.
    pub fn domain<R: ProgramResult>(
        &mut self,
        config: DomainConfig,
        program: impl FnOnce(Guest) -> R + Send + 'static,
    ) -> io::Result<Domid> {
        self.state.add_domain(&config, boxed(program))
    }

    /// Runs all domains until they have ended.
    ///
    /// All vCPUs run on one new thread, so all vCPUs of the machine share its `thread_local!`
    /// variables, and each machine starts with new ones.
    ///
    /// If the machine does not end within 900 seconds, or the seconds in `XEN_SIM_TIME_LIMIT`, the
    /// process ends with a message that names the seed and the test.
    ///
    /// # Errors
    ///
    /// [`Failure`] at the first panic, error, deadlock, or other condition that stops the machine.
    pub fn run(self) -> Result<Report, Failure> {
        let Self { state, leaks_fail } = self;
        let seed = state.seed;
        // The thread has the name of the test, which messages show.
        let name = thread::current().name().unwrap_or("machine").to_string();
        let (running, ended) = mpsc::channel::<()>();
        let machine = thread::Builder::new().name(name).spawn(move || {
            // Stops the watcher when it is dropped, also after a panic.
            let _running = running;
            let result = run_here(state, leaks_fail);
            vcpu::end_of_machine();
            result
        });
        if machine.is_ok() && ended.recv_timeout(time_limit()) == Err(RecvTimeoutError::Timeout) {
            stop_at_limit(seed);
        }
        match machine {
            Ok(machine) => machine.join().unwrap_or_else(|payload| resume_unwind(payload)),
            Err(error) => Err(Failure {
                seed,
                kind: FailureKind::Host(error.to_string()),
                last_events: Vec::new(),
            }),
        }
    }
}

/// Returns the time for which a machine may run, by the host's clock.
fn time_limit() -> Duration {
    let set = env::var(LIMIT_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(set.unwrap_or(DEFAULT_LIMIT))
}

/// Ends the process. A program that runs without hypercalls cannot be stopped otherwise.
fn stop_at_limit(seed: u64) -> ! {
    eprintln!(
        "the machine with seed {seed} has not ended after {} s: does a loop wait without \
         `Guest::relax`? {LIMIT_VARIABLE} sets the limit in seconds\n{}",
        time_limit().as_secs(),
        replay(seed)
    );
    process::abort()
}

fn run_here(state: State, leaks_fail: bool) -> Result<Report, Failure> {
    let scheduler = Rc::new(Scheduler::new(state));
    scheduler.run(vcpu::run);
    let mut state = scheduler.state();
    let report = report(&state);
    let leaked = || FailureKind::Leaked(report.leaks.clone());
    let leaked = (leaks_fail && !report.leaks.is_empty()).then(leaked);
    let result = match state.over.take().or(leaked) {
        Some(kind) => Err(Failure { seed: state.seed, kind, last_events: state.last_events() }),
        None => Ok(report),
    };
    // Drops the programs of vCPUs that were never brought up.
    let vcpus = state.domains.iter_mut().flat_map(|domain| &mut domain.vcpus);
    let never_run: Vec<_> = vcpus.filter_map(|vcpu| vcpu.program.take()).collect();
    drop(state);
    vcpu::drop_without_xen(never_run);
    result
}

fn report(state: &State) -> Report {
    let console = |domain: &Domain| String::from_utf8_lossy(&domain.console).into_owned();
    let reason = |domain: &Domain| Some((domain.number.0, domain.ended?));
    let leaks = |domain: &Domain| {
        let leaks = (domain.number.0, domain.leaks.clone());
        (!leaks.1.is_empty()).then_some(leaks)
    };
    Report {
        hypercalls: state.hypercalls,
        nanos: state.now - BEGINNING,
        trace_hash: state.trace.whole(),
        shutdown_reasons: state.domains.iter().filter_map(reason).collect(),
        leaks: state.domains.iter().filter_map(leaks).collect(),
        consoles: state.domains.iter().map(|domain| (domain.number.0, console(domain))).collect(),
    }
}

impl core::fmt::Debug for Machine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Machine({} domains, seed {})", self.state.domains.len(), self.state.seed)
    }
}
