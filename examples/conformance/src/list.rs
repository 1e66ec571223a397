//! Which scenarios there are. Plain data that depends on nothing, because the workspace's tools
//! read it as well, and they must build without the crates.

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
    /// What it shows, in a line.
    pub about: &'static str,
    /// Where it runs.
    pub platforms: Platforms,
}

impl Scenario {
    /// True if it runs on Arm, or on x86.
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
    all("version", "Which Xen this is, what it offers, and what it refuses to tell"),
    x86(
        "hvm-params",
        "Each parameter that a guest may and may not read and write, and the ways to be told of \
         events",
    ),
    all(
        "hvm-typed",
        "The parameters by their types, and those that are refused before Xen is asked",
    ),
    x86("callbacks", "The ways to be told of events, each tried by one"),
    x86("upcall-vector", "An upcall vector that is a vCPU's own, beside the domain's"),
    x86("upcall-edge", "Upcalls at the vCPUs' own vectors alone, and what is lost with them"),
    x86(
        "shared-info",
        "The shared page and a vCPU's block: where Xen puts them, and where it does not",
    ),
    all("event-kinds", "Channels of each kind: bound, looked at, signalled and closed"),
    all(
        "event-masks",
        "Events that come while a port is masked or closed, upcalls without events, and events to \
         oneself",
    ),
    all("event-refusals", "What Xen answers to each bad event channel command"),
    x86("timer", "Timers that fire once, at a moment to come or in the past, and one that goes on"),
    x86("clock", "Time that does not run backwards, on one vCPU and from one to the other"),
    x86("sched", "Yielding, polling, blocking, and watchdogs"),
    all("memory", "Memory given back and taken again, pages that move, and bad requests"),
    x86("vcpu", "vCPUs that start, stop and are asked about, their run times, and bad requests"),
    x86(
        "runstate",
        "What vCPUs do and for how long, kept up to date in memory, and a second copy of the time \
         block",
    ),
    x86("grant", "A page that is lent, mapped, copied and taken back, by the domain's own number"),
    all("grant-refusals", "What Xen answers to each bad grant command"),
    x86("grant-versions", "The two versions of a grant table, and what a change of it does"),
    all("console", "Xen's own console"),
    x86("ipi", "Two vCPUs that interrupt each other, asleep and awake"),
    arm("arm-shared", "The shared page and a vCPU's block on Arm"),
    arm(
        "arm-events",
        "Events to a vCPU that has no block yet, and interrupts that can and cannot be bound",
    ),
    arm("arm-edge", "The upcall's interrupt is an edge: what is left pending, and what is lost"),
    arm("arm-block", "Blocking with interrupts off, and many events at once"),
    arm("arm-fifo", "The FIFO form of the event channels, set up"),
    arm("arm-vcpu", "vCPU operations that Arm refuses, registered blocks, and events both ways"),
    arm("arm-runstate", "Run times of vCPUs in memory that is registered"),
    arm("arm-clock", "The counter's clock and Xen's system time, and waiting by either"),
    arm("arm-hvm", "Parameters, assistance and hypercalls that Arm has or refuses"),
    arm("arm-grant", "A page that is lent, mapped, copied and taken back; a table that grows"),
    arm("arm-unmap", "Each wrong way to end a mapping"),
    arm("arm-limits", "The highest numbers of interrupts, frames, table pages and ports"),
];
