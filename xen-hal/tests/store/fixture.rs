//! A guest with a xenstore ring, whose server is called at each yield.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use xen_hal::event::Port;
use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::ring::YieldWait;
use xen_hal::xenstore::{NodeAccess, Permission, Store, StoreError};
use xen_pac::base::Domid;
use xen_pac::hypercall::HypercallNr;
use xen_pac::xenstore::{XenstoreDomainInterface, raw};
use xen_sim::backend::{StoreConnection, StoreServer};

pub(crate) const GUEST: Domid = Domid(1);
pub(crate) const PORT: Port = Port(3);

pub(crate) type Page = XenstoreDomainInterface<'static>;
pub(crate) type GuestStore<'s, 'x> = Store<'s, &'s Xen<'x>>;

/// A hypervisor that accepts notifications, and runs the server at each yield.
pub(crate) struct Xen<'a> {
    pub(crate) server: RefCell<Box<dyn FnMut() + 'a>>,
    pub(crate) yields: Cell<u32>,
    pub(crate) sends: Cell<u32>,
}

impl<'a> Xen<'a> {
    pub(crate) fn new(server: impl FnMut() + 'a) -> Self {
        Self { server: RefCell::new(Box::new(server)), yields: Cell::new(0), sends: Cell::new(0) }
    }
}

// SAFETY: it touches no memory that it was not given by the test.
unsafe impl Hypercall for Xen<'_> {
    unsafe fn call5(&self, number: u32, _: usize, _: usize, _: usize, _: usize, _: usize) -> isize {
        if number == HypercallNr::SCHED_OP.0 {
            self.yields.set(self.yields.get() + 1);
            (self.server.borrow_mut())();
        } else {
            assert_eq!(number, HypercallNr::EVENT_CHANNEL_OP.0);
            self.sends.set(self.sends.get() + 1);
        }
        0
    }
}

pub(crate) fn page() -> Page {
    #[repr(C, align(4096))]
    struct Aligned(raw::XenstoreDomainInterface);
    let page = Box::leak(Box::new(Aligned(raw::XenstoreDomainInterface::ZEROED)));
    // SAFETY: the page is leaked, and used through handles by one thread.
    unsafe { XenstoreDomainInterface::from_ptr(NonNull::from(&mut page.0)) }
}

/// Permissions of a node that one domain owns and another may read.
pub(crate) fn owned(owner: Domid, reader: Domid) -> [Permission; 2] {
    [
        Permission { domain: owner, access: NodeAccess::None },
        Permission { domain: reader, access: NodeAccess::Read },
    ]
}

/// A store in which the guest has a directory, a name and a directory to write to.
pub(crate) fn server() -> StoreServer {
    let mut server = StoreServer::new();
    server.introduce(GUEST);
    server.set("/local/domain/1", "");
    server.set_permissions("/local/domain/1", &owned(Domid(0), GUEST));
    server.set("/local/domain/1/name", "guest");
    server.set("/local/domain/1/data", "");
    server.set_permissions("/local/domain/1/data", &owned(GUEST, Domid(0)));
    server.set("/tool", "secret");
    server
}

/// Runs a test with a server that reads and writes at most `most` bytes at a time. `beside` is
/// called at each yield as well. The guest waits for 5000 yields.
pub(crate) fn with_server(
    most: usize,
    mut beside: impl FnMut(&mut StoreServer),
    test: impl FnOnce(&mut GuestStore<'_, '_>, &RefCell<StoreServer>),
) {
    let (page, server) = (page(), RefCell::new(server()));
    // Indices need not begin at 0, and wrap.
    for index in [page.req_prod(), page.rsp_cons()] {
        index.publish(u32::MAX - 1500);
    }
    for index in [page.req_cons(), page.rsp_prod()] {
        index.other_side().publish(u32::MAX - 1500);
    }
    let mut connection = StoreConnection::new(page, GUEST);
    connection.announce_features();
    let xen = Xen::new(|| {
        let mut server = server.borrow_mut();
        beside(&mut server);
        connection.serve(&mut server, most);
    });
    let mut storage = [0; Store::STORAGE];
    let wait = YieldWait::new(&xen).attempts(5000);
    let mut store = Store::over_ring(&xen, page, PORT, &mut storage).with_wait(wait);
    test(&mut store, &server);
    assert!(xen.sends.get() > 0);
}

pub(crate) fn refused<T>(errno: Errno) -> Result<T, StoreError> {
    Err(StoreError::Refused(errno))
}
