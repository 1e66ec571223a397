//! Xenstore and xenbus over a ring, with the simulator's server, which is called at each yield, and
//! with one that sends what it must not.

mod asynch;
mod fixture;
mod xenbus;
mod xenstore;
