//! `cargo xtask test`: every check there is, one after the other, with one line for each and a
//! closing count.

mod install;
mod outcome;
mod run;
mod step;
mod steps;

pub use install::install_missing;
pub use outcome::{Outcome, Tally};
pub use run::run;
pub use step::{Call, Step};
pub use steps::all;
