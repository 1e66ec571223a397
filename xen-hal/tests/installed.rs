//! The installed backend, which is the process's, so that its test has one of its own.
#![cfg(target_os = "linux")]

use std::error::Error;

use xen_hal::Xen;
use xen_hal::hypercall::{Errno, Hypercall, install_custom, installed};
use xen_hal::platform::VcpuId;
use xen_sim::{DomainConfig, Guest, Hypervisor, Machine, Profile};

fn kernel(guest: Guest) -> Result<(), Box<dyn Error>> {
    let (direct, installed) = (Xen::new(guest.xen()), Xen::new(installed()));
    let before = guest.hypercalls();
    assert_eq!(direct.version().release()?, installed.version().release()?);
    let channel = installed.events().bind_ipi(VcpuId(0))?;
    assert_eq!(direct.events().status(channel.port())?.vcpu, VcpuId(0));
    assert_eq!(guest.hypercalls() - before, 4);
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

    let mut machine = Machine::new(Profile::DOM0, 1).expect("there is memory for a machine");
    machine.domain(DomainConfig::new(), kernel).expect("there is memory for a domain");
    machine.run().unwrap_or_else(|failure| panic!("{failure}"));

    assert!(!install_custom(&Hypervisor), "there is one already");
}
