//! A guest that stores a file on a disk of a simulated control domain. It formats the blank disk at
//! its first boot, and boots twice.

#[path = "support/dom0.rs"]
mod dom0;

use std::process::ExitCode;

use xen_hal::blk::{BlockDevice, BlockError};
use xen_hal::xenstore::Store;
use xen_sim::backend::Disk;

/// One page for the ring, and eight for data.
const PAGES: usize = 9;

fn main() -> ExitCode {
    let disk = Disk::new(8192);
    for _boot in 0..2 {
        let code = dom0::run([disk.clone().into()], "", |guest, console| {
            let mut storage = [0; Store::STORAGE];
            // SAFETY: the ring has one owner, as long as the machine runs.
            let mut store =
                unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), &mut storage) }?;
            let (table, mut pages) = dom0::memory(guest, PAGES).map_err(BlockError::from)?;
            let device = "device/vbd/51712";
            let mut disk =
                BlockDevice::connect(guest.xen(), &mut store, device, table, &mut pages)?;
            programs::files(console, &mut disk)?;
            Ok(disk.close(&mut store)?)
        });
        if code != ExitCode::SUCCESS {
            return code;
        }
    }
    ExitCode::SUCCESS
}
