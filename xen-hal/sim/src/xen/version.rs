//! Xen's release and features: hypercall `xen_version` (Xen's `common/kernel.c`).

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::access::Data;
use xen_pac::base::XenDomainHandle;
use xen_pac::command::Command;
use xen_pac::version::{
    XenBuildId, XenCapabilitiesInfo, XenChangesetInfo, XenCommandline, XenCompileInfo,
    XenExtraversion, XenFeatureInfo, XenPlatformParameters, XenVarbuf, command,
};

use super::{Answer, Call};
use crate::config::Role;
use crate::raw_memory;

/// The point releases of 4.17 and 4.20 on which the transcripts were recorded.
const EXTRAVERSION: &str = ".7";
const EXTRAVERSION_4_20: &str = ".5-pre";
const COMPILER: &str = "xen-sim";
const COMMAND_LINE: &str = "dom0=pvh";
/// The text that an unprivileged guest gets in place of a secret one.
const DENIED: &str = "<denied>";
const BUILD_ID: [u8; 20] = *b"the xen-sim build id";
/// The start of Xen's own addresses: on x86_64, which Xen reports to guests before 4.18, and on
/// Arm.
const VIRTUAL_START: u64 = 0xffff_8000_0000_0000;
const ARM_VIRTUAL_START: u64 = 0x20_0000;

pub(super) fn xen_version(call: &mut Call<'_>, op: usize, at: usize) -> Answer {
    let profile = call.state.profile;
    let role = call.domain().role;
    let extraversion = if profile.since(4, 20) { EXTRAVERSION_4_20 } else { EXTRAVERSION };
    // Up to 4.6 every guest could read everything.
    let denied = role != Role::Control && profile.since(4, 7);
    match op as u32 {
        command::Version::NUMBER => {
            Ok(usize::from(profile.release.major()) << 16 | usize::from(profile.release.minor()))
        }
        command::Extraversion::NUMBER => answer::<XenExtraversion>(call, at, text(extraversion)),
        command::CompileInfo::NUMBER => answer(call, at, compile_info()),
        command::Capabilities::NUMBER => {
            answer::<XenCapabilitiesInfo>(call, at, text(profile.capabilities()))
        }
        command::Changeset::NUMBER => answer::<XenChangesetInfo>(call, at, text("")),
        command::PlatformParameters::NUMBER => {
            let virt_start = match profile.is_arm() {
                true => ARM_VIRTUAL_START,
                false if profile.since(4, 18) => 0,
                false => VIRTUAL_START,
            };
            answer(call, at, XenPlatformParameters { virt_start })
        }
        command::GetFeatures::NUMBER => call.update(at, |_, asked: &mut XenFeatureInfo| {
            if asked.submap_idx != 0 {
                return Err(Errno::EINVAL);
            }
            asked.submap = profile.features(role);
            Ok(0)
        }),
        command::Pagesize::NUMBER if at == 0 => Ok(PAGE_SIZE),
        command::Pagesize::NUMBER => Err(Errno::EINVAL),
        command::GuestHandle::NUMBER => answer(call, at, handle(call)),
        command::Commandline::NUMBER => {
            answer::<XenCommandline>(call, at, text(if denied { DENIED } else { COMMAND_LINE }))
        }
        command::BuildId::NUMBER if !profile.since(4, 7) => Err(Errno::ENOSYS),
        command::BuildId::NUMBER if denied => Err(Errno::EPERM),
        command::BuildId::NUMBER => build_id(call, at),
        command::Extraversion2::NUMBER if profile.since(4, 20) => long(call, at, extraversion),
        command::Capabilities2::NUMBER if profile.since(4, 20) => {
            long(call, at, profile.capabilities())
        }
        command::Changeset2::NUMBER if profile.since(4, 20) => long(call, at, ""),
        command::Commandline2::NUMBER if profile.since(4, 20) && denied => Err(Errno::EPERM),
        command::Commandline2::NUMBER if profile.since(4, 20) => long(call, at, COMMAND_LINE),
        _ => Err(Errno::ENOSYS),
    }
}

fn answer<T: Data>(call: &Call<'_>, at: usize, value: T) -> Answer {
    call.write(at, value).map(|()| 0)
}

/// Returns a text in a field of `N` bytes, with a zero at the end.
fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    let length = text.len().min(N - 1);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    field
}

fn compile_info() -> XenCompileInfo {
    let mut info = XenCompileInfo::ZEROED;
    info.compiler = text(COMPILER);
    info.compile_by = text("xen-sim");
    info.compile_domain = text("xen-sim");
    info.compile_date = text("unknown");
    info
}

/// Returns the domain's handle. It is zero if no toolstack created the domain, and otherwise
/// contains the domain's number.
fn handle(call: &Call<'_>) -> XenDomainHandle {
    let mut handle = XenDomainHandle::ZEROED;
    let number = call.domain().id.0;
    if call.domain().role != Role::Guest {
        return handle;
    }
    handle[..2].copy_from_slice(&number.to_be_bytes());
    handle[2] = 0xff;
    handle
}

fn build_id(call: &Call<'_>, at: usize) -> Answer {
    if at == 0 {
        return Ok(BUILD_ID.len());
    }
    let asked: XenBuildId = call.read(at)?;
    match asked.len as usize {
        0 if !call.state.profile.since(4, 20) => Err(Errno::EINVAL),
        room if room < BUILD_ID.len() => Err(Errno::ENOBUFS),
        _ => bytes(call, at + size_of::<XenBuildId>(), &BUILD_ID),
    }
}

/// Returns the texts of 4.20 and later, of any length.
fn long(call: &Call<'_>, at: usize, text: &str) -> Answer {
    if at == 0 {
        return Ok(text.len());
    }
    let asked: XenVarbuf = call.read(at)?;
    if (asked.len as usize) < text.len() {
        return Err(Errno::ENOBUFS);
    }
    bytes(call, at + size_of::<XenVarbuf>(), text.as_bytes())
}

fn bytes(call: &Call<'_>, at: usize, bytes: &[u8]) -> Answer {
    call.reach(at, bytes.len(), true)?;
    raw_memory::write_bytes(at, bytes);
    Ok(bytes.len())
}
