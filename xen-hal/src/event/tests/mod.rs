//! Events against a model of Xen: ordinary memory for the shared page, and hypercalls that do to it
//! what Xen does.

mod channels;
mod dispatch;
mod masks;
mod model;
mod random;
mod threads;
