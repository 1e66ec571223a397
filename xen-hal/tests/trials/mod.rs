//! Trials: the HAL at work on the simulator, with everything that can happen meanwhile left to a
//! seed. `trials.rs` makes them many times over.

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod kernel;
pub(crate) mod revocation;
pub(crate) mod waiting;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use xen_sim::{Failure, Machine, Report};

/// In how many different ways something went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(Arc<Mutex<HashSet<u64>>>);

impl Paths {
    pub(crate) fn note(&self, path: u64) {
        self.0.lock().expect("nobody panics with it").insert(path);
    }

    pub(crate) fn distinct(&self) -> usize {
        self.0.lock().expect("nobody panics with it").len()
    }
}

/// Runs a machine, and says with which seed it failed.
pub(crate) fn run(machine: Machine) -> Result<Report, Failure> {
    machine.run()
}
