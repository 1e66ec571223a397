//! The operations of the HAL.

mod batches;
mod events;
mod grants;
mod memory;
mod others;
mod texts;

use super::hypervisor::Hostile;
use crate::input::Input;

/// An operation with what has to hold of it. The input says what it is called with, too.
pub(super) type Operation = fn(&Hostile<'_>, &Input);

const ALL: [&[Operation]; 6] = [
    texts::OPERATIONS,
    others::OPERATIONS,
    events::OPERATIONS,
    grants::OPERATIONS,
    memory::OPERATIONS,
    batches::OPERATIONS,
];

pub(super) fn choose(input: &Input) -> Operation {
    let room = ALL[input.below(ALL.len())];
    room[input.below(room.len())]
}
