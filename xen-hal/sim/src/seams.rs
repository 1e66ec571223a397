//! What a program uses in place of the machine's own: the way into Xen, the address space, the
//! counter and the interrupt flag. None of them holds anything: each means the vCPU on whose thread
//! it is used, as the machine's own do.

use super::current;
use xen_hal::platform::Counter;

/// The way into the simulated Xen: the vCPU that calls is the one whose thread it is.
///
/// Used on a thread that is no vCPU it panics, where a program without a hypervisor would meet an
/// invalid instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hypervisor;

/// Where pointers lie in the memory of the domain whose vCPU asks.
///
/// What [`Guest::page`](super::Guest::page) gives is the domain's memory. The program's own
/// variables, which are those of all domains, are at frames of their own: Xen copies from and to
/// them, as [`Grants::fetch`](xen_hal::grant::Grants::fetch) asks it to, but they cannot be lent,
/// mapped over or given away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space;

/// The time stamp counter, or Arm's virtual counter, of the vCPU that reads it. It counts the
/// machine's time, which goes on a little with each reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeCounter;

/// The interrupt flag of the vCPU that uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts;

impl Counter for TimeCounter {
    fn read(&self) -> u64 {
        current::read_counter()
    }
}
