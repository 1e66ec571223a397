//! Grants. The domain lends to itself, by its own number.

use std::sync::Arc;

use xen_hal::grant::{
    Access, CopyEnd, CopyRequest, ForeignGrant, Grant, GrantRefAllocator, GrantTable, MapError,
    MapRequest, MapTarget, Mapping, Page,
};
use xen_hal::memory::Extent;
use xen_hal::platform::AddressSpace;
use xen_pac::base::Domid;
use xen_sim::{DomainSpace, Hypervisor};

use super::super::kernel::Kernel;
use super::{Leaves, Operation, single};

const MYSELF: Domid = Domid(0);
/// The pages for the table, for what is lent, and for mappings.
const TABLE: usize = 1;
const LENT: usize = 5;
const WINDOW: usize = 8;

type Table = GrantTable<'static, Hypervisor, DomainSpace>;

fn refs() -> &'static GrantRefAllocator<4> {
    Box::leak(Box::new(GrantRefAllocator::new()))
}

/// The domain's table, with a page.
fn table(kernel: &Kernel) -> Table {
    let guest = kernel.guest;
    // SAFETY: the pages are the table's alone, and it does not outlive the machine.
    unsafe { GrantTable::map(guest.xen(), guest.space(), guest.page(TABLE).cast(), refs(), 1) }
        .expect("a domain has a table")
}

fn lend(kernel: &Kernel, table: &Table, index: usize) -> (Grant<'static>, ForeignGrant) {
    // SAFETY: the page is the grant's alone.
    let page = unsafe { Page::from_raw(&kernel.guest.space(), kernel.guest.page(index).cast()) }
        .expect("it is a page");
    let grant = table.lend(page, MYSELF, Access::ReadWrite).expect("the table has room");
    let of = ForeignGrant { domain: MYSELF, reference: grant.reference() };
    (grant, of)
}

/// An empty frame to map at.
fn target(kernel: &Kernel, index: usize) -> MapTarget<'static> {
    let (space, page) = (kernel.guest.space(), kernel.guest.page(index));
    let frame = space.frame_of(page).expect("a page has a frame");
    // SAFETY: nothing is kept in the page.
    unsafe { kernel.xen().memory().decrease_reservation([frame], Extent::PAGE) }
        .expect("a page can be given back");
    // SAFETY: the frame is used through the target alone, which does not outlive the machine.
    unsafe { MapTarget::new(&space, page.cast()) }.expect("it is a page")
}

/// Maps one of the domain's own grants.
fn map(
    kernel: &Kernel,
    request: MapRequest<'static>,
) -> Result<Mapping<'static, Hypervisor>, MapError<'static>> {
    // SAFETY: the page that is lent is not used while it is mapped.
    unsafe { kernel.xen().grants().map(request) }
}

fn map_both(
    kernel: &Kernel,
    requests: [MapRequest<'static>; 2],
) -> Both<Mapping<'static, Hypervisor>, MapError<'static>> {
    // SAFETY: as above.
    unsafe { kernel.xen().grants().map_all(requests) }
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
                let (guest, place) = (kernel.guest, kernel.guest.page(TABLE).cast());
                attempt.during(guest, || {
                    // SAFETY: as for `table`.
                    unsafe { GrantTable::map(guest.xen(), guest.space(), place, refs(), 2) }.map(
                        |table| {
                            assert_eq!(table.frames(), 2);
                        },
                    )
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
                let table = table(kernel);
                let fails = attempt.fails.unwrap_or(3) as u32;
                attempt.during(kernel.guest, || table.grow(3));
                assert_eq!(table.frames(), fails.min(3), "it knows which pages it has");
                assert_eq!(table.available(), 512 * table.frames() - 8, "and which references");
            },
        },
        single("Grants::map", |kernel, attempt| {
            let table = table(kernel);
            let (_grant, of) = lend(kernel, &table, LENT);
            let request =
                MapRequest { of, access: Access::ReadWrite, target: target(kernel, WINDOW) };
            attempt.during(kernel.guest, || map(kernel, request));
        }),
        single("Grants::map_all", |kernel, attempt| {
            let table = table(kernel);
            let (_grants, requests) = two_requests(kernel, &table);
            attempt.during(kernel.guest, || all(map_both(kernel, requests)));
        }),
        single("Mapping::unmap", |kernel, attempt| {
            let table = table(kernel);
            let (_grant, of) = lend(kernel, &table, LENT);
            let request =
                MapRequest { of, access: Access::ReadOnly, target: target(kernel, WINDOW) };
            let mapping = map(kernel, request).expect("the page is lent");
            attempt.during(kernel.guest, || mapping.unmap().map_err(Box::new));
        }),
        single("Grants::unmap_all", |kernel, attempt| {
            let table = table(kernel);
            let (_grants, requests) = two_requests(kernel, &table);
            let mappings =
                map_both(kernel, requests).map(|mapping| mapping.expect("the pages are lent"));
            attempt.during(kernel.guest, || all(kernel.xen().grants().unmap_all(mappings)));
        }),
        single("Grants::copy_from_grant", |kernel, attempt| {
            let table = table(kernel);
            let (_grant, of) = lend(kernel, &table, LENT);
            attempt.during(kernel.guest, || {
                kernel.xen().grants().copy_from_grant(&kernel.guest.space(), of, 0, &mut [0; 64])
            });
        }),
        single("Grants::copy_to_grant", |kernel, attempt| {
            let table = table(kernel);
            let (_grant, of) = lend(kernel, &table, LENT);
            attempt.during(kernel.guest, || {
                kernel.xen().grants().copy_to_grant(&kernel.guest.space(), b"something", of, 0)
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
fn two_requests(
    kernel: &Arc<Kernel>,
    table: &Table,
) -> ([Grant<'static>; 2], [MapRequest<'static>; 2]) {
    let ((first, one), (second, other)) =
        (lend(kernel, table, LENT), lend(kernel, table, LENT + 1));
    let request =
        |of, index| MapRequest { of, access: Access::ReadWrite, target: target(kernel, index) };
    ([first, second], [request(one, WINDOW), request(other, WINDOW + 1)])
}

/// An array of results as a result that keeps all of them: what failed to end still has its
/// mapping, which would end if it were dropped.
fn all<T, E>(results: Both<T, E>) -> Result<Both<T, E>, Box<Both<T, E>>> {
    if results.iter().all(Result::is_ok) { Ok(results) } else { Err(Box::new(results)) }
}

type Both<T, E> = [Result<T, E>; 2];
