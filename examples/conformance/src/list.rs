//! The list of scenarios. It has no dependencies, because xtask includes this file too, and must
//! build without the crates.

/// The architectures that a scenario runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// All of them.
    All,
    /// x86_64 and 32-bit x86.
    X86,
    /// aarch64.
    Arm,
}

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The name on the command line, and of the transcript.
    pub name: &'static str,
    /// A description of one line.
    pub about: &'static str,
    /// The architectures on which it runs.
    pub platforms: Platforms,
}

impl Scenario {
    /// Returns whether the scenario runs on Arm if `arm`, otherwise on x86.
    #[must_use]
    pub const fn runs_on(&self, arm: bool) -> bool {
        match self.platforms {
            Platforms::All => true,
            Platforms::X86 => !arm,
            Platforms::Arm => arm,
        }
    }
}

const fn all(name: &'static str, about: &'static str) -> Scenario {
    Scenario { name, about, platforms: Platforms::All }
}

const fn x86(name: &'static str, about: &'static str) -> Scenario {
    Scenario { name, about, platforms: Platforms::X86 }
}

const fn arm(name: &'static str, about: &'static str) -> Scenario {
    Scenario { name, about, platforms: Platforms::Arm }
}

/// All scenarios, in the order in which they are run.
pub const SCENARIOS: &[Scenario] = &[
    all("version", "Xen's release and features, and the information that it withholds"),
    x86("hvm-params", "Access to each parameter, and the kinds of event callback"),
    all(
        "hvm-typed",
        "The parameters with their types, and those that are refused without a hypercall",
    ),
    x86("callbacks", "Each kind of event callback, tested with one event"),
    x86("upcall-vector", "A per-vCPU upcall vector, together with the domain's"),
    x86("upcall-edge", "Upcalls at per-vCPU vectors only, and the upcalls that are lost"),
    x86(
        "shared-info",
        "Where Xen maps the shared page and registers a `vcpu_info`, and what it refuses",
    ),
    all("event-kinds", "Channels of each kind: bound, queried, signalled and closed"),
    all(
        "event-masks",
        "Events at masked and closed ports, upcalls without events, and loopback events",
    ),
    all("event-refusals", "Xen's error for each invalid event channel command"),
    x86("timer", "Singleshot timers in the future and in the past, and the periodic timer"),
    x86("clock", "Clocks that never run backwards, on one vCPU and between two"),
    x86("sched", "Yielding, polling, blocking, and watchdogs"),
    all("memory", "Memory that is released and populated, pages that move, and invalid requests"),
    x86("vcpu", "Starting, stopping and querying vCPUs, their run times, and invalid requests"),
    x86("runstate", "Registered areas for run times, and for a copy of the time block"),
    x86("grant", "A page that is granted to the domain itself, mapped, copied and revoked"),
    all("grant-refusals", "Xen's error for each invalid grant command"),
    x86(
        "grant-versions",
        "The two versions of a grant table, and the effect of changing the version",
    ),
    all("console", "Xen's own console"),
    x86("ipi", "Two vCPUs that interrupt each other, asleep and awake"),
    arm("arm-shared", "The shared page and a `vcpu_info` on Arm"),
    arm(
        "arm-events",
        "Events to a vCPU without a `vcpu_info`, and interrupts that can and cannot be bound",
    ),
    arm(
        "arm-edge",
        "The upcall interrupt as an edge: events that stay pending, and upcalls that are lost",
    ),
    arm("arm-block", "Blocking with interrupts off, and many events at once"),
    arm("arm-fifo", "Setting up the FIFO form of event channels"),
    arm("arm-vcpu", "vCPU operations that Arm refuses, registered blocks, and events both ways"),
    arm("arm-runstate", "Registered areas for run times on Arm"),
    arm("arm-clock", "The counter's clock and Xen's system time, and waiting with each"),
    arm("arm-hvm", "Parameters, `vm_assist` and hypercalls that Arm has or refuses"),
    arm("arm-grant", "A page that is granted, mapped, copied and revoked; a table that grows"),
    arm("arm-unmap", "Each invalid unmap request"),
    arm("arm-limits", "The highest numbers of interrupts, frames, table pages and ports"),
];
