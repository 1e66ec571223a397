//! `vmcall`: the direct way in on Intel, Centaur and Zhaoxin processors.

#[cfg(target_arch = "x86")]
use super::x86::direct;
#[cfg(target_arch = "x86_64")]
use super::x86_64::direct;

/// Hypercalls by the `vmcall` instruction.
///
/// Elsewhere than under an HVM or PVH guest of a hypervisor on an Intel, Centaur or Zhaoxin
/// processor the instruction faults, or is patched or emulated slowly; [`detect`](super::detect)
/// knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vmcall;

direct!(Vmcall, "vmcall");
