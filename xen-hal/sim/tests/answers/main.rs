//! The simulator's answers to bad requests, row by row: the error or status that Xen gives, and of
//! two mistakes in one request the one that it finds first.
//!
//! A file for each hypercall. A case is a line: what is asked, and what the answer has to be.

#[path = "../support/mod.rs"]
mod support;

mod console;
mod event;
mod event_domains;
mod grant;
mod grant_copy;
mod grant_map;
mod hvm;
mod memory;
mod sched;
mod vcpu;
mod version;
