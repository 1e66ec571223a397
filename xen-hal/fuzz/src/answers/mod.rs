//! Every operation of the HAL's under a hypervisor whose answers are the input: nothing panics,
//! every result can be shown, and what the HAL then says is what it was told.

mod arguments;
mod hypervisor;
mod operations;
mod show;

use crate::input::Input;
use hypervisor::Hostile;

/// More operations show nothing new, and cost time.
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
