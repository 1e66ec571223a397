//! Grants: what was done is what the statuses say, of each element.

use xen_hal::Xen;
use xen_hal::grant::{
    Access, CopyEnd, CopyRequest, ForeignGrant, GrantError, GrantRef, GrantRefAllocator,
    GrantTable, MapRequest, MapTarget, Mapping,
};
use xen_hal::memory::MemoryError;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GnttabCopy, GnttabGetVersion, GnttabMapGrantRef, GnttabQuerySize, GnttabSetupTable,
    GnttabUnmapGrantRef, GrantStatus, command,
};

use super::super::hypervisor::{Call, Hostile};
use super::super::{debug, good};
use super::Operation;
use crate::input::Input;
use crate::memory::{Identity, Pages};

/// How many pages are mapped at once.
const MAPPED: usize = 3;

thread_local! {
    static TARGETS: Pages = Pages::leak(MAPPED);
    static TABLE: Pages = Pages::leak(3);
    static REFS: Pages = Pages::leak(1);
}

const THEIRS: ForeignGrant = ForeignGrant { domain: Domid(3), reference: GrantRef(77) };

pub(super) const OPERATIONS: &[Operation] = &[
    |xen, _| {
        let size = good(Xen::new(xen).grants().query_size(Domid::SELF));
        let told = xen
            .calls(command::QuerySize)
            .iter()
            .flat_map(Call::arguments::<GnttabQuerySize>)
            .next();
        assert_eq!(size.is_some(), told.is_some_and(|told| told.status == GrantStatus::OKAY));
    },
    |xen, input| {
        let mut frames = vec![0; input.below(40)];
        let done = good(Xen::new(xen).grants().setup_table(&mut frames));
        let told = xen
            .calls(command::SetupTable)
            .iter()
            .flat_map(Call::arguments::<GnttabSetupTable>)
            .next();
        assert_eq!(done.is_some(), told.is_some_and(|told| told.status == GrantStatus::OKAY));
    },
    |xen, _| _ = good(Xen::new(xen).grants().version(Domid::SELF)),
    // SAFETY: nothing was made of the table.
    |xen, _| _ = good(unsafe { Xen::new(xen).grants().set_version(2) }),
    map,
    map,
    copy,
    copy_from,
    copy_to,
    table,
];

fn request(index: usize, access: Access) -> MapRequest<'static> {
    // SAFETY: the page stays, and is used by one target at a time.
    let target = unsafe { MapTarget::new(&Identity, TARGETS.with(|pages| pages.at(index))) };
    MapRequest { of: THEIRS, access, target: target.expect("the page has a frame") }
}

/// Pages are mapped where Xen said so and nowhere else; each mapping ends by the handle that Xen
/// gave, until Xen says that it did.
fn map(xen: &Hostile<'_>, input: &Input) {
    let (grants, choice) = (Xen::new(xen).grants(), input.byte());
    let access = if choice & 1 == 0 { Access::ReadOnly } else { Access::ReadWrite };
    let requests = std::array::from_fn::<_, MAPPED, _>(|index| request(index, access));
    // SAFETY: the grants are another domain's.
    let results = unsafe { grants.map_all(requests) };
    let told: Vec<GnttabMapGrantRef> =
        xen.calls(command::MapGrantRef).iter().flat_map(Call::arguments).collect();
    assert_eq!(told.len(), MAPPED);
    for (index, (result, told)) in results.into_iter().zip(told).enumerate() {
        assert_eq!(
            result.is_ok(),
            told.status == GrantStatus::OKAY,
            "page {index} is mapped though Xen answered {}",
            told.status
        );
        match good(result) {
            Some(mapping) => use_and_end(xen, mapping, told.handle, access, choice),
            None => assert!(xen.calls(command::UnmapGrantRef).is_empty()),
        }
    }
}

fn use_and_end(
    xen: &Hostile<'_>,
    mapping: Mapping<'_, &Hostile<'_>>,
    handle: u32,
    access: Access,
    choice: u8,
) {
    let mut bytes = [0; 16];
    good(mapping.copy_to(4090, &mut bytes));
    assert_eq!(mapping.bytes().is_some(), access == Access::ReadWrite);
    if choice & 2 == 0 {
        drop(mapping);
    } else if choice & 4 == 0 {
        let [result] = Xen::new(xen).grants().unmap_all([mapping]);
        debug(&result);
    } else if let Err(failed) = mapping.unmap() {
        debug(&failed);
        good::<(), _>(Err(failed));
    }
    let mut calls: Vec<_> = xen.calls(command::UnmapGrantRef).iter().map(asked_and_told).collect();
    let (last, before) = (calls.pop(), &calls);
    assert!(
        last.is_some_and(|(asked, _)| asked == handle),
        "the mapping {handle} was not ended: {last:?}"
    );
    assert!(
        before.iter().all(|(asked, told)| *asked == handle && *told != GrantStatus::OKAY),
        "ended twice: {before:?}"
    );
    assert!(before.len() < 2, "tried more often than it was asked to");
}

fn asked_and_told(call: &Call) -> (u32, GrantStatus) {
    let (asked, told) =
        (call.asked::<GnttabUnmapGrantRef>(), call.arguments::<GnttabUnmapGrantRef>());
    (asked[0].handle, told[0].status)
}

/// Each copy has its result, and the error is that of the first that failed.
fn copy(xen: &Hostile<'_>, input: &Input) {
    let grant = (CopyEnd::Grant(THEIRS), 8);
    let mut copies = vec![CopyRequest::new(grant, grant, 5); input.below(40)];
    // SAFETY: no frame of this domain is written.
    let result = unsafe { Xen::new(xen).grants().copy(&mut copies) };
    let told: Vec<GnttabCopy> = xen.calls(command::Copy).iter().flat_map(Call::arguments).collect();
    assert_eq!(told.len(), copies.len());
    debug(&copies);
    for (copy, told) in copies.iter().zip(&told) {
        assert_eq!(
            copy.result.map(|result| result.is_ok()),
            Some(told.status == GrantStatus::OKAY)
        );
    }
    let first = told.iter().position(|told| told.status != GrantStatus::OKAY);
    let failed = copies.iter().position(|copy| copy.result.is_some_and(|result| result.is_err()));
    assert_eq!((failed, result.err()), (first, first.and_then(|at| copies[at].result?.err())));
    good(result);
}

/// The buffer was filled if every copy was made, and nothing beyond it was touched.
fn copy_from(xen: &Hostile<'_>, input: &Input) {
    let (offset, count) = (input.u16() % 4200, usize::from(input.u16()) % 4200);
    let mut bytes = vec![0x5a; count + 64];
    let into = &mut bytes[32..count + 32];
    xen.expect_copies_to(into);
    let fetched = good(Xen::new(xen).grants().copy_from_grant(&Identity, THEIRS, offset, into));
    assert!(bytes[..32].iter().chain(&bytes[count + 32..]).all(|byte| *byte == 0x5a));
    transferred(xen, fetched, offset, count);
}

fn copy_to(xen: &Hostile<'_>, input: &Input) {
    let (offset, count) = (input.u16() % 4200, usize::from(input.u16()) % 4200);
    let stored =
        good(Xen::new(xen).grants().copy_to_grant(&Identity, &vec![1; count], THEIRS, offset));
    transferred(xen, stored, offset, count);
}

fn transferred(xen: &Hostile<'_>, done: Option<()>, offset: u16, count: usize) {
    let told: Vec<GnttabCopy> = xen.calls(command::Copy).iter().flat_map(Call::arguments).collect();
    let within = count == 0 || usize::from(offset) + count <= PAGE_SIZE;
    assert_eq!(done.is_some(), within && told.iter().all(|told| told.status == GrantStatus::OKAY));
}

/// A table is none of version 2, and has the pages that Xen mapped.
fn table(xen: &Hostile<'_>, input: &Input) {
    let (pages, wanted) = (TABLE.with(|pages| *pages), input.byte() % 4);
    let place = REFS.with(|pages| pages.at::<GrantRefAllocator<3>>(0));
    // SAFETY: the page stays, and what was in it is not used any more.
    unsafe { place.write(GrantRefAllocator::new()) };
    // SAFETY: the references stay, and one table uses them at a time.
    let references = unsafe { place.as_ref() };
    // SAFETY: the place is for three pages, and one table uses it at a time.
    let result =
        unsafe { GrantTable::map(xen, Identity, pages.at(0), references, (wanted % 3).into()) };
    let told =
        xen.calls(command::GetVersion).iter().flat_map(Call::arguments::<GnttabGetVersion>).next();
    if let Some(table) = good(result) {
        assert!(
            told.is_some_and(|told| told.version <= 1),
            "0 is a table that is yet to get its version: {told:?}"
        );
        let grown = good(table.grow(wanted.into()).map_err(checked));
        assert!(grown.is_none() || table.frames() == u32::from(wanted).max(u32::from(wanted % 3)));
        assert_eq!(table.available(), (table.frames() * 512).saturating_sub(8));
        assert!(table.slot().is_ok() || table.frames() == 0);
    }
}

/// The table had room, so that only Xen can have refused.
fn checked(error: GrantError) -> GrantError {
    assert!(matches!(error, GrantError::Memory(MemoryError::Physmap { .. })), "{error}");
    error
}
