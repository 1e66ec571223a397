//! Every operation of the HAL under a hypervisor whose results are the input. Nothing panics, every
//! result can be shown, and what the HAL returns agrees with what the hypervisor returned.

mod arguments;
mod events;
mod grants;
mod hostile;
mod memory;
mod others;

use std::error::Error;
use std::fmt::{self, Debug, Display, Write};

use xen_hal::hypercall::Errno;
use xen_hal::version::{CommandError, Text};

use crate::fake::clear;
use crate::input::Input;
use hostile::Hostile;

/// Operations of one run. More show nothing new, and cost time.
const OPERATIONS: usize = 12;

/// An operation, with what must hold of it. The input is also its arguments.
type Operation = fn(&Hostile<'_>, &Input);

const ALL: [&[Operation]; 6] = [
    TEXTS,
    others::OPERATIONS,
    events::OPERATIONS,
    grants::OPERATIONS,
    memory::OPERATIONS,
    &[memory::batch],
];

/// Runs the target.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    for _ in 0..OPERATIONS {
        clear();
        let kind = ALL[input.below(ALL.len())];
        kind[input.below(kind.len())](&Hostile::new(&input), &input);
        if input.is_empty() {
            break;
        }
    }
}

/// Formats a text, and drops it.
struct Sink;

impl Write for Sink {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

fn debug(value: &(impl Debug + ?Sized)) {
    write!(Sink, "{value:?} {value:#?}").expect("a sink takes everything");
}

fn display(value: &(impl Display + ?Sized)) {
    write!(Sink, "{value} {value:>9}").expect("a sink takes everything");
}

/// Formats a result in all ways, and returns its value.
fn good<T: Debug, E: Error>(result: Result<T, E>) -> Option<T> {
    debug(&result);
    result.inspect_err(|error| display(error)).ok()
}

/// The hypervisor's version, and its texts.
const TEXTS: &[Operation] = &[
    |xen, _| _ = good(xen.hal().version().release()).map(|release| display(&release)),
    |xen, _| text(xen.hal().version().extraversion()),
    |xen, _| text(xen.hal().version().capabilities()),
    |xen, _| text(xen.hal().version().changeset()),
    |xen, _| text(xen.hal().version().command_line()),
    |xen, _| {
        if let Some(info) = good(xen.hal().version().compile_info()) {
            text::<64>(Ok(info.compiler));
            text::<16>(Ok(info.by));
            text::<32>(Ok(info.date));
        }
    },
    |xen, _| _ = good(xen.hal().version().virtual_start()),
    |xen, _| {
        _ = good(xen.hal().version().features()).map(|features| debug(&features.iter().count()))
    },
    |xen, _| _ = good(xen.hal().version().page_size()),
    |xen, _| _ = good(xen.hal().version().guest_handle()),
    |xen, _| long(xen.hal().version().build_id::<20>()),
    |xen, _| long(xen.hal().version().long_extraversion::<1>()),
    |xen, _| long(xen.hal().version().long_capabilities::<200>()),
    |xen, _| long(xen.hal().version().long_changeset::<0>()),
    |xen, _| long(xen.hal().version().long_command_line::<64>()),
];

fn text<const N: usize>(text: Result<Text<N>, Errno>) {
    if let Some(text) = good(text) {
        display(&text);
        let bytes = text.as_bytes();
        assert!(bytes.len() <= N && !bytes.contains(&0));
        assert_eq!(text.as_str(), std::str::from_utf8(bytes).ok());
    }
}

/// No text is longer than its buffer.
fn long<const N: usize>(text: Result<([u8; N], usize), CommandError>) {
    if let Some((buffer, length)) = good(text) {
        debug(&buffer[..length]);
    }
}
