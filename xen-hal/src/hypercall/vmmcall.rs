//! `vmmcall`: the direct way in on AMD and Hygon processors.

#[cfg(target_arch = "x86")]
use super::x86::direct;
#[cfg(target_arch = "x86_64")]
use super::x86_64::direct;

/// Hypercalls by the `vmmcall` instruction.
///
/// Elsewhere than under an HVM or PVH guest of a hypervisor on an AMD or Hygon processor the
/// instruction faults, or is patched or emulated slowly; [`detect`](super::detect) knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vmmcall;

direct!(Vmmcall, "vmmcall");
