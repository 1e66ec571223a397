//! Trials: the HAL at work on the simulator, where a seed decides the interleaving.

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod kernel;
pub(crate) mod revocation;
pub(crate) mod waiting;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// The interleavings that a trial went through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interleavings(Arc<Mutex<HashSet<u64>>>);

impl Interleavings {
    pub(crate) fn note(&self, trace_hash: u64) {
        self.0.lock().expect("no vCPU panics with it").insert(trace_hash);
    }

    pub(crate) fn distinct(&self) -> usize {
        self.0.lock().expect("no vCPU panics with it").len()
    }
}

/// The CPU time of this process, in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    let statistics = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets, the 12th and 13th field are ticks in user mode and in the kernel.
    let fields = statistics.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
