//! Copies between pages of the caller's and pages that are lent to it (Xen's `gnttab_copy_one`).

use xen_pac::base::Domid;
use xen_pac::grant_table::{GnttabCopy, GnttabCopyPtr, GrantStatus, grant_copy_flags as flags};

use super::physmap::address_in_program;
use super::{Call, grant_maps};
use crate::platform::PAGE_SIZE;
use crate::sim::boundary::{self, MachineFrame};

pub(super) fn copy(call: &mut Call<'_>, asked: &mut GnttabCopy) {
    asked.status = match try_copy(call, asked) {
        Ok(()) => GrantStatus::OKAY,
        Err(status) => status,
    };
}

/// One side of a copy: the domain that has the page, if it is lent.
struct Side<'a> {
    pointer: &'a GnttabCopyPtr,
    lender: Option<usize>,
}

fn try_copy(call: &Call<'_>, asked: &GnttabCopy) -> Result<(), GrantStatus> {
    let from_grant = flags::SOURCE_GREF.is_set(asked.flags);
    let to_grant = flags::DEST_GREF.is_set(asked.flags);
    if !from_grant && asked.source.domid != Domid::SELF || !to_grant && asked.dest.domid != Domid::SELF {
        return Err(GrantStatus::PERMISSION_DENIED);
    }
    let source = side(call, &asked.source, from_grant)?;
    let dest = side(call, &asked.dest, to_grant)?;
    let (from, from_part) = place(call, &source, false)?;
    let (to, to_part) = place(call, &dest, true)?;
    let length = usize::from(asked.len);
    let (start, end) = (usize::from(asked.source.offset), usize::from(asked.dest.offset));
    if start + length > PAGE_SIZE || end + length > PAGE_SIZE {
        return Err(GrantStatus::BAD_COPY_ARG);
    }
    let within = |offset: usize, (first, bytes): (usize, usize)| offset >= first && offset + length <= first + bytes;
    if !within(start, from_part) || !within(end, to_part) {
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let mut bytes = [0; PAGE_SIZE];
    match from {
        Place::Frame(frame) => call.state.memory.read(frame, start, &mut bytes[..length]),
        Place::Program(page) => boundary::read_bytes(page + start, &mut bytes[..length]),
    }
    match to {
        Place::Frame(frame) => call.state.memory.write(frame, end, &bytes[..length]),
        Place::Program(page) => boundary::write_bytes(page + end, &bytes[..length]),
    }
    Ok(())
}

/// A page to be copied from or to.
enum Place {
    Frame(MachineFrame),
    /// Of the program's own memory, at this address.
    Program(usize),
}

fn side<'a>(call: &Call<'_>, pointer: &'a GnttabCopyPtr, is_grant: bool) -> Result<Side<'a>, GrantStatus> {
    if !is_grant {
        return Ok(Side { pointer, lender: None });
    }
    let lender = grant_maps::owner(call, pointer.domid)?;
    if call.state.apart(call.me.domain, lender) {
        return Err(GrantStatus::PERMISSION_DENIED);
    }
    Ok(Side { pointer, lender: Some(lender) })
}

fn place(call: &Call<'_>, side: &Side<'_>, write: bool) -> Result<(Place, (usize, usize)), GrantStatus> {
    let Some(lender) = side.lender else {
        let gfn = side.pointer.u.gmfn();
        let own = call.domain().physmap.ram(gfn).map(Place::Frame).or_else(|| address_in_program(gfn).map(Place::Program));
        return Ok((own.ok_or(GrantStatus::BAD_PAGE)?, (0, PAGE_SIZE)));
    };
    let (frame, part) = grant_maps::lent_frame(call, lender, side.pointer.u.reference(), write, false)?;
    Ok((Place::Frame(frame), part))
}
