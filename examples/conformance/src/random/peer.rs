//! The second domain of a random program: grants pages to the program's domain, and leaves ports
//! unbound for it.

use core::sync::atomic::Ordering;

use xen_hal::clock::SystemTime;
use xen_hal::event::{Events, Port};
use xen_hal::hypercall::{Commands as _, Errno};
use xen_hal::platform::{AddressSpace as _, VcpuId};
use xen_hal::sched::Sched;
use xen_hal::vcpu::Vcpu;
use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantTableV1Page, grant_entry_flags as flags};
use xen_pac::memory::{MapSpace, XenAddToPhysmap, command};

use super::{SPARE, TABLE};
use crate::failure::Required;
use crate::machine::let_interrupts_in;
use crate::{Failure, Machine};

/// A domain that does not exist.
const ABSENT: Domid = Domid(77);
/// The first reference that is granted. The program draws four from here.
const FIRST: usize = 8;
/// The first port that is left unbound. The ports before it can be those of the rings and of the
/// UART.
const FIRST_PORT: Port = Port(4);
/// The port that is left unbound last: the program waits for it.
pub(super) const READY: Port = Port(8);
/// A port that no program has.
const MISSING: Port = Port(4000);
/// The interval at which the peer asks for the program's domain, in nanoseconds.
const PERIOD: i64 = 20_000_000;

/// Grants pages to the domain of a program, and leaves ports unbound for it.
///
/// # Errors
///
/// When the grants or the ports could not be made.
pub fn offer<M: Machine>(machine: &M, program: Domid) -> Result<(), Failure> {
    // On Arm, the events of the ports interrupt.
    machine.world().attach(machine)?;
    let frame = |page: usize| {
        machine.space().frame_of(machine.page(page)).required("each page has a frame")
    };
    let mut table =
        XenAddToPhysmap::new(Domid::SELF, 0, MapSpace::GRANT_TABLE, 0, frame(TABLE)?.0 as _);
    // SAFETY: nothing is kept in the page.
    unsafe { machine.xen().call_unchecked(command::AddToPhysmap, &mut table) }?;
    // SAFETY: the table is at the page from now on, and accessed through the handle alone.
    let table = unsafe { GrantTableV1Page::from_ptr(machine.page(TABLE).cast()) };
    let read_only = flags::READONLY.val(1).value;
    let grants = [(program, 0), (program, read_only), (program, 0), (ABSENT, 0)];
    for (index, (to, more)) in grants.into_iter().enumerate() {
        let entry = table.entries(FIRST + index).required("a page has 512 entries")?;
        entry.domid().set(to.0);
        entry.frame().set(frame(SPARE + index)?.0 as u32);
        entry.flags().fetch_or(flags::kind::PERMIT_ACCESS.value | more, Ordering::Release);
    }
    let events = Events::new(machine.xen());
    loop {
        let channel = events.alloc_unbound(ABSENT)?;
        if channel.port() >= FIRST_PORT {
            channel.close()?;
            break;
        }
        let _ = channel.into_port();
    }
    for to in [program, program, program, ABSENT, program] {
        let _ = events.alloc_unbound(to)?.into_port();
    }
    Ok(())
}

/// Waits until the domain of the program is gone.
///
/// # Errors
///
/// Xen's.
pub fn await_end<M: Machine>(machine: &M, program: Domid) -> Result<(), Failure> {
    let events = Events::new(machine.xen());
    // Arm does not tell: there the first polls end at once.
    let now = Vcpu::new(machine.xen(), VcpuId(0)).runstate();
    let mut until = now.map_or(0, |runstate| runstate.since.as_nanos());
    // Xen looks for the domain first.
    while events.bind_interdomain(program, MISSING).err() != Some(Errno::ESRCH) {
        // A pending event would end each poll.
        let_interrupts_in(machine);
        until += PERIOD;
        Sched::new(machine.xen()).poll(&[], Some(SystemTime::from_nanos(until)))?;
    }
    Ok(())
}
