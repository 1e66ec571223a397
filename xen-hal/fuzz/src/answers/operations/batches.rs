//! Batches of pages: the results of the entries agree with the error of the whole.

use xen_hal::Xen;
use xen_hal::hypercall::Errno;
use xen_hal::memory::{BatchEntry, MapSpace, MemoryError};
use xen_hal::platform::Frame;
use xen_pac::memory::command;

use super::super::hypervisor::{Hostile, values};
use super::super::{debug, good};
use super::Operation;
use crate::input::Input;

pub(super) const OPERATIONS: &[Operation] = &[batch];

/// What Xen says of an entry: unknown numbers say nothing.
fn meaning(told: i32) -> Option<Result<(), Errno>> {
    match told {
        0 => Some(Ok(())),
        -4095..0 => Some(Err(Errno::new(told.unsigned_abs() as u16)?)),
        _ => None,
    }
}

fn batch(xen: &Hostile<'_>, input: &Input) {
    let mut entries = vec![BatchEntry::new(1, Frame(2)); input.below(100)];
    // SAFETY: no hypervisor touches the frames.
    let result =
        unsafe { Xen::new(xen).memory().add_to_physmap_batch(MapSpace::GrantTable, &mut entries) };
    let calls = xen.calls(command::AddToPhysmapBatch);
    let told: Vec<i32> = calls.iter().flat_map(|call| values::<i32>(&call.lists[0])).collect();
    debug(&entries);
    for (index, entry) in entries.iter().enumerate() {
        let told = told.get(index).and_then(|told| meaning(*told));
        assert_eq!(entry.result, told, "entry {index}");
    }
    let first = entries.iter().position(|entry| entry.result != Some(Ok(())));
    match result {
        Ok(()) => {
            assert_eq!(first, None, "all went well, says the batch, and this entry was not mapped")
        }
        Err(error) => {
            let MemoryError::Batch { first, .. } = error else { panic!("{error}") };
            assert!(first < entries.len(), "there is no entry {}", first);
            assert_ne!(entries[first].result, Some(Ok(())), "{error}");
        }
    }
    good(result);
}
