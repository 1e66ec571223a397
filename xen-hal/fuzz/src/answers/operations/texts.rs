//! The hypervisor's version, and what it says of itself.

use xen_hal::Xen;
use xen_hal::hypercall::Errno;
use xen_hal::version::Text;

use super::super::hypervisor::Hostile;
use super::super::show::{debug, display, good};
use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
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
