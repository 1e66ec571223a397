//! The operations of the HAL that make hypercalls.

mod events;
mod grants;
mod memory;
mod others;

use std::sync::Arc;

use super::attempt::Attempt;
use super::kernel::Kernel;

/// What a failed operation leaves behind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaves {
    /// Nothing.
    Nothing,
    /// Nothing; and Xen does not say why these fail, so that no error can be passed on.
    NothingAndNoReason,
    /// As [`WhatWasDone`](Self::WhatWasDone), and no error can be passed on.
    SomeAndNoReason { from: u64, says: &'static str },
    /// What was done before the failing hypercall, if that is this one or a later one, as its
    /// documentation says.
    WhatWasDone { from: u64, says: &'static str },
}

/// An operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// How many hypercalls it makes when all goes well.
    pub(crate) hypercalls: u64,
    pub(crate) leaves: Leaves,
    pub(crate) run: fn(&Arc<Kernel>, &mut Attempt),
}

/// One that makes a single hypercall, and leaves nothing.
const fn single(name: &'static str, run: fn(&Arc<Kernel>, &mut Attempt)) -> Operation {
    Operation { name, hypercalls: 1, leaves: Leaves::Nothing, run }
}

/// All of them.
pub(crate) static OPERATIONS: std::sync::LazyLock<Vec<Operation>> =
    std::sync::LazyLock::new(|| {
        [events::operations(), grants::operations(), memory::operations(), others::operations()]
            .into_iter()
            .flatten()
            .collect()
    });
