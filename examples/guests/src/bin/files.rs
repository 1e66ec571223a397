//! Keeps a file on a disk, `xvda` unless the command line has another device's directory. A blank
//! disk is formatted.
#![no_std]
#![no_main]

use programs::{Error, files};
use rt::{Boot, Page};
use xen_hal::blk::{BlockDevice, BlockError};
use xen_hal::console::Console;
use xen_hal::grant::{GrantRefAllocator, GrantTable, Page as GrantPage};
use xen_hal::platform::IdentityMap;
use xen_hal::ring::DevicePage;
use xen_hal::xenstore::Store;

rt::entry!(main);

/// The first disk, `xvda`.
const DEVICE: &str = "device/vbd/51712";

static TABLE: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
/// One for the ring, and eight for data.
static PAGES: [Page; 9] = [const { Page::new() }; 9];

fn main(boot: Boot) -> Result<(), Error> {
    let xen = &boot.xen;
    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(xen, rt::at) }?;
    // SAFETY: as above.
    let mut store = unsafe { Store::open(xen, rt::at, &mut storage) }?;
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: the page is used for the table only, which is mapped once, and the domain is not
    // suspended.
    let table = unsafe { GrantTable::map(xen, space, TABLE.as_ptr(), &REFS, 1) };
    let table = table.map_err(BlockError::from)?;
    let page = |page: &'static Page| {
        // SAFETY: the page is used through this value only.
        let page = unsafe { GrantPage::from_raw(&space, page.as_ptr()) };
        page.map(DevicePage::from).map_err(|error| BlockError::Grant(error.into()))
    };
    let [p0, p1, p2, p3, p4, p5, p6, p7, p8] = PAGES.each_ref().map(page);
    let mut pages = [p0?, p1?, p2?, p3?, p4?, p5?, p6?, p7?, p8?];
    let device = Some(boot.command_line()).filter(|line| !line.is_empty()).unwrap_or(DEVICE);
    let mut disk = BlockDevice::connect(xen, &mut store, device, table, &mut pages)?;
    files(&mut console, &mut disk)?;
    Ok(disk.close(&mut store)?)
}
