//! Lending and taking back leave the same entries and give the same references as the twins in C,
//! at random.

use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use xen_hal::grant::{Access, Grant};
use xen_hal_bench::fixture::{entries, page, table, twin_page, twin_table};
use xen_hal_bench::grant::{lend, relend, revoke, twin};
use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantEntryV1, raw};

#[derive(Clone, Copy, Debug)]
enum Step {
    Lend {
        frame: u32,
        peer: u16,
        readonly: bool,
    },
    /// The peer changes the flags of the n-th grant: it maps the page, lets it go, or the table is
    /// replaced.
    Flags {
        grant: usize,
        flags: u16,
    },
    Revoke {
        grant: usize,
    },
    /// The n-th grant's slot lends another page.
    Again {
        grant: usize,
        frame: u32,
        peer: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<(u32, u16, bool)>()
            .prop_map(|(frame, peer, readonly)| Step::Lend { frame, peer, readonly }),
        3 => (any::<usize>(), prop::sample::select(&[0, 1, 5, 9, 25][..]))
            .prop_map(|(grant, flags)| Step::Flags { grant, flags }),
        5 => any::<usize>().prop_map(|grant| Step::Revoke { grant }),
        3 => any::<(usize, u32, u16)>()
            .prop_map(|(grant, frame, peer)| Step::Again { grant, frame, peer }),
    ]
}

fn entry(pages: NonNull<raw::GrantTableV1Page>, reference: u32) -> GrantEntryV1<'static> {
    // SAFETY: the pages are leaked, and have that entry.
    unsafe { GrantEntryV1::from_ptr(pages.cast::<raw::GrantEntryV1>().add(reference as usize)) }
}

fn contents(pages: NonNull<raw::GrantTableV1Page>) -> Vec<(u16, u16, u32)> {
    let entries = (0..512).map(|reference| entry(pages, reference));
    entries
        .map(|entry| {
            (entry.flags().load(Ordering::Relaxed), entry.domid().get(), entry.frame().get())
        })
        .collect()
}

const fn access(readonly: bool) -> Access {
    if readonly { Access::ReadOnly } else { Access::ReadWrite }
}

/// Takes the n-th of them out, for any n.
fn take<T>(list: &mut Vec<T>, n: usize) -> Option<T> {
    if list.is_empty() { None } else { Some(list.remove(n % list.len())) }
}

/// Takes the same steps on both sides; `taken` are entries that an earlier kernel left in use.
fn compare(taken: &[u32], steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (pages, twin_pages) = (entries(1), entries(1));
    for (reference, pages) in
        taken.iter().flat_map(|reference| [(*reference, pages), (*reference, twin_pages)])
    {
        entry(pages, reference).flags().fetch_or(1, Ordering::Relaxed);
    }
    let (ours, theirs) = (table(pages), twin_table(twin_pages, 1));
    let mut grants: Vec<(Grant<'_>, twin::Grant)> = Vec::new();
    for step in steps {
        match step {
            Step::Lend { frame, peer, readonly } => {
                let mut twin = MaybeUninit::uninit();
                let grant = lend(ours, page(frame), Domid(peer), access(readonly)).ok();
                // SAFETY: the table stays for ever.
                let lent = unsafe {
                    let access = access(readonly) as u16;
                    twin::twin_lend(theirs, &twin_page(frame), peer, access, twin.as_mut_ptr())
                };
                prop_assert_eq!(grant.is_some(), lent);
                if let Some(grant) = grant {
                    // SAFETY: the call said that it wrote it.
                    let twin = unsafe { twin.assume_init() };
                    prop_assert_eq!(
                        (grant.reference().0, grant.frame().0),
                        (twin.slot.reference, u64::from(twin.page.frame))
                    );
                    grants.push((grant, twin));
                }
            }
            Step::Flags { grant, flags } => {
                if let Some((grant, _)) =
                    grant.checked_rem(grants.len()).and_then(|index| grants.get(index))
                {
                    for pages in [pages, twin_pages] {
                        entry(pages, grant.reference().0).flags().swap(flags, Ordering::Relaxed);
                    }
                }
            }
            Step::Revoke { grant } => {
                if let Some((grant, twin)) = take(&mut grants, grant) {
                    let frame = grant.frame().0;
                    let back = revoke(grant);
                    let mut twin_back = twin_page(0);
                    // SAFETY: table and entry stay for ever.
                    let came = unsafe { twin::twin_revoke(&raw const twin, &raw mut twin_back) };
                    prop_assert_eq!(
                        back.as_ref().map(|page| page.frame().0),
                        came.then_some(u64::from(twin_back.frame))
                    );
                    prop_assert!(back.is_none_or(|page| page.frame().0 == frame));
                }
            }
            Step::Again { grant, frame, peer } => {
                if let Some((grant, mut twin)) = take(&mut grants, grant) {
                    let mut twin_back = twin_page(0);
                    // SAFETY: as above.
                    let came = unsafe {
                        let page = twin_page(frame);
                        twin::twin_relend(&raw mut twin, &page, peer, 1, &raw mut twin_back)
                    };
                    match relend(grant, page(frame), Domid(peer), Access::ReadWrite) {
                        Ok((again, back)) => {
                            prop_assert!(came);
                            prop_assert_eq!(back.frame().0, u64::from(twin_back.frame));
                            grants.push((again, twin));
                        }
                        Err(used) => {
                            prop_assert!(!came);
                            grants.push((used.into_grant(), twin));
                        }
                    }
                }
            }
        }
        prop_assert_eq!(contents(pages), contents(twin_pages));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_sides_do_the_same(
        taken in prop::collection::vec(8..512_u32, 0..60),
        steps in prop::collection::vec(step(), 1..700),
    ) {
        compare(&taken, steps)?;
    }
}
