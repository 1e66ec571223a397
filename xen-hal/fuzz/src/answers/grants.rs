//! Grants: what was done is what the statuses say, of each element.

use xen_hal::grant::{
    Access, CopyEnd, CopyRequest, ForeignGrant, GrantError, GrantRef, GrantRefAllocator,
    GrantTable, MapRequest, MapTarget, Mapping,
};
use xen_hal::memory::MemoryError;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantStatus, command};

use super::hostile::Hostile;
use super::{Operation, debug, good};
use crate::fake::{Fake, Identity, page};
use crate::input::Input;

/// How many pages are mapped at once: the first ones.
const MAPPED: usize = 3;

/// The pages of the table, and the one of its references.
const TABLE: usize = 0;
const REFS: usize = 3;

const OKAY: GrantStatus = GrantStatus::OKAY;
const THEIRS: ForeignGrant = ForeignGrant { domain: Domid(3), reference: GrantRef(77) };

pub(super) const OPERATIONS: &[Operation] = &[
    |xen, _| {
        let size = good(xen.hal().grants().query_size(Domid::SELF));
        let told = xen.told(command::QuerySize);
        assert_eq!(size.is_some(), told.first().is_some_and(|told| told.status == OKAY));
    },
    |xen, input| {
        let mut frames = vec![0; input.below(40)];
        let done = good(xen.hal().grants().setup_table(&mut frames));
        let told = xen.told(command::SetupTable);
        assert_eq!(done.is_some(), told.first().is_some_and(|told| told.status == OKAY));
    },
    |xen, _| _ = good(xen.hal().grants().version(Domid::SELF)),
    // SAFETY: nothing was made of the table.
    |xen, _| _ = good(unsafe { xen.hal().grants().set_version(2) }),
    map,
    map,
    copy,
    copy_from,
    copy_to,
    table,
];

fn request(index: usize, access: Access) -> MapRequest<'static> {
    // SAFETY: the page stays, and is used by one target at a time.
    let target = unsafe { MapTarget::new(&Identity, page(index)) };
    MapRequest { of: THEIRS, access, target: target.expect("the page has a frame") }
}

/// Pages are mapped where Xen said so and nowhere else; each mapping ends by the handle that Xen
/// gave, until Xen says that it did.
fn map(xen: &Hostile<'_>, input: &Input) {
    let (grants, choice) = (xen.hal().grants(), input.byte());
    let access = if choice & 1 == 0 { Access::ReadOnly } else { Access::ReadWrite };
    let requests = std::array::from_fn::<_, MAPPED, _>(|index| request(index, access));
    // SAFETY: the grants are another domain's.
    let results = unsafe { grants.map_all(requests) };
    let told = xen.told(command::MapGrantRef);
    assert_eq!(told.len(), MAPPED);
    for (result, told) in results.into_iter().zip(told) {
        assert_eq!(result.is_ok(), told.status == OKAY, "Xen answered {}", told.status);
        match good(result) {
            Some(mapping) => use_and_end(xen, mapping, told.handle, access, choice),
            None => assert!(xen.calls(command::UnmapGrantRef).is_empty()),
        }
    }
}

fn use_and_end(
    xen: &Hostile<'_>,
    mapping: Mapping<'_, &Fake<'_>>,
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
        let [result] = xen.hal().grants().unmap_all([mapping]);
        debug(&result);
    } else if let Err(failed) = mapping.unmap() {
        debug(&failed);
        good::<(), _>(Err(failed));
    }
    let calls = xen.asked_and_told(command::UnmapGrantRef);
    assert!(calls.iter().all(|(asked, _)| asked.handle == handle), "{handle}: {calls:?}");
    let (last, before) = calls.split_last().expect("the mapping was not ended");
    assert!(before.iter().all(|(_, told)| told.status != OKAY), "ended twice: {last:?}");
    assert!(before.len() < 2, "tried more often than it was asked to");
}

/// Each copy has its result, and the error is that of the first that failed.
fn copy(xen: &Hostile<'_>, input: &Input) {
    let grant = (CopyEnd::Grant(THEIRS), 8);
    let mut copies = vec![CopyRequest::new(grant, grant, 5); input.below(40)];
    // SAFETY: no frame of this domain is written.
    let result = unsafe { xen.hal().grants().copy(&mut copies) };
    let told: Vec<_> = xen.told(command::Copy).iter().map(|told| told.status == OKAY).collect();
    debug(&copies);
    let results = copies.iter().map(|copy| copy.result.map(|result| result.is_ok()));
    assert!(results.eq(told.iter().map(|okay| Some(*okay))));
    let first = told.iter().position(|okay| !okay);
    assert_eq!(result.err(), first.and_then(|at| copies[at].result?.err()));
    good(result);
}

/// The buffer was filled if every copy was made, and nothing beyond it was touched.
fn copy_from(xen: &Hostile<'_>, input: &Input) {
    let (offset, count) = (input.u16() % 4200, usize::from(input.u16()) % 4200);
    let mut bytes = vec![0x5a; count + 64];
    let into = &mut bytes[32..count + 32];
    xen.expect_copies_to(into);
    let fetched = good(xen.hal().grants().copy_from_grant(&Identity, THEIRS, offset, into));
    assert!(bytes[..32].iter().chain(&bytes[count + 32..]).all(|byte| *byte == 0x5a));
    transferred(xen, fetched, offset, count);
}

fn copy_to(xen: &Hostile<'_>, input: &Input) {
    let (offset, count) = (input.u16() % 4200, usize::from(input.u16()) % 4200);
    let bytes = vec![1; count];
    let stored = good(xen.hal().grants().copy_to_grant(&Identity, &bytes, THEIRS, offset));
    transferred(xen, stored, offset, count);
}

fn transferred(xen: &Hostile<'_>, done: Option<()>, offset: u16, count: usize) {
    let within = count == 0 || usize::from(offset) + count <= PAGE_SIZE;
    let all = xen.told(command::Copy).iter().all(|told| told.status == OKAY);
    assert_eq!(done.is_some(), within && all);
}

/// A table is none of version 2, and has the pages that Xen mapped.
fn table(xen: &Hostile<'_>, input: &Input) {
    let (wanted, place) = (input.byte() % 4, page::<GrantRefAllocator<3>>(REFS));
    // SAFETY: the page stays, and what was in it is not used any more.
    unsafe { place.write(GrantRefAllocator::new()) };
    // SAFETY: the references stay, and one table uses them at a time.
    let references = unsafe { place.as_ref() };
    // SAFETY: the place is for three pages, and one table uses it at a time.
    let result = unsafe {
        GrantTable::map(&xen.fake, Identity, page(TABLE), references, (wanted % 3).into())
    };
    let told = xen.told(command::GetVersion);
    if let Some(table) = good(result) {
        // 0 is a table that is yet to get its version.
        assert!(told.first().is_some_and(|told| told.version <= 1), "{told:?}");
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
