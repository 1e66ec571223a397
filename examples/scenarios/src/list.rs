//! Which scenarios there are. Plain data that depends on nothing, because the workspace's tools read it as well, and they must build without the crates.

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
    scenario("shared-info", "The shared page and a vCPU's block: where Xen puts them, and where it does not"),
    scenario("event-kinds", "Channels of each kind: bound, looked at, signalled and closed"),
    scenario("event-masks", "Events that come while a port is masked or closed, upcalls without events, and events to oneself"),
    scenario("event-refusals", "What Xen answers to each bad event channel command"),
    scenario("ipi", "Two vCPUs that interrupt each other, asleep and awake"),
];
