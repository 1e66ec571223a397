//! Kinds of help that a domain asks for: hypercall `vm_assist` (Xen's `common/domain.c`).

use xen_pac::command::Command;
use xen_pac::vm_assist::{VmAssistType, command};

use super::{Answer, Call};
use xen_hal::hypercall::Errno;

pub(super) fn vm_assist(call: &mut Call<'_>, op: usize, kind: usize) -> Answer {
    // Of all kinds, guests with hardware virtualisation have this one, since 4.8.
    let known =
        kind as u32 == VmAssistType::RUNSTATE_UPDATE_FLAG.0 && call.state.profile.since(4, 8);
    if !known {
        return Err(Errno::EINVAL);
    }
    match op as u32 {
        command::Enable::NUMBER | command::Disable::NUMBER => {
            call.domain_mut().marks_runstate = op as u32 == command::Enable::NUMBER;
            Ok(0)
        }
        _ => Err(Errno::ENOSYS),
    }
}
