//! What the runtime reads from the device tree.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property};

/// The first interrupt number of the private peripheral interrupts (PPI).
const FIRST_PPI: u32 = 16;
/// How many there are.
const PPIS: u32 = 16;
/// How a device tree calls them in an interrupt's first cell.
const PPI: u32 = 1;

/// The interrupt number of upcalls in a domain whose device tree does not describe Xen, as that of
/// a dom0less domain without `xen,enhanced`. Upstream: `GUEST_EVTCHN_PPI`.
const GUEST_EVTCHN_PPI: u32 = 31;

/// The devices that the runtime uses.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) gic: GicAddresses,
    /// The interrupt number of upcalls.
    pub(super) upcall: u32,
    /// The interrupt number of the virtual timer.
    pub(super) timer: u32,
    /// The address of the UART, or 0.
    pub(super) uart: usize,
}

/// The register blocks of the interrupt controller.
#[derive(Clone, Copy, Debug)]
pub(super) enum GicAddresses {
    V2 { distributor: usize, cpu_interface: usize },
    V3 { distributor: usize, redistributors: usize },
}

impl Platform {
    /// Reads the description; `None` if a device is missing.
    pub(super) fn read(tree: Fdt<'static>) -> Option<Self> {
        let root = tree.root();
        // The virtual timer is the third of the timer's interrupts, after two physical ones.
        Some(Self {
            gic: GicAddresses::read(root)?,
            upcall: compatible(root, "xen,xen")
                .and_then(|node| ppi(node, 0))
                .unwrap_or(GUEST_EVTCHN_PPI),
            timer: ppi(compatible(root, "arm,armv8-timer")?, 2)?,
            uart: ["arm,sbsa-uart", "arm,pl011"]
                .into_iter()
                .find_map(|name| address(compatible(root, name)?, 0))
                .unwrap_or_default(),
        })
    }
}

impl GicAddresses {
    fn read(root: FdtNode<'static>) -> Option<Self> {
        let v2 = ["arm,gic-400", "arm,cortex-a15-gic"];
        if let Some(node) = compatible(root, "arm,gic-v3") {
            return Some(Self::V3 {
                distributor: address(node, 0)?,
                redistributors: address(node, 1)?,
            });
        }
        let node = v2.into_iter().find_map(|name| compatible(root, name))?;
        Some(Self::V2 { distributor: address(node, 0)?, cpu_interface: address(node, 1)? })
    }
}

/// Returns the node of that kind, a child of the root.
fn compatible(root: FdtNode<'static>, name: &str) -> Option<FdtNode<'static>> {
    root.children().find(|node| node.is_compatible(name))
}

/// Returns the address of one of the node's register blocks.
fn address(node: FdtNode<'static>, index: usize) -> Option<usize> {
    let address: u64 = node.reg().ok()??.nth(index)?.address().ok()?;
    Some(address as usize)
}

/// Returns the number of one of the node's interrupts, which must be a PPI.
fn ppi(node: FdtNode<'static>, index: usize) -> Option<u32> {
    let property = node.property("interrupts")?;
    let cells = property.value();
    let (interrupt, _) = cells.get(index * 12..)?.split_first_chunk::<12>()?;
    let cell = |at: usize| {
        let bytes: [u8; 4] = interrupt[at..at + 4].try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    let number = cell(4)?;
    (cell(0)? == PPI && number < PPIS).then_some(number + FIRST_PPI)
}

pub(super) fn command_line(tree: Fdt<'static>) -> Option<&'static str> {
    tree.find_node("/chosen")?.property("bootargs")?.value_as::<&'static str>().ok()
}

/// Calls `each` with the ranges of the memory nodes; `None` if there is none.
pub(super) fn each_memory_range(
    tree: Fdt<'static>,
    mut each: impl FnMut(u64, u64, bool),
) -> Option<()> {
    let mut found = None;
    for node in tree.root().children() {
        if node.name_without_address() != "memory" {
            continue;
        }
        for range in node.reg().ok()?? {
            each(range.address().ok()?, range.size().ok()?, true);
            found = Some(());
        }
    }
    found
}
