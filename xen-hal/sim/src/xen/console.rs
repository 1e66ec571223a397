//! Xen's own console: hypercall `console_io` (Xen's `drivers/char/console.c`).

use xen_hal::hypercall::Errno;
use xen_pac::command::Command;
use xen_pac::console::command;

use super::{Answer, Call};
use crate::memory;
use crate::profile::Role;

/// How many bytes Xen copies at a time.
const CHUNK: usize = 128;

pub(super) fn console_io(call: &mut Call<'_>, op: usize, count: usize, at: usize) -> Answer {
    if call.domain().role == Role::Guest {
        return Err(Errno::EPERM);
    }
    let count = count as u32 as usize;
    match op as u32 {
        command::Write::NUMBER => write(call, at, count),
        command::Read::NUMBER if i32::try_from(count).is_err() => Err(Errno::E2BIG),
        // There is no input.
        command::Read::NUMBER => Ok(0),
        _ => Err(Errno::ENOSYS),
    }
}

fn write(call: &mut Call<'_>, at: usize, count: usize) -> Answer {
    let mut done = 0;
    while done < count {
        let length = CHUNK.min(count - done);
        let from = at.checked_add(done).ok_or(Errno::EFAULT)?;
        call.reach(from, length, false)?;
        let mut chunk = [0; CHUNK];
        memory::read_bytes(from, &mut chunk[..length]);
        call.domain_mut().console.extend(&chunk[..length]);
        done += length;
    }
    Ok(0)
}
