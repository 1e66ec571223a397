//! The operations of the HAL, each with what must hold of it.

mod batches;
mod events;
mod grants;
mod memory;
mod others;

use xen_hal::Xen;
use xen_hal::hypercall::Errno;
use xen_hal::version::Text;

use super::hypervisor::Hostile;
use super::{debug, display, good};
use crate::input::Input;

/// An operation. The input is also its arguments.
pub(super) type Operation = fn(&Hostile<'_>, &Input);

const ALL: [&[Operation]; 6] = [
    TEXTS,
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

/// The hypervisor's version, and its texts.
const TEXTS: &[Operation] = &[
    |xen, _| _ = good(Xen::new(xen).version().release()).map(|release| display(&release)),
    |xen, _| text(Xen::new(xen).version().extraversion()),
    |xen, _| text(Xen::new(xen).version().capabilities()),
    |xen, _| text(Xen::new(xen).version().changeset()),
    |xen, _| text(Xen::new(xen).version().command_line()),
    |xen, _| {
        if let Some(info) = good(Xen::new(xen).version().compile_info()) {
            text::<64>(Ok(info.compiler));
            text::<16>(Ok(info.by));
            text::<32>(Ok(info.date));
        }
    },
    |xen, _| _ = good(Xen::new(xen).version().virtual_start()),
    |xen, _| {
        _ = good(Xen::new(xen).version().features()).map(|features| debug(&features.iter().count()))
    },
    |xen, _| _ = good(Xen::new(xen).version().page_size()),
    |xen, _| _ = good(Xen::new(xen).version().guest_handle()),
    |xen, _| long(xen, Xen::new(xen).version().build_id::<20>()),
    |xen, _| long(xen, Xen::new(xen).version().long_extraversion::<1>()),
    |xen, _| long(xen, Xen::new(xen).version().long_capabilities::<200>()),
    |xen, _| long(xen, Xen::new(xen).version().long_changeset::<0>()),
    |xen, _| long(xen, Xen::new(xen).version().long_command_line::<64>()),
];

fn text<const N: usize>(text: Result<Text<N>, Errno>) {
    if let Some(text) = good(text) {
        display(&text);
        assert!(text.as_bytes().len() <= N && !text.as_bytes().contains(&0));
        assert_eq!(
            text.as_str().map(str::as_bytes),
            std::str::from_utf8(text.as_bytes()).ok().map(str::as_bytes)
        );
    }
}

/// No text is longer than its buffer.
fn long<const N: usize>(_: &Hostile<'_>, text: Result<([u8; N], usize), Errno>) {
    if let Some((buffer, length)) = good(text) {
        debug(&buffer[..length]);
    }
}
