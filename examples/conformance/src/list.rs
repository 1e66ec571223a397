//! Which scenarios there are. Plain data that depends on nothing, because the workspace's tools
//! read it as well, and they must build without the crates.

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What to call it on the command line; also the name of its transcript.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
}

const fn scenario(name: &'static str, about: &'static str) -> Scenario {
    Scenario { name, about }
}

/// All scenarios, in the order in which they are run.
pub const SCENARIOS: &[Scenario] = &[
    scenario("version", "Which Xen this is, what it offers, and what it refuses to tell"),
    scenario(
        "hvm-params",
        "Each parameter that a guest may and may not read and write, and the ways to be told of events",
    ),
    scenario(
        "hvm-typed",
        "The parameters by their types, and those that are refused before Xen is asked",
    ),
    scenario("callbacks", "The ways to be told of events, each tried by one"),
    scenario("upcall-vector", "An upcall vector that is a vCPU's own, beside the domain's"),
    scenario("upcall-edge", "Upcalls at the vCPUs' own vectors alone, and what is lost with them"),
    scenario(
        "shared-info",
        "The shared page and a vCPU's block: where Xen puts them, and where it does not",
    ),
    scenario("event-kinds", "Channels of each kind: bound, looked at, signalled and closed"),
    scenario(
        "event-masks",
        "Events that come while a port is masked or closed, upcalls without events, and events to oneself",
    ),
    scenario("event-refusals", "What Xen answers to each bad event channel command"),
    scenario(
        "timer",
        "Timers that fire once, at a moment to come or in the past, and one that goes on",
    ),
    scenario("clock", "Time that does not run backwards, on one vCPU and from one to the other"),
    scenario("sched", "Yielding, polling, blocking, and watchdogs"),
    scenario("memory", "Memory given back and taken again, pages that move, and bad requests"),
    scenario(
        "vcpu",
        "vCPUs that start, stop and are asked about, their run times, and bad requests",
    ),
    scenario(
        "runstate",
        "What vCPUs do and for how long, kept up to date in memory, and a second copy of the time block",
    ),
    scenario(
        "grant",
        "A page that is lent, mapped, copied and taken back, by the domain's own number",
    ),
    scenario("grant-refusals", "What Xen answers to each bad grant command"),
    scenario("grant-versions", "The two versions of a grant table, and what a change of it does"),
    scenario("console", "Xen's own console"),
    scenario("ipi", "Two vCPUs that interrupt each other, asleep and awake"),
];
