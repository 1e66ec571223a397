//! Two domains: one grants a page and opens a channel, the other maps the page and binds to the
//! channel. They write messages into the page, and notify each other by events.

mod support;

use std::process::ExitCode;

use support::{Problem, shared_page, show};
use xen_hal::Xen;
use xen_hal::event::{Channel, Port, TwoLevel};
use xen_hal::grant::{
    Access, Bytes, ForeignGrant, GrantRef, GrantRefAllocator, GrantTable, MapRequest, MapTarget,
    Page,
};
use xen_hal::memory::{Extent, WidthLatch};
use xen_hal::platform::AddressSpace;
use xen_pac::base::Domid;
use xen_sim::{DomainConfig, Guest, Hypervisor, Machine, Profile};

/// Guests are numbered from 1, in the order in which they are added to the machine.
const LENDER: Domid = Domid(1);
const BORROWER: Domid = Domid(2);
/// The pages of each domain: two of the granter, one of the mapper. Page 0 becomes the page shared
/// with Xen.
const TABLE: usize = 1;
const LENT: usize = 2;
const TARGET: usize = 1;
/// The layout of the page: an atomic that says whose turn it is, then a message.
const TURN: usize = 0;
const MESSAGE: usize = 4;
const ROUNDS: u32 = 3;

/// The references of the lender's grant table, of one page.
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();

fn main() -> ExitCode {
    show(run, "a page lent, mapped, used by both with events, unmapped and taken back")
}

fn run(seed: u64) -> Result<(), Problem> {
    let mut machine = Machine::new(Profile::DOMU, seed)?;
    assert_eq!(machine.domain(DomainConfig::new(), lender)?, LENDER);
    assert_eq!(machine.domain(DomainConfig::new(), borrower)?, BORROWER);
    let report = machine.run()?;
    println!(
        "{} hypercalls in {} us of the machine's time",
        report.hypercalls,
        report.nanos / 1000
    );
    Ok(())
}

fn lender(guest: Guest) -> Result<(), Problem> {
    let (xen, space) = (Xen::new(guest.xen()), guest.space());
    let bitmaps = TwoLevel::new(shared_page(guest, WidthLatch::new(guest.xen())?)?);
    bitmaps.mask_all();
    let place = guest.page(TABLE).cast();
    // SAFETY: the page is reserved for the table, of which there is no other, and the domain is not
    // suspended.
    let table = unsafe { GrantTable::map(guest.xen(), space, place, &REFS, 1) }?;
    // SAFETY: the page is used only through this value.
    let page = unsafe { Page::from_raw(&space, guest.page(LENT).cast()) }?;
    let grant = table.lend(page, BORROWER, Access::ReadWrite)?;
    let channel = xen.events().alloc_unbound(BORROWER)?;
    println!(
        "lender:   grant {} and port {} are for domain {BORROWER}",
        grant.reference(),
        channel.port()
    );
    guest.publish("port", channel.port().0.into());
    guest.publish("grant", grant.reference().0.into());

    for round in 1..=ROUNDS {
        say(grant.bytes(), 2 * round - 1, &format!("ping {round}"), &channel)?;
        let heard = hear(guest, grant.bytes(), 2 * round, bitmaps, &channel)?;
        println!("lender:   heard {heard:?}");
        assert_eq!(heard, format!("pong {round}"));
    }
    let still = grant.revoke().expect_err("a page that is mapped cannot be taken back");
    println!("lender:   {still}");
    let grant = still.into_grant();
    say(grant.bytes(), 2 * ROUNDS + 1, "let go", &channel)?;
    guest.wait_for_key("unmapped");
    let (_slot, page) = grant.revoke().map_err(|still| still.to_string())?;
    println!("lender:   the page at frame {:#x} is mine again", page.frame().0);
    Ok(())
}

fn borrower(guest: Guest) -> Result<(), Problem> {
    let (xen, space) = (Xen::new(guest.xen()), guest.space());
    let bitmaps = TwoLevel::new(shared_page(guest, WidthLatch::new(guest.xen())?)?);
    bitmaps.mask_all();
    let (reference, port) =
        (GrantRef(guest.wait_for_key("grant") as u32), Port(guest.wait_for_key("port") as u32));
    let channel = xen.events().bind_interdomain(LENDER, port)?;
    // A frame without memory, at which to map the page.
    let frame = space.frame_of(guest.page(TARGET)).ok_or("each page has a frame")?;
    // SAFETY: the page holds no data in use.
    unsafe { xen.memory().decrease_reservation([frame], Extent::PAGE) }?;
    // SAFETY: the frame is empty, and used only through the target.
    let target = unsafe { MapTarget::new(&space, guest.page(TARGET).cast()) }?;
    let of = ForeignGrant { domain: LENDER, reference };
    let request = MapRequest { of, access: Access::ReadWrite, target };
    // SAFETY: the grant is another domain's.
    let mapping = unsafe { xen.grants().map(request) }?;
    let page = mapping.bytes().ok_or("it is mapped for writing")?;
    println!(
        "borrower: mapped grant {reference} of domain {LENDER}, port {} leads to its port {port}",
        channel.port()
    );

    for round in 1..=ROUNDS {
        let heard = hear(guest, page, 2 * round - 1, bitmaps, &channel)?;
        println!("borrower: heard {heard:?}");
        say(page, 2 * round, &heard.replace("ping", "pong"), &channel)?;
    }
    println!("borrower: heard {:?}", hear(guest, page, 2 * ROUNDS + 1, bitmaps, &channel)?);
    mapping.unmap()?;
    guest.publish("unmapped", 1);
    Ok(())
}

/// Writes a message, passes the turn to the other side, and notifies it.
fn say(
    page: &Bytes,
    turn: u32,
    message: &str,
    channel: &Channel<Hypervisor>,
) -> Result<(), Problem> {
    page.copy_from(MESSAGE, &[message.len() as u8])?;
    page.copy_from(MESSAGE + 1, message.as_bytes())?;
    page.store(TURN, turn)?;
    Ok(channel.send()?)
}

/// Sleeps until it is this side's turn, and copies the message.
fn hear(
    guest: Guest,
    page: &Bytes,
    turn: u32,
    bitmaps: TwoLevel<'_>,
    channel: &Channel<Hypervisor>,
) -> Result<String, Problem> {
    // An event can arrive without a message: the channel's first event comes from the binding.
    let came = || {
        bitmaps.clear(channel.port());
        page.load(TURN) == Ok(turn)
    };
    Xen::new(guest.xen()).sched().wait_until(&guest.interrupts(), &[channel.port()], came)?;
    let mut message = [0; 64];
    page.copy_to(MESSAGE, &mut message[..1])?;
    // The peer's data is copied once, then checked.
    let length = usize::from(message[0]).min(message.len());
    page.copy_to(MESSAGE + 1, &mut message[..length])?;
    Ok(String::from_utf8_lossy(&message[..length]).into_owned())
}
