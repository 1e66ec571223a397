//! Xen's own console: hypercall `console_io` (Xen's `drivers/char/console.c`).

use xen_hal::hypercall::Errno;
use xen_pac::command::Command;
use xen_pac::console::command;

use super::{Answer, Call};
use crate::config::Role;
use crate::raw_memory;

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
        command::Read::NUMBER => read(call, at, count),
        _ => Err(Errno::ENOSYS),
    }
}

/// Copies input out, as much as there is.
fn read(call: &mut Call<'_>, at: usize, count: usize) -> Answer {
    let length = count.min(call.domain().console_input.len());
    call.reach(at, length, true)?;
    let input: Vec<u8> = call.domain_mut().console_input.drain(..length).collect();
    raw_memory::write_bytes(at, &input);
    Ok(length)
}

fn write(call: &mut Call<'_>, at: usize, count: usize) -> Answer {
    let mut done = 0;
    while done < count {
        let length = CHUNK.min(count - done);
        let from = at.checked_add(done).ok_or(Errno::EFAULT)?;
        call.reach(from, length, false)?;
        let mut chunk = [0; CHUNK];
        raw_memory::read_bytes(from, &mut chunk[..length]);
        call.domain_mut().console.extend(&chunk[..length]);
        done += length;
    }
    Ok(0)
}
