//! What no single answer shows: events on their way to a handler, sleep and time, memory that
//! moves, and how runs end.

mod devices;
mod endings;
mod failures;
mod grants;
mod memory;
mod runs;
mod seeds;
mod snapshots;
mod stacks;
mod suspend;
mod time;
mod upcalls;
mod vectors;
mod waiting;
