//! The answers to invalid requests, row by row: the error or status that Xen gives, and of two
//! mistakes in one request the one that it finds first.

mod event;
mod event_domains;
mod grant;
mod grant_copy;
mod grant_map;
mod hvm;
mod memory;
mod others;
mod sched;
mod vcpu;
mod version;
