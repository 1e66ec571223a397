//! What is checked: threads that use the HAL against Xen, a peer, or each other.

use crate::explore::Scenario;
use crate::machine::Bounds;

mod events;
mod memory;

/// Runs a scenario.
pub type Run<'r> = &'r mut dyn FnMut(&Scenario<'_>);

/// A name, and what builds and runs the scenario.
pub type Named = (&'static str, fn(Run<'_>));

/// All scenarios, by name.
pub const SCENARIOS: &[Named] = &[
    ("unmask", events::unmask),
    ("dispatch", events::dispatch_same_word),
    ("dispatch-word", events::dispatch_other_word),
    ("dispatch-stop", events::dispatch_that_stops),
    ("dispatch-port", events::dispatch_same_port),
    ("poll", events::poll),
    ("look", events::look),
    ("idle", events::idle),
    ("migrate", events::migrate),
    ("listen", events::listen),
    ("attach", events::attach),
    ("vcpu-info", events::vcpu_info),
    ("attach-vcpu", events::attach_vcpu),
    ("wakers", events::wakers),
    ("lend", memory::lend),
    ("revoke", memory::revoke),
    ("reference", memory::reference),
    ("defer", memory::defer),
    ("reclaim", memory::reclaim),
    ("grow", memory::grow),
    ("growers", memory::growers),
    ("restore", memory::restore),
    ("bytes-store", memory::bytes_store),
    ("bytes-swap", memory::bytes_swap),
    ("bytes-exchange", memory::bytes_exchange),
    ("bytes-exchange-fails", memory::bytes_exchange_fails),
    ("requests", memory::requests),
    ("responses", memory::responses),
    ("output", memory::output),
    ("input", memory::input),
    ("time", memory::time),
    ("runstate", memory::runstate),
    ("area", memory::area),
];

/// The usual bounds.
const BOUNDS: Bounds = Bounds { preemptions: 3, late: 1, repeats: 8, accesses: [99; 4] };

/// Moves a value to memory that is never freed.
fn leak<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}
