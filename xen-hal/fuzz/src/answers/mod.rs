//! Every operation of the HAL under a hypervisor whose results are the input. Nothing panics, every
//! result can be shown, and what the HAL returns agrees with what the hypervisor returned.

mod arguments;
mod hypervisor;
mod operations;

use std::error::Error;
use std::fmt::{self, Debug, Display, Write};

use crate::input::Input;
use hypervisor::Hostile;

/// Operations of one run. More show nothing new, and cost time.
const OPERATIONS: usize = 12;

/// Runs the target.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    for _ in 0..OPERATIONS {
        let operation = operations::choose(&input);
        operation(&Hostile::new(&input), &input);
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
