//! Grants. The domain lends to itself, by its own number.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use xen_hal::grant::{
    Access, CopyEnd, CopyRequest, ForeignGrant, Grant, GrantTable, MapRequest, MapTarget, Page,
};
use xen_hal::memory::Extent;
use xen_hal::platform::AddressSpace;
use xen_pac::base::Domid;

use super::super::kernel::Kernel;
use super::{Leaves, Operation, single};

const MYSELF: Domid = Domid(0);
/// The pages for the table, for what is lent, and for mappings.
const TABLE: usize = 1;
const LENT: usize = 5;
const WINDOW: usize = 8;

fn storage() -> [AtomicU32; GrantTable::words(4)] {
    [const { AtomicU32::new(0) }; GrantTable::words(4)]
}

/// The domain's table, with a page.
fn table<'t>(kernel: &Kernel, storage: &'t mut [AtomicU32]) -> GrantTable<'t> {
    let guest = kernel.guest;
    // SAFETY: the pages are the table's alone, and it does not outlive the machine.
    unsafe { GrantTable::map(guest.xen(), &guest.space(), guest.page(TABLE).cast(), 4, storage, 1) }
        .expect("a domain has a table")
}

fn lend<'t>(kernel: &Kernel, table: &'t GrantTable<'_>, index: usize) -> (Grant<'t>, ForeignGrant) {
    // SAFETY: the page is the grant's alone.
    let page = unsafe { Page::from_raw(&kernel.guest.space(), kernel.guest.page(index).cast()) }
        .expect("it is a page");
    let grant = table.lend(page, MYSELF, Access::ReadWrite).expect("the table has room");
    let of = ForeignGrant { domain: MYSELF, reference: grant.reference() };
    (grant, of)
}

/// An empty frame to map at.
fn window(kernel: &Kernel, index: usize) -> MapTarget {
    let (space, page) = (kernel.guest.space(), kernel.guest.page(index));
    let frame = space.frame_of(page).expect("a page has a frame");
    // SAFETY: nothing is kept in the page.
    unsafe { kernel.xen().memory().decrease_reservation([frame], Extent::PAGE) }
        .expect("a page can be given back");
    // SAFETY: the frame is used through the window alone.
    unsafe { MapTarget::new(&space, page.cast()) }.expect("it is a page")
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        single("Grants::query_size", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().grants().query_size(Domid::SELF));
        }),
        single("Grants::setup_table", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().grants().setup_table(&mut [0; 3]));
        }),
        single("Grants::version", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().grants().version(Domid::SELF));
        }),
        single("Grants::set_version", |kernel, attempt| {
            // SAFETY: nothing has been made of the table.
            attempt.during(kernel.guest, || unsafe { kernel.xen().grants().set_version(2) });
        }),
        Operation {
            name: "GrantTable::map",
            hypercalls: 3,
            leaves: Leaves::WhatWasDone {
                from: 3,
                says: "pages that were mapped before an error stay mapped",
            },
            run: |kernel, attempt| {
                let (guest, mut storage) = (kernel.guest, storage());
                attempt.during(guest, || {
                    // SAFETY: as for `table`.
                    unsafe {
                        GrantTable::map(
                            guest.xen(),
                            &guest.space(),
                            guest.page(TABLE).cast(),
                            4,
                            &mut storage,
                            2,
                        )
                    }
                    .map(|table| {
                        assert_eq!(table.frames(), 2);
                    })
                });
            },
        },
        Operation {
            name: "GrantTable::grow",
            hypercalls: 2,
            leaves: Leaves::WhatWasDone {
                from: 2,
                says: "the table keeps the pages that were mapped before the error",
            },
            run: |kernel, attempt| {
                let mut storage = storage();
                let table = table(kernel, &mut storage);
                let fails = attempt.fails.unwrap_or(3) as u32;
                attempt.during(kernel.guest, || {
                    table.grow(kernel.guest.xen(), &kernel.guest.space(), 3)
                });
                assert_eq!(table.frames(), fails.min(3), "it knows which pages it has");
                assert_eq!(table.available(), 512 * table.frames() - 8, "and which references");
            },
        },
        single("Grants::map", |kernel, attempt| {
            let mut storage = storage();
            let table = table(kernel, &mut storage);
            let (_grant, of) = lend(kernel, &table, LENT);
            let request =
                MapRequest { of, access: Access::ReadWrite, window: window(kernel, WINDOW) };
            attempt.during(kernel.guest, || kernel.xen().grants().map(request));
        }),
        single("Grants::map_all", |kernel, attempt| {
            let mut storage = storage();
            let table = table(kernel, &mut storage);
            let (_grants, requests) = two_requests(kernel, &table);
            attempt.during(kernel.guest, || all(kernel.xen().grants().map_all(requests)));
        }),
        single("Mapping::unmap", |kernel, attempt| {
            let mut storage = storage();
            let table = table(kernel, &mut storage);
            let (_grant, of) = lend(kernel, &table, LENT);
            let request =
                MapRequest { of, access: Access::ReadOnly, window: window(kernel, WINDOW) };
            let mapping = kernel.xen().grants().map(request).expect("the page is lent");
            attempt.during(kernel.guest, || mapping.unmap().map_err(Box::new));
        }),
        single("Grants::unmap_all", |kernel, attempt| {
            let mut storage = storage();
            let table = table(kernel, &mut storage);
            let (_grants, requests) = two_requests(kernel, &table);
            let mappings = kernel
                .xen()
                .grants()
                .map_all(requests)
                .map(|mapping| mapping.expect("the pages are lent"));
            attempt.during(kernel.guest, || all(kernel.xen().grants().unmap_all(mappings)));
        }),
        single("Grants::fetch", |kernel, attempt| {
            let mut storage = storage();
            let table = table(kernel, &mut storage);
            let (_grant, of) = lend(kernel, &table, LENT);
            attempt.during(kernel.guest, || {
                kernel.xen().grants().fetch(&kernel.guest.space(), of, 0, &mut [0; 64])
            });
        }),
        single("Grants::store", |kernel, attempt| {
            let mut storage = storage();
            let table = table(kernel, &mut storage);
            let (_grant, of) = lend(kernel, &table, LENT);
            attempt.during(kernel.guest, || {
                kernel.xen().grants().store(&kernel.guest.space(), b"something", of, 0)
            });
        }),
        single("Grants::copy", |kernel, attempt| {
            let frame = |index| {
                kernel.guest.space().frame_of(kernel.guest.page(index)).expect("a page has a frame")
            };
            let (from, to) = (CopyEnd::Own(frame(LENT)), CopyEnd::Own(frame(LENT + 1)));
            let mut copies =
                [CopyRequest::new((from, 0), (to, 0), 8), CopyRequest::new((from, 8), (to, 8), 8)];
            // SAFETY: nothing is kept in the pages.
            attempt.during(kernel.guest, || unsafe { kernel.xen().grants().copy(&mut copies) });
        }),
    ]
}

/// Two pages that are lent, and the requests to map them.
fn two_requests<'t>(
    kernel: &Arc<Kernel>,
    table: &'t GrantTable<'_>,
) -> ([Grant<'t>; 2], [MapRequest; 2]) {
    let ((first, one), (second, other)) =
        (lend(kernel, table, LENT), lend(kernel, table, LENT + 1));
    let request =
        |of, index| MapRequest { of, access: Access::ReadWrite, window: window(kernel, index) };
    ([first, second], [request(one, WINDOW), request(other, WINDOW + 1)])
}

/// An array of results as a result that keeps all of them: what failed to end still has its
/// mapping, which would end if it were dropped.
fn all<T, E>(results: Both<T, E>) -> Result<Both<T, E>, Box<Both<T, E>>> {
    if results.iter().all(Result::is_ok) { Ok(results) } else { Err(Box::new(results)) }
}

type Both<T, E> = [Result<T, E>; 2];
