//! Tests of the simulator: `answers` has a row for each refusal, `behaviour` what no single answer
//! shows, and `structure` checks the order of the modules.

mod answers;
mod behaviour;
mod structure;
mod support;
mod units;
