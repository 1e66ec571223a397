//! The installed backend, which is the process's, so that its test has one of its own.
//!
//! The test also runs on aarch64, where it shows that the simulator works.
#![cfg(target_os = "linux")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use xen_hal::Xen;
use xen_hal::event::{Dispatcher, Drain};
use xen_hal::hypercall::{Errno, Hypercall, install_custom, installed};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::{Interrupts, VcpuId};
use xen_sim::{DomainConfig, Guest, Hypervisor, Machine, Profile};

/// The interrupt of upcalls on Arm.
const UPCALL: u8 = 31;

fn kernel(guest: Guest) -> Result<(), Box<dyn Error>> {
    let (direct, installed) = (Xen::new(guest.xen()), Xen::new(installed()));
    let before = guest.hypercalls();
    assert_eq!(direct.version().release()?, installed.version().release()?);
    let channel = installed.events().bind_ipi(VcpuId(0))?;
    assert_eq!(direct.events().status(channel.port())?.vcpu, VcpuId(0));
    assert_eq!(guest.hypercalls() - before, 4);

    let latch = WidthLatch::new(guest.xen())?;
    // SAFETY: nothing else uses the page, and the domain does not outlive its machine.
    let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
    let (events, came) = (Arc::new(Dispatcher::<1>::new()), Arc::new(AtomicU32::new(0)));
    events.attach(shared);
    let (dispatcher, counts) = (Arc::clone(&events), Arc::clone(&came));
    guest.on_interrupt(UPCALL, move || {
        let _: Drain =
            dispatcher.dispatch(VcpuId(0), |_| _ = counts.fetch_add(1, Ordering::SeqCst));
    });
    guest.enable_interrupts();
    let bell = events.listen(channel, VcpuId(0))?;
    for round in 1..=20 {
        bell.send()?;
        guest.interrupts().wait_until(|| came.load(Ordering::SeqCst) == round);
    }
    Ok(())
}

#[test]
fn the_first_installation_is_for_good() {
    let xen = installed;
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one table of calls")]
    // SAFETY: no hypercall has these numbers, and there is no pointer.
    let calls = || unsafe {
        [
            xen().call0(99),
            xen().call1(99, 1),
            xen().call2(99, 1, 2),
            xen().call3(99, 1, 2, 3),
            xen().call4(99, 1, 2, 3, 4),
            xen().call5(99, 1, 2, 3, 4, 5),
        ]
    };
    assert_eq!(calls(), [Errno::ENOSYS.to_answer(); 6], "nothing is installed");
    assert!(install_custom(&Hypervisor));

    let mut machine = Machine::new(Profile::DOM0LESS, 1).expect("there is memory for a machine");
    machine.domain(DomainConfig::new(), kernel).expect("there is memory for a domain");
    machine.run().unwrap_or_else(|failure| panic!("{failure}"));

    assert!(!install_custom(&Hypervisor), "there is one already");
}
