//! Pages granted to a hostile domain and revoked at any moment: no one writes to a page after its
//! grant was revoked.

use xen_hal::Xen;
use xen_hal::grant::{Access, GrantRefAllocator, GrantTable, Page};
use xen_hal::hypercall::Errno;
use xen_pac::base::Domid;
use xen_sim::{DomainConfig, Failure, FaultRates, Guest, Machine, Profile, Report, hostile_peer};

use super::Interleavings;

const PEER: Domid = Domid(1);
/// How many pages are granted at once.
const PAGES: usize = 6;
const PATTERN: [u8; 4096] = [0xa5; 4096];

/// Grants and revokes pages `rounds` times, while the peer attacks.
pub(crate) fn machine(
    seed: u64,
    rounds: u32,
    interleavings: Interleavings,
) -> Result<Report, Failure> {
    // While time is stolen from one of them, the other would finish alone.
    let rates = FaultRates { preempt_accesses: 3, stolen_time: 0, ..FaultRates::new() };
    let mut machine =
        Machine::new(Profile::DOM0, seed).expect("the host has memory").fault_rates(rates);
    let victim = machine
        .domain(DomainConfig::new().pages(32), move |guest| program(guest, rounds, &interleavings))
        .expect("the machine has memory");
    machine
        .domain(DomainConfig::new().pages(16), hostile_peer(victim, rounds * 8))
        .expect("the machine has memory");
    machine.run()
}

fn program(guest: Guest, rounds: u32, interleavings: &Interleavings) -> Result<(), Errno> {
    let xen = Xen::new(guest.xen());
    // Ports that the peer can find.
    let _channels: Vec<_> =
        (0..3).map(|_| xen.events().alloc_unbound(PEER)).collect::<Result<_, _>>()?;
    let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
    // SAFETY: nothing else uses the page, and no trial outlives its machine.
    let table =
        unsafe { GrantTable::map(guest.xen(), guest.space(), guest.page(0).cast(), refs, 1) };
    let table = table.map_err(|_| Errno::EINVAL)?;
    let mut free: Vec<_> = (1..=PAGES)
        .map(|index| {
            // SAFETY: each page is used by this value alone, and no trial outlives its machine.
            unsafe { Page::from_raw(&guest.space(), guest.page(index).cast()) }
                .expect("it is a page")
        })
        .collect();
    let mut lent = Vec::new();
    for _ in 0..rounds {
        if guest.random() % 2 == 0 {
            if let Some(page) = free.pop() {
                let access =
                    if guest.random() % 3 == 0 { Access::ReadOnly } else { Access::ReadWrite };
                lent.push(table.lend(page, PEER, access).expect("the table has room"));
            }
        }
        if !lent.is_empty() {
            let grant = lent.swap_remove(guest.random() as usize % lent.len());
            match grant.revoke() {
                Ok((_slot, page)) => {
                    watch(guest, &page);
                    free.push(page);
                }
                Err(in_use) => lent.push(in_use.into_grant()),
            }
        }
        interleavings.note(guest.take_trace_hash());
    }
    Ok(())
}

/// Checks that what is written to a revoked page stays.
fn watch(guest: Guest, page: &Page) {
    page.copy_from(0, &PATTERN).expect("it fits");
    for _ in 0..2 {
        guest.relax();
        let mut seen = [0; 4096];
        page.copy_to(0, &mut seen).expect("it fits");
        assert!(seen == PATTERN, "the peer wrote to a page whose grant was revoked");
    }
}
