//! Copies between pages of the caller and granted pages (Xen's `gnttab_copy_one`).

use xen_hal::platform::PAGE_SIZE;
use xen_pac::base::Domid;
use xen_pac::grant_table::{GnttabCopy, GnttabCopyPtr, GrantStatus, grant_copy_flags as flags};

use super::{Call, grant_map};
use crate::raw_memory::{self, MachineFrame};
use crate::state::address_in_program;

pub(super) fn copy(call: &mut Call<'_>, asked: &mut GnttabCopy) {
    asked.status = try_copy(call, asked).err().unwrap_or(GrantStatus::OKAY);
}

/// One side of a copy: the domain that has the page, and whether it grants it.
struct Side<'a> {
    pointer: &'a GnttabCopyPtr,
    domain: usize,
    is_grant: bool,
}

fn try_copy(call: &Call<'_>, asked: &GnttabCopy) -> Result<(), GrantStatus> {
    if asked.len == 0 && call.state.profile.since(4, 19) {
        return Ok(());
    }
    let source = side(call, &asked.source, flags::SOURCE_GREF.is_set(asked.flags))?;
    let dest = side(call, &asked.dest, flags::DEST_GREF.is_set(asked.flags))?;
    // SILO permits a copy within one domain to any caller.
    if call.state.silo_forbids(call.me.domain, source.domain, dest.domain) {
        return Err(GrantStatus::PERMISSION_DENIED);
    }
    let (from, from_part) = place(call, &source, false)?;
    let (to, to_part) = place(call, &dest, true)?;
    let length = usize::from(asked.len);
    let (start, end) = (usize::from(asked.source.offset), usize::from(asked.dest.offset));
    if start + length > PAGE_SIZE || end + length > PAGE_SIZE {
        return Err(GrantStatus::BAD_COPY_ARG);
    }
    let within = |offset: usize, (first, bytes): (usize, usize)| {
        offset >= first && offset + length <= first + bytes
    };
    if !within(start, from_part) || !within(end, to_part) {
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let mut bytes = [0; PAGE_SIZE];
    match from {
        Place::Frame(frame) => call.state.memory.read(frame, start, &mut bytes[..length]),
        Place::Program(page) => raw_memory::read_bytes(page + start, &mut bytes[..length]),
    }
    match to {
        Place::Frame(frame) => call.state.memory.write(frame, end, &bytes[..length]),
        Place::Program(page) => raw_memory::write_bytes(page + end, &bytes[..length]),
    }
    Ok(())
}

/// A page that is copied from or to.
enum Place {
    Frame(MachineFrame),
    /// The program's own memory at this address.
    Program(usize),
}

/// `gnttab_copy_lock_domain`: pages that are not granted must be the caller's, by `DOMID_SELF`.
fn side<'a>(
    call: &Call<'_>,
    pointer: &'a GnttabCopyPtr,
    is_grant: bool,
) -> Result<Side<'a>, GrantStatus> {
    let domain = call.target(pointer.domid).map_err(|_| GrantStatus::BAD_DOMAIN)?;
    Ok(Side { pointer, domain, is_grant })
}

fn place(
    call: &Call<'_>,
    side: &Side<'_>,
    write: bool,
) -> Result<(Place, (usize, usize)), GrantStatus> {
    if !side.is_grant {
        if side.pointer.domid != Domid::SELF {
            return Err(GrantStatus::PERMISSION_DENIED);
        }
        let gfn = side.pointer.u.gmfn();
        let page = call.state.page_of(call.me.domain, gfn);
        let own = page.map(Place::Frame).or_else(|| address_in_program(gfn).map(Place::Program));
        return Ok((own.ok_or(GrantStatus::BAD_PAGE)?, (0, PAGE_SIZE)));
    }
    let reference = side.pointer.u.reference();
    let granted = grant_map::granted_frame(call, side.domain, reference, write, false);
    if matches!(granted, Ok(_) | Err(GrantStatus::BAD_PAGE)) {
        call.state.use_briefly(side.domain, reference, write);
    }
    let (frame, part) = granted?;
    Ok((Place::Frame(frame), part))
}
