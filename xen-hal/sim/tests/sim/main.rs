//! Tests of the simulator: `answers` has a row for each refusal, `behaviour` what no single answer
//! shows.

mod answers;
mod behaviour;
mod support;
